import assert from "node:assert/strict";
import { DriveQueue } from "../../lib/session/run_queue.ts";
import type { Tunnel } from "../../lib/session/tunnel.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeTunnel } from "../support/fake_tunnel.ts";
import { MemoryBroker } from "../support/memory_bus.ts";

/** A queue over a way to NATS that is full when the test says so. */
class Bench {
  congested = false;
  readonly driven: Tunnel[] = [];
  readonly queue: DriveQueue;

  constructor() {
    const bus = new MemoryBroker().connect();
    Object.defineProperty(bus, "congested", { get: () => this.congested });
    this.queue = new DriveQueue({ bus, clock: new FakeClock() });
  }

  /** A tunnel that notes when it is driven, and then does what `then` says. */
  tunnel(then: () => void = () => {}): Tunnel {
    const tunnel: FakeTunnel = new FakeTunnel(1, "p.data.to_server.a.b.1");
    tunnel.drive = () => {
      this.driven.push(tunnel);
      then();
      this.queue.driven(tunnel);
    };
    return tunnel;
  }
}

Deno.test("DriveQueue drives a tunnel once for all events of a turn, when it is over", async () => {
  const bench = new Bench();
  const [one, two] = [bench.tunnel(), bench.tunnel()];
  for (const tunnel of [one, two, one, one]) bench.queue.touch(tunnel);
  assert.deepEqual(bench.driven, []);
  await Promise.resolve();
  assert.deepEqual(bench.driven, [one, two]);
  bench.queue.touch(one);
  await Promise.resolve();
  assert.deepEqual(bench.driven, [one, two, one]);
});

Deno.test("DriveQueue drives what driving touched in the same turn, itself too", async () => {
  const bench = new Bench();
  const last = bench.tunnel();
  let times = 0;
  const first: Tunnel = bench.tunnel(() => {
    if (times++ === 0) bench.queue.touch(first);
    bench.queue.touch(last);
  });
  bench.queue.touch(first);
  await Promise.resolve();
  assert.deepEqual(bench.driven, [first, first, last]);
});

Deno.test("DriveQueue drives on, in order and as far as there is room, when the way is free", () => {
  const bench = new Bench();
  bench.congested = true;
  const tunnels = [1, 2, 3].map((at) =>
    bench.tunnel(() => bench.congested = at === 2)
  );
  for (const tunnel of tunnels) bench.queue.driven(tunnel);
  bench.congested = false;
  bench.queue.drained();
  assert.deepEqual(bench.driven, tunnels.slice(0, 2), "the second filled it");
  bench.congested = false;
  bench.queue.drained();
  assert.deepEqual(bench.driven.slice(2), [tunnels[2], tunnels[1]]);
});

Deno.test("DriveQueue forgets a tunnel that has ended", () => {
  const bench = new Bench();
  bench.congested = true;
  const tunnel = bench.tunnel();
  bench.queue.driven(tunnel);
  bench.queue.forget(tunnel);
  bench.congested = false;
  bench.queue.drained();
  assert.deepEqual(bench.driven, []);
});
