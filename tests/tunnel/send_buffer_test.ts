/** What is kept to be sent again: a table of moves, and a model. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { BufferPool, SLAB_BYTES } from "../../lib/base/buffer_pool.ts";
import { TunnelError } from "../../lib/base/errors.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import {
  PIECE_OVERHEAD_BYTES,
  SendBuffer,
} from "../../lib/tunnel/send_buffer.ts";

interface Parts {
  readonly buffer: SendBuffer;
  readonly pool: BufferPool;
  readonly budget: MemoryBudget;
}

function make(limit = 1_000): Parts {
  const pool = new BufferPool();
  const budget = new MemoryBudget(1 << 20);
  return { buffer: new SendBuffer({ pool, budget, limit }), pool, budget };
}

/** Sends all that may be sent; returns offset and length of each frame. */
function send(buffer: SendBuffer): [offset: number, length: number][] {
  const sent: [number, number][] = [];
  for (;;) {
    const frame = buffer.next(0, 0);
    if (frame === undefined) return sent;
    sent.push([frame.offset, frame.payload.length]);
  }
}

function cost(bytes: number, pieces: number): number {
  return bytes + pieces * PIECE_OVERHEAD_BYTES;
}

Deno.test("append() cuts a chunk into frames and counts what they cost", () => {
  const { buffer, budget } = make();
  buffer.append(new Uint8Array(25), 10);
  buffer.append(new Uint8Array(10), 10);
  assert.equal(buffer.end, 35);
  assert.equal(buffer.credit, 965);
  assert.ok(buffer.hasUnsent);
  assert.deepEqual(send(buffer), [[0, 10], [10, 10], [20, 5], [25, 10]]);
  assert.ok(!buffer.hasUnsent);
  assert.equal(buffer.sent, 35);
  assert.equal(budget.used, cost(35, 4));
  assert.equal(buffer.held, budget.used);
});

Deno.test("acknowledge() lets go of whole pieces, and says whether it was news", () => {
  const { buffer, budget } = make();
  buffer.append(new Uint8Array(25), 10);
  send(buffer);
  assert.equal(buffer.acknowledge(0), false);
  assert.equal(buffer.acknowledge(15), true);
  assert.equal(budget.used, cost(15, 2), "half of a piece is kept whole");
  assert.equal(buffer.acknowledge(15), false);
  assert.equal(buffer.acknowledge(9), false);
  assert.equal(buffer.acked, 15);
  assert.equal(buffer.acknowledge(25), true);
  assert.equal(budget.used, 0);
});

Deno.test("acknowledge() refuses what was never on the wire", () => {
  const { buffer } = make();
  buffer.append(new Uint8Array(25), 10);
  buffer.next(0, 0);
  assert.throws(
    () => buffer.acknowledge(11),
    new TunnelError(
      "protocol",
      "peer acknowledged 11 bytes, but only 10 were sent",
    ),
  );
});

Deno.test("acknowledge() gives a slab back when its last piece is done", () => {
  const { buffer, pool } = make(1 << 20);
  const slab = pool.acquire();
  buffer.append(slab, SLAB_BYTES / 2);
  send(buffer);
  buffer.acknowledge(SLAB_BYTES - 1);
  assert.notEqual(pool.acquire().buffer, slab.buffer);
  buffer.acknowledge(SLAB_BYTES);
  assert.equal(pool.acquire().buffer, slab.buffer);
});

Deno.test("raiseLimit() takes no limit back", () => {
  const { buffer } = make(100);
  buffer.append(new Uint8Array(60), 100);
  buffer.raiseLimit(50);
  assert.equal(buffer.credit, 40);
  buffer.raiseLimit(150);
  buffer.raiseLimit(120);
  assert.equal(buffer.credit, 90);
});

Deno.test("next() gives the very frame again, with the ack of then", () => {
  const { buffer } = make();
  buffer.append(new Uint8Array([1, 2, 3]), 2);
  const first = [buffer.next(5, 6), buffer.next(7, 8)];
  buffer.rewind(0);
  const again = [buffer.next(100, 200), buffer.next(100, 200)];
  assert.equal(again[0], first[0]);
  assert.equal(again[1], first[1]);
  assert.equal(again[1]?.ack, 7);
});

Deno.test("rewind() begins with the piece that holds the offset", () => {
  const { buffer } = make();
  buffer.append(new Uint8Array(40), 10);
  send(buffer);
  buffer.acknowledge(10);
  for (
    const [offset, first] of [[10, 10], [19, 10], [20, 20], [35, 30], [0, 10]]
  ) {
    buffer.rewind(offset ?? 0);
    assert.equal(buffer.sent, first);
    send(buffer);
  }
  buffer.rewind(10);
  assert.ok(buffer.acknowledge(40), "what was sent stays sent");
});

Deno.test("rewind() sends four pieces, then twice as many for each acknowledgement", () => {
  const { buffer } = make();
  buffer.append(new Uint8Array(40), 1);
  send(buffer);
  buffer.rewind(0);
  assert.equal(send(buffer).length, 4);
  buffer.acknowledge(1);
  assert.equal(send(buffer).length, 8 - 3);
  buffer.acknowledge(9);
  assert.equal(send(buffer).length, 16);
  buffer.acknowledge(10);
  assert.equal(send(buffer).length, 40 - 25);
});

