/** What is said of tunnels that are gone. */
import assert from "node:assert/strict";
import { decodeFrame } from "../../lib/wire/codec.ts";
import { TunnelError } from "../../lib/base/errors.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { Strays } from "../../lib/session/closed_tunnels.ts";
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
  readonly strays: Strays;

  constructor() {
    const bus = this.broker.connect();
    this.strays = new Strays({
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
    this.strays.answer(ID, frame);
    await this.broker.settled();
    return this.heard.pop();
  }
}

Deno.test("Strays.answer() knows nothing of a tunnel never heard of", async () => {
  const frame = await new Bench().answer(DATA);
  assert.ok(frame?.type === "reset");
  assert.equal(frame.code, "unknown-tunnel");
});

Deno.test("Strays.answer() says why a tunnel was cut, also when an error cut it", async () => {
  const bench = new Bench();
  const reason = new TunnelError("protocol", "a frame was malformed");
  bench.strays.tombstones.add("c.s.7", { reason }, 0);
  assert.deepEqual(await bench.answer(DATA), {
    type: "reset",
    code: "protocol",
    text: "a frame was malformed",
  });
});

Deno.test("Strays.answer() acknowledges a tunnel that ended clean, and no acknowledgement", async () => {
  const bench = new Bench();
  bench.strays.tombstones.add("c.s.7", { ack: 5 }, 0);
  const ack: Frame = { type: "ack", ack: 5, limit: 5, gap: false };
  assert.deepEqual(await bench.answer(DATA), ack);
  assert.equal(await bench.answer(ack), undefined);
});

Deno.test("Strays.answer() does not answer a RESET", async () => {
  const reset: Frame = { type: "reset", code: "aborted", text: "" };
  assert.equal(await new Bench().answer(reset), undefined);
});

Deno.test("Strays answers a bounded number of frames between two sweeps", async () => {
  const bench = new Bench();
  for (let count = 0; count < 10_000; count++) bench.strays.answer(ID, DATA);
  await bench.broker.settled();
  const first = bench.heard.length;
  assert.ok(first < 10_000);
  bench.strays.sweep(0);
  bench.strays.answer(ID, DATA);
  await bench.broker.settled();
  assert.equal(bench.heard.length, first + 1);
});
