/** What is said of tunnels that are gone. */
import assert from "node:assert/strict";
import { decodeFrame } from "../../lib/wire/codec.ts";
import { TunnelError } from "../../lib/base/errors.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { ClosedTunnels } from "../../lib/session/closed_tunnels.ts";
import { MemoryBroker } from "../support/memory_bus.ts";
import { SUBJECTS } from "../support/shell_pair.ts";

const ID = { client: "c", server: "s", number: 7 };
const DATA: Frame = {
  type: "data",
  offset: 0,
  ack: 0,
  limit: 0,
  payload: new Uint8Array(1),
};

/** A server that has no tunnel any more, and what its client hears. */
class Bench {
  readonly broker = new MemoryBroker();
  readonly heard: Frame[] = [];
  readonly closed: ClosedTunnels;

  constructor() {
    const bus = this.broker.connect();
    this.closed = new ClosedTunnels({
      bus,
      role: "server",
      subjects: SUBJECTS,
      resumeTimeout: 30_000,
    });
    this.broker.connect().subscribe("p.data.to_client.c.>", ({ data }) => {
      const frame = decodeFrame(data.slice());
      if (frame !== undefined) this.heard.push(frame);
    });
  }

  async answer(frame: Frame): Promise<Frame | undefined> {
    this.closed.answer(ID, frame, 0);
    await this.broker.settled();
    return this.heard.pop();
  }
}

Deno.test("ClosedTunnels.answer() knows nothing of a tunnel never heard of", async () => {
  const frame = await new Bench().answer(DATA);
  assert.ok(frame?.type === "reset");
  assert.equal(frame.code, "unknown-tunnel");
});

Deno.test("ClosedTunnels.answer() says why a tunnel was cut, also when an error cut it", async () => {
  const bench = new Bench();
  const reason = new TunnelError("protocol", "a frame was malformed");
  bench.closed.add({ id: "c.s.7", owner: "c" }, { reason }, 0);
  assert.deepEqual(await bench.answer(DATA), {
    type: "reset",
    code: "protocol",
    text: "a frame was malformed",
  });
});

Deno.test("ClosedTunnels.answer() acknowledges a tunnel that ended clean, and no acknowledgement", async () => {
  const bench = new Bench();
  bench.closed.add({ id: "c.s.7", owner: "c" }, { ack: 5 }, 0);
  const ack: Frame = { type: "ack", ack: 5, limit: 5, gap: false };
  assert.deepEqual(await bench.answer(DATA), ack);
  assert.equal(await bench.answer(ack), undefined);
});

Deno.test("ClosedTunnels.answer() does not answer a RESET", async () => {
  const reset: Frame = { type: "reset", code: "aborted", text: "" };
  assert.equal(await new Bench().answer(reset), undefined);
});

Deno.test("ClosedTunnels answers a bounded number of frames between two sweeps", async () => {
  const bench = new Bench();
  for (let count = 0; count < 10_000; count++) bench.closed.answer(ID, DATA, 0);
  await bench.broker.settled();
  const first = bench.heard.length;
  assert.ok(first < 10_000);
  bench.closed.sweep(0);
  bench.closed.answer(ID, DATA, 0);
  await bench.broker.settled();
  assert.equal(bench.heard.length, first + 1);
});

Deno.test("ClosedTunnels.find() tells how a tunnel ended, for 60 s", () => {
  const { closed } = new Bench();
  const reason = { code: "aborted", text: "reset" } as const;
  closed.add({ id: "clean", owner: "c" }, { ack: 7 }, 0);
  closed.add({ id: "cut", owner: "c" }, { reason }, 30_000);
  assert.deepEqual(closed.find("clean"), { ack: 7 });
  assert.deepEqual(closed.find("cut"), { reason });
  assert.equal(closed.find("never"), undefined);
  closed.sweep(59_999);
  assert.deepEqual(closed.find("clean"), { ack: 7 });
  closed.sweep(60_000);
  assert.equal(closed.find("clean"), undefined);
  assert.deepEqual(closed.find("cut"), { reason });
  closed.sweep(90_000);
  assert.equal(closed.find("cut"), undefined);
});

Deno.test("ClosedTunnels.add() forgets the oldest of a peer that has as many as are free", () => {
  const { closed } = new Bench();
  const add = (peer: string, at: number): void =>
    closed.add({ id: `${peer}${at}`, owner: peer }, { ack: at }, at);
  add("quiet", 0);
  for (let i = 0; i < 5_000; i++) add("busy", i);
  assert.equal(closed.find("busy903"), undefined);
  assert.deepEqual(closed.find("busy905"), { ack: 905 });
  assert.deepEqual(closed.find("busy4999"), { ack: 4999 });
  assert.deepEqual(closed.find("quiet0"), { ack: 0 });
  // A second one gets half of what the first has left.
  for (let i = 0; i < 5_000; i++) add("other", i);
  assert.deepEqual(closed.find("busy4999"), { ack: 4999 });
  assert.deepEqual(closed.find("quiet0"), { ack: 0 });
  const kept = Array.from({ length: 5_000 }, (_, i) => closed.find(`other${i}`))
    .filter((ending) => ending !== undefined);
  assert.equal(kept.length, 2048);
  closed.sweep(1e9);
  assert.equal(closed.find("other4999"), undefined);
});

Deno.test("ClosedTunnels.add() keeps within its bound, whatever peers are called", () => {
  const { closed } = new Bench();
  for (let i = 0; i < 20_000; i++) {
    closed.add({ id: `t${i}`, owner: `p${i}` }, { ack: i }, i);
  }
  assert.equal(closed.find(`t${20_000 - 8_193}`), undefined);
  assert.deepEqual(closed.find(`t${20_000 - 8_192}`), { ack: 20_000 - 8_192 });
});

Deno.test("ClosedTunnels has answers left for a peer when another has had its part", async () => {
  const bench = new Bench();
  for (let count = 0; count < 10_000; count++) {
    bench.closed.answer({ ...ID, client: "loud" }, DATA, 0);
  }
  for (let count = 0; count < 1_000; count++) bench.closed.answer(ID, DATA, 0);
  await bench.broker.settled();
  assert.equal(bench.heard.length, 1_000);
});