Deno.test("rewind() costs little when the peer takes one piece at a time", () => {
  const { buffer } = make(10_000);
  buffer.append(new Uint8Array(1_000), 1);
  let frames = send(buffer).length;
  for (let acked = 1; acked <= 1_000; acked++) {
    buffer.acknowledge(acked);
    buffer.rewind(acked);
    frames += send(buffer).length;
  }
  assert.ok(frames <= 1_000 + 4 * 1_000, `${frames} frames`);
});

Deno.test("recut() makes smaller pieces of what is held, sent or not", () => {
  const { buffer, budget, pool } = make(1 << 20);
  const slab = pool.acquire();
  slab.forEach((_, at) => slab[at] = at % 251);
  buffer.append(slab.subarray(0, 50), 20);
  buffer.next(0, 0);
  buffer.next(0, 0);
  buffer.acknowledge(25);
  buffer.recut(8);
  assert.equal(buffer.sent, 40);
  assert.equal(budget.used, buffer.held);
  buffer.rewind(25);
  const pieces: number[] = [];
  for (let frame; (frame = buffer.next(0, 0)) !== undefined;) {
    assert.ok(frame.payload.length <= 8);
    frame.payload.forEach((byte, at) =>
      assert.equal(byte, (frame.offset + at) % 251)
    );
    pieces.push(frame.offset);
    if (pieces.length === 4) buffer.acknowledge(40);
  }
  assert.deepEqual(pieces, [20, 28, 36, 40, 48]);
  buffer.acknowledge(50);
  assert.equal(budget.used, 0);
  assert.equal(pool.acquire().buffer, slab.buffer);
});

Deno.test("clear() gives everything back", () => {
  const { buffer, budget, pool } = make(1 << 20);
  const slabs = [pool.acquire(), pool.acquire(), pool.acquire()];
  for (const slab of slabs) buffer.append(slab, SLAB_BYTES / 4);
  send(buffer);
  buffer.acknowledge(SLAB_BYTES + 5);
  buffer.clear();
  assert.equal(budget.used, 0);
  assert.equal(buffer.next(0, 0), undefined);
  const back = new Set(slabs.map(() => pool.acquire().buffer));
  assert.deepEqual(back, new Set(slabs.map(({ buffer }) => buffer)));
  buffer.acknowledge(SLAB_BYTES + 9); // late, and harmless
  assert.equal(budget.used, 0);
});

Deno.test("SendBuffer keeps every byte until it is acknowledged, whatever the moves", () => {
  const part = fc.double({ min: 0, max: 1, noNaN: true });
  const move = fc.oneof(
    fc.record({
      type: fc.constant("append" as const),
      length: fc.integer({ min: 1, max: 50 }),
    }),
    fc.record({ type: fc.constant("next" as const) }),
    fc.record({ type: fc.constant("next" as const) }),
    fc.record({ type: fc.constant("acknowledge" as const), part }),
    fc.record({ type: fc.constant("rewind" as const), part }),
    fc.record({
      type: fc.constant("recut" as const),
      frame: fc.integer({ min: 1, max: 20 }),
    }),
  );
  fc.assert(
    fc.property(fc.array(move, { maxLength: 300, size: "max" }), (moves) => {
      const { buffer, budget } = make(1 << 20);
      let frame = 20;
      let appended = 0;
      let highest = 0;
      for (const step of moves) {
        if (step.type === "append") {
          const chunk = new Uint8Array(step.length)
            .map((_, at) => (appended + at) % 251);
          appended += step.length;
          buffer.append(chunk, frame);
        } else if (step.type === "next") {
          const sent = buffer.sent;
          const data = buffer.next(0, 0);
          if (data === undefined) continue;
          assert.equal(data.offset, sent, "no byte is left out");
          assert.ok(data.payload.length > 0 && data.payload.length <= 20);
          data.payload.forEach((byte, at) =>
            assert.equal(byte, (data.offset + at) % 251)
          );
          highest = Math.max(highest, data.offset + data.payload.length);
        } else if (step.type === "acknowledge") {
          const ack = buffer.acked +
            Math.floor((highest - buffer.acked) * step.part);
          const before = buffer.acked;
          assert.equal(buffer.acknowledge(ack), ack > before);
        } else if (step.type === "rewind") {
          const to = buffer.acked +
            Math.floor((highest - buffer.acked) * step.part);
          buffer.rewind(to);
          assert.ok(buffer.sent <= to);
        } else {
          if (step.frame < frame) buffer.recut(step.frame);
          frame = step.frame;
        }
        assert.throws(() => buffer.acknowledge(highest + 1), TunnelError);
        assert.equal(buffer.end, appended);
        assert.equal(budget.used, buffer.held);
        assert.ok(buffer.held >= appended - buffer.acked);
      }
      // In the end all of it can be sent and acknowledged.
      for (let time = 0; buffer.acked < appended; time++) {
        assert.ok(time < 10_000);
        if (send(buffer).length === 0) buffer.rewind(buffer.acked);
        buffer.acknowledge(buffer.sent);
      }
      assert.equal(budget.used, 0);
    }),
    { numRuns: 300 },
  );
});
