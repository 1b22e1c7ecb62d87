import assert from "node:assert/strict";
import { RunQueue } from "../../lib/session/run_queue.ts";
import type { Tunnel } from "../../lib/session/tunnel.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { MemoryBroker } from "../support/memory_bus.ts";

type Runnable = Pick<Tunnel, "step" | "congested">;

/** A queue over a way to NATS that is full when the test says so. */
class Bench {
  congested = false;
  readonly stepped: Runnable[] = [];
  readonly queue: RunQueue<Runnable>;

  constructor() {
    const bus = new MemoryBroker().connect();
    Object.defineProperty(bus, "congested", { get: () => this.congested });
    this.queue = new RunQueue({ bus, clock: new FakeClock() });
  }

  /** A tunnel that notes its steps, and then does what `then` says. */
  tunnel(then: () => void = () => {}): Runnable {
    const isCongested = (): boolean => this.congested;
    const tunnel: Runnable = {
      get congested(): boolean {
        return isCongested();
      },
      step: () => {
        this.stepped.push(tunnel);
        then();
        this.queue.stepped(tunnel);
      },
    };
    return tunnel;
  }
}

Deno.test("RunQueue lets a tunnel take one step for all events of a turn, when it is over", async () => {
  const bench = new Bench();
  const [one, two] = [bench.tunnel(), bench.tunnel()];
  for (const tunnel of [one, two, one, one]) bench.queue.schedule(tunnel);
  assert.deepEqual(bench.stepped, []);
  await Promise.resolve();
  assert.deepEqual(bench.stepped, [one, two]);
  bench.queue.schedule(one);
  await Promise.resolve();
  assert.deepEqual(bench.stepped, [one, two, one]);
});

Deno.test("RunQueue lets those take a step that a step scheduled, in the same turn, itself too", async () => {
  const bench = new Bench();
  const last = bench.tunnel();
  let times = 0;
  const first: Runnable = bench.tunnel(() => {
    if (times++ === 0) bench.queue.schedule(first);
    bench.queue.schedule(last);
  });
  bench.queue.schedule(first);
  await Promise.resolve();
  assert.deepEqual(bench.stepped, [first, first, last]);
});

Deno.test("RunQueue goes on, in order and as far as there is room, when the way is free", () => {
  const bench = new Bench();
  bench.congested = true;
  const tunnels = [1, 2, 3].map((at) =>
    bench.tunnel(() => bench.congested = at === 2)
  );
  for (const tunnel of tunnels) bench.queue.stepped(tunnel);
  bench.congested = false;
  bench.queue.drained();
  assert.deepEqual(bench.stepped, tunnels.slice(0, 2), "the second filled it");
  bench.congested = false;
  bench.queue.drained();
  assert.deepEqual(bench.stepped.slice(2), [tunnels[2], tunnels[1]]);
});

Deno.test("RunQueue forgets a tunnel that has ended", () => {
  const bench = new Bench();
  bench.congested = true;
  const tunnel = bench.tunnel();
  bench.queue.stepped(tunnel);
  bench.queue.forget(tunnel);
  bench.congested = false;
  bench.queue.drained();
  assert.deepEqual(bench.stepped, []);
});

Deno.test("RunQueue goes on after a step that threw", () => {
  const bench = new Bench();
  const jobs: (() => void)[] = [];
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = (job) => void jobs.push(job);
  try {
    bench.queue.schedule(bench.tunnel(() => {
      throw new TypeError("a fault of ours");
    }));
    const other = bench.tunnel();
    bench.queue.schedule(other);
    assert.throws(() => jobs.shift()?.(), /a fault of ours/);
    jobs.shift()?.();
    assert.equal(bench.stepped.at(-1), other, "in the same turn");
    const late = bench.tunnel();
    bench.queue.schedule(late);
    jobs.shift()?.();
    assert.equal(bench.stepped.at(-1), late);
  } finally {
    globalThis.queueMicrotask = queueMicrotask;
  }
});
