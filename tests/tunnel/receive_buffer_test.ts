/** What has come and is not yet written: order, memory, credit. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { BufferPool, SLAB_BYTES } from "../../lib/base/buffer_pool.ts";
import { TunnelError } from "../../lib/base/errors.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import { PathEstimate, REST_BYTES } from "../../lib/tunnel/rtt.ts";
import { letRest } from "../support/paths.ts";
import {
  MIN_WINDOW_BYTES,
  ReceiveBuffer,
} from "../../lib/tunnel/receive_buffer.ts";
import { assertEqual } from "../support/simulation_parts.ts";

const WINDOW = 64 * 1024;

class CountingPool extends BufferPool {
  acquired = 0;

  override acquire(): Uint8Array {
    this.acquired++;
    return super.acquire();
  }
}

interface Parts {
  readonly buffer: ReceiveBuffer;
  readonly budget: MemoryBudget;
  readonly pool: CountingPool;
  readonly path: PathEstimate;
}

function make(
  options?: { window?: number; maxWindow?: number; budget?: number },
): Parts {
  const pool = new CountingPool();
  const budget = new MemoryBudget(options?.budget ?? 1 << 26);
  const path = new PathEstimate();
  const window = options?.window ?? WINDOW;
  const maxWindow = options?.maxWindow ?? window;
  return {
    buffer: new ReceiveBuffer({
      pool,
      budget,
      path,
      window,
      maxWindow,
      now: 0,
    }),
    budget,
    pool,
    path,
  };
}

/** The bytes of the stream from `offset` on. */
function stream(offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = ((offset + at) * 7) % 251;
  return bytes;
}

/** Writes everything that may be written; returns the sizes of the writes. */
function write(buffer: ReceiveBuffer): number[] {
  const sizes: number[] = [];
  for (let chunk; (chunk = buffer.take()) !== undefined;) {
    assertEqual(chunk, stream(buffer.written, chunk.length), "bytes written");
    sizes.push(chunk.length);
    buffer.wrote(chunk);
  }
  return sizes;
}

Deno.test("accept() takes what is new, trims what is not, and tells a gap", () => {
  const { buffer } = make();
  const cases = [
    [0, 10, "new", 10],
    [0, 10, "repeat", 10],
    [3, 4, "repeat", 10],
    [11, 5, "gap", 10],
    [5, 10, "new", 15],
    [15, 1, "new", 16],
    [0, 20, "new", 20],
  ] as const;
  for (const [offset, length, expected, received] of cases) {
    assert.equal(buffer.accept(offset, stream(offset, length)), expected);
    assert.equal(buffer.received, received);
  }
  assert.equal(buffer.held, 20);
  assert.equal(write(buffer).reduce((sum, size) => sum + size, 0), 20);
});

Deno.test("accept() copies: the frame's bytes may change afterwards", () => {
  for (const length of [1, 4_096, 4_097, 60_000]) {
    const { buffer } = make();
    // A view that shares memory when sliced, as some sockets hand out.
    const frame = Buffer.from(stream(0, length));
    buffer.accept(0, frame);
    frame.fill(0xee);
    write(buffer);
    assert.equal(buffer.written, length);
  }
});

Deno.test("accept() refuses what lies beyond the credit or the FIN", () => {
  const { buffer } = make();
  assert.throws(
    () => buffer.accept(WINDOW - 4, stream(0, 5)),
    (error) => error instanceof TunnelError && error.code === "protocol",
  );
  buffer.finish(10);
  assert.throws(
    () => buffer.accept(8, stream(8, 3)),
    /up to offset 11, beyond its FIN at 10/,
  );
  assert.equal(buffer.accept(0, stream(0, 10)), "new");
  assert.equal(buffer.received, 10);
});

Deno.test("accept() drops for want of memory, but never the first frame", () => {
  const { buffer, budget } = make({ budget: 100 });
  budget.reserve(100); // another tunnel's
  assert.equal(buffer.accept(0, stream(0, 1_000)), "new");
  assert.equal(buffer.accept(1_000, stream(1_000, 1)), "no-memory");
  write(buffer);
  assert.equal(buffer.accept(1_000, stream(1_000, 1)), "new");
  budget.release(100);
  assert.equal(buffer.accept(1_001, stream(1_001, 49)), "new");
  assert.equal(buffer.accept(1_050, stream(1_050, 1)), "no-memory");
});

Deno.test("take() hands out small payloads as they are, and many as one", () => {
  const { buffer, pool } = make();
  buffer.accept(0, stream(0, 100));
  assert.deepEqual(write(buffer), [100]);
  let offset = 100;
  for (let time = 0; time < 600; time++, offset += 100) {
    buffer.accept(offset, stream(offset, 100));
  }
  const sizes = write(buffer);
  assert.ok(sizes.length <= 5, `${sizes}`);
  assert.equal(pool.acquired, 1);
});

Deno.test("accept() does not take a slab for a few small payloads", () => {
  const { buffer, pool } = make();
  let offset = 0;
  for (const length of [1, 2, 100, 1_000, 3_000, 4_000]) {
    buffer.accept(offset, stream(offset, length));
    offset += length;
  }
  assert.equal(pool.acquired, 0);
  write(buffer);
  assert.equal(buffer.written, offset);
});

Deno.test("wrote() gives slabs back and memory free", () => {
  const { buffer, budget, pool } = make({ window: 4 * WINDOW });
  buffer.accept(0, stream(0, 3 * WINDOW));
  assert.equal(budget.used, 3 * WINDOW);
  assert.deepEqual(write(buffer), [SLAB_BYTES, SLAB_BYTES, SLAB_BYTES]);
  assert.equal(budget.used, 0);
  pool.acquire();
  assert.equal(pool.acquired, 4);
});

Deno.test("ack counts the FIN as a byte once everything before it is here", () => {
  const { buffer } = make();
  assert.equal(buffer.ackPending, false);
  assert.equal(buffer.finish(5), false);
  assert.equal(buffer.ack, 0);
  buffer.accept(0, stream(0, 5));
  assert.ok(buffer.finished);
  assert.equal(buffer.ack, 6);
  assert.ok(buffer.ackPending);
  buffer.acknowledged();
  assert.equal(buffer.ackPending, false);
  assert.equal(buffer.finish(5), true, "a repeat");
});

Deno.test("ackUrgent comes at half of the window, at most 256 KiB", () => {
  for (
    const [window, urgent] of [[1_000, 500], [4 << 20, 256 << 10]] as const
  ) {
    const { buffer } = make({ window });
    buffer.accept(0, stream(0, urgent - 1));
    assert.equal(buffer.ackUrgent, false);
    buffer.accept(urgent - 1, stream(urgent - 1, 1));
    assert.equal(buffer.ackUrgent, true);
    buffer.acknowledged();
    assert.equal(buffer.ackUrgent, false);
  }
});

Deno.test("grant() gives credit for what was written, at half of the window", () => {
  const { buffer } = make();
  buffer.accept(0, stream(0, WINDOW / 2));
  assert.equal(buffer.grant(1), false, "not written yet");
  write(buffer);
  assert.equal(buffer.grant(1), true);
  assert.equal(buffer.limit, WINDOW / 2 + WINDOW);
  assert.equal(buffer.grant(1), false);
  buffer.accept(WINDOW / 2, stream(WINDOW / 2, WINDOW / 2));
  write(buffer);
  buffer.finish(WINDOW);
  assert.equal(buffer.grant(1), false, "nothing more will come");
});

Deno.test("grant() grows the window as far as the cap and the memory go", () => {
  const windowAfter = (
    options: { maxWindow: number; budget: number },
  ): number => {
    const { buffer, path } = make(options);
    path.sample(1_000, 0);
    let offset = 0;
    for (let time = 1; time < 400; time++) {
      const length = Math.min(WINDOW / 4, buffer.limit - offset);
      buffer.accept(offset, stream(offset, length));
      offset += length;
      write(buffer);
      buffer.grant(time);
    }
    return buffer.window;
  };
  assert.equal(
    windowAfter({ maxWindow: 8 * WINDOW, budget: 1 << 26 }),
    8 * WINDOW,
  );
  assert.equal(
    windowAfter({ maxWindow: 8 * WINDOW, budget: 3 * WINDOW }),
    3 * WINDOW,
  );
  assert.equal(windowAfter({ maxWindow: WINDOW, budget: 1 << 26 }), WINDOW);
});

Deno.test("grant() doubles a window that was used up in two round trips, or in 16 ms on a shorter path", () => {
  const grownIn = (ms: number, rtt?: number): boolean => {
    const { buffer, path } = make({ maxWindow: 8 * WINDOW });
    if (rtt !== undefined) path.sample(rtt, 0);
    buffer.accept(0, stream(0, WINDOW / 2));
    write(buffer);
    assert.ok(buffer.grant(ms));
    return buffer.window > WINDOW;
  };
  for (
    const [rtt, limit] of [[undefined, 16], [0.3, 16], [8, 16], [20, 40]]
  ) {
    assert.ok(grownIn((limit ?? 0) - 0.1, rtt), `${rtt} ms`);
    assert.ok(!grownIn(limit ?? 0, rtt), `${rtt} ms`);
  }
});

Deno.test("grant() gives no more than 16 KiB at a time while bulk rests, and the window is as before", () => {
  const { buffer, path } = make({ maxWindow: 8 * WINDOW });
  letRest(path);
  let offset = 0;
  const take = (length: number, now: number): boolean => {
    buffer.accept(offset, stream(offset, length));
    offset += length;
    write(buffer);
    return buffer.grant(now);
  };
  const first = buffer.limit;
  assert.equal(take(WINDOW - REST_BYTES, 1), false);
  assert.equal(take(REST_BYTES - 1, 1), true);
  assert.equal(buffer.limit, first + REST_BYTES - 1);
  assert.equal(take(REST_BYTES, 2), true);
  assert.equal(buffer.limit, offset + REST_BYTES);
  path.sample(20, 3);
  assert.equal(take(REST_BYTES, 100), true);
  assert.equal(buffer.limit, offset + WINDOW);
  assert.equal(buffer.window, WINDOW);
});

Deno.test("grant() never gives less than a frame, nor crumbs, when memory is short", () => {
  const { buffer, budget } = make({ budget: 1_000 });
  budget.reserve(1_000);
  let limit = buffer.limit;
  let grants = 0;
  for (let offset = 0; offset < 4 * WINDOW; offset += 512) {
    assert.ok(buffer.limit >= offset + 512, "always room to go on");
    buffer.accept(offset, stream(offset, 512));
    write(buffer);
    if (!buffer.grant(offset)) continue;
    grants++;
    assert.ok(buffer.limit - limit >= MIN_WINDOW_BYTES / 2);
    assert.ok(buffer.limit - buffer.written <= MIN_WINDOW_BYTES);
    limit = buffer.limit;
  }
  assert.ok(grants <= 4 * WINDOW / (MIN_WINDOW_BYTES / 2));
});

Deno.test("discard() forgets what is held, and counts what comes as written", () => {
  const { buffer, budget, pool } = make();
  buffer.accept(0, stream(0, 20_000));
  const writing = buffer.take();
  assert.ok(writing);
  buffer.accept(20_000, stream(20_000, 10));
  buffer.discard();
  buffer.discard();
  assert.equal(budget.used, 0);
  assert.equal(buffer.take(), undefined);
  buffer.wrote(writing);
  assert.equal(budget.used, 0);
  assert.equal(pool.acquire().buffer, writing.buffer);
  assert.equal(buffer.accept(20_010, stream(20_010, 30_000)), "new");
  assert.equal(buffer.held, 0);
  assert.equal(buffer.written, 50_010);
  assert.equal(buffer.grant(1), true);
});

Deno.test("ReceiveBuffer hands out the stream in order, whatever arrives", () => {
  const move = fc.oneof(
    fc.record({
      type: fc.constant("frame" as const),
      back: fc.integer({ min: -3_000, max: 6_000 }),
      length: fc.oneof(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 20_000 }),
      ),
    }),
    fc.record({ type: fc.constantFrom("take" as const, "wrote" as const) }),
    fc.record({ type: fc.constantFrom("take" as const, "wrote" as const) }),
  );
  fc.assert(
    fc.property(
      fc.array(move, { maxLength: 200, size: "max" }),
      fc.constantFrom(1 << 26, 50_000, 0),
      (moves, limit) => {
        const { buffer, budget } = make({ budget: limit, window: 1 << 22 });
        let writing: Uint8Array | undefined;
        for (const step of moves) {
          if (step.type === "frame") {
            const offset = Math.max(0, buffer.received - step.back);
            const before = buffer.received;
            const room = budget.allowance;
            const held = buffer.held;
            const end = offset + step.length;
            const expected = offset > before
              ? "gap"
              : end <= before
              ? "repeat"
              : held > 0 && held + end - before > room
              ? "no-memory"
              : "new";
            const frame = stream(offset, step.length);
            assert.equal(buffer.accept(offset, frame), expected);
            frame.fill(0xee);
            assert.equal(buffer.received, expected === "new" ? end : before);
          } else if (step.type === "take") {
            writing ??= buffer.take();
          } else if (writing !== undefined) {
            const expected = stream(buffer.written, writing.length);
            assertEqual(writing, expected, "bytes written");
            buffer.wrote(writing);
            writing = undefined;
          }
          assert.equal(budget.used, buffer.held);
        }
        if (writing !== undefined) buffer.wrote(writing);
        write(buffer);
        assert.equal(buffer.written, buffer.received);
        assert.equal(budget.used, 0);
      },
    ),
    { numRuns: 300 },
  );
});
