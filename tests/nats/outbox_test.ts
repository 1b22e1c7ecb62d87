import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import {
  BATCH_BYTES,
  HIGH_WATER_BYTES,
  type Lane,
  LOW_WATER_BYTES,
  MAX_PENDING_BYTES,
  Outbox,
} from "../../lib/nats/outbox.ts";

/** A socket whose writes end when the test says so, and as it says. */
class FakeSocket {
  /** Sizes of the writes. */
  readonly writes: number[] = [];
  readonly failures: unknown[] = [];
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];
  drains = 0;
  onDrain = (): void => {};
  #pending: ((take: number | Error) => void) | undefined;

  readonly counts = { bytesOut: 0, congestions: 0, congestedMs: 0 };
  readonly outbox = new Outbox({
    write: (bytes) => {
      assert.equal(this.#pending, undefined, "two writes at once");
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      this.#pending = (take) => {
        this.#pending = undefined;
        if (take instanceof Error) return reject(take);
        const count = Math.min(take, bytes.length);
        this.#parts.push(bytes.slice(0, count));
        this.writes.push(count);
        resolve(count);
      };
      return promise;
    },
  }, {
    drained: () => {
      this.drains++;
      this.onDrain();
    },
    failed: (error) => void this.failures.push(error),
  }, this.counts);

  /** Whether a write is under way. */
  get writing(): boolean {
    return this.#pending !== undefined;
  }

  /** Lets the write under way take at most `take` bytes, or fail. */
  async complete(take: number | Error = Infinity): Promise<void> {
    await turn();
    assert.ok(this.#pending, "nothing is being written");
    this.#pending(take);
    await turn();
  }

  /** Lets everything out. */
  async completeAll(): Promise<void> {
    await turn();
    while (this.#pending) await this.complete();
  }

  /** Everything written so far. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return await new Blob(this.#parts).bytes();
  }

  /** The same as text. */
  async text(): Promise<string> {
    return await new Blob(this.#parts).text();
  }

  push(lane: Lane, text: string): void {
    this.outbox.push(lane, new TextEncoder().encode(text));
  }
}

/** Lets all microtasks run. */
async function turn(): Promise<void> {
  await setImmediate();
}

Deno.test("push() writes what one turn queues in one write", async () => {
  const socket = new FakeSocket();
  for (const text of ["one ", "two ", "three"]) socket.push("data", text);
  assert.equal(socket.writing, false, "wrote before the end of the turn");
  await socket.complete();
  assert.deepEqual(socket.writes, ["one two three".length]);
  assert.equal(await socket.text(), "one two three");
  assert.equal(socket.outbox.pendingBytes, 0);
});

Deno.test("push() gathers behind a write under way and writes that next", async () => {
  const socket = new FakeSocket();
  socket.push("data", "first ");
  await turn();
  socket.push("data", "second ");
  await turn();
  socket.push("data", "third");
  await socket.completeAll();
  assert.equal(await socket.text(), "first second third");
  assert.equal(socket.writes.length, 2);
});

Deno.test("push() puts control in front of data that is not being written", async () => {
  const socket = new FakeSocket();
  socket.push("data", "d1 ");
  await turn();
  socket.push("data", "d2 ");
  socket.push("control", "c1 ");
  socket.push("data", "d3");
  socket.push("control", "c2 ");
  await socket.completeAll();
  assert.equal(await socket.text(), "d1 c1 c2 d2 d3");
  assert.equal(socket.writes.length, 2, "control and data share a write");
});

Deno.test("push() lets control overtake several full batches", async () => {
  const socket = new FakeSocket();
  const block = "x".repeat(BATCH_BYTES / 2);
  for (let i = 0; i < 6; i++) socket.push("data", block);
  socket.push("control", "CONTROL");
  await socket.completeAll();
  const at = (await socket.text()).indexOf("CONTROL");
  assert.ok(at >= 0 && at <= BATCH_BYTES, `control is at ${at}`);
});

Deno.test("push() writes control that is too large to go in front on its own", async () => {
  const socket = new FakeSocket();
  const control = "c".repeat(20_000);
  socket.push("data", "data");
  socket.push("control", control);
  await socket.completeAll();
  assert.equal(await socket.text(), control + "data");
});

Deno.test("push() takes operations larger than a batch", async () => {
  const socket = new FakeSocket();
  const large = "L".repeat(3 * BATCH_BYTES + 1);
  socket.push("data", "before ");
  socket.push("data", large);
  socket.push("data", " after");
  await socket.completeAll();
  assert.equal(await socket.text(), `before ${large} after`);
});

Deno.test("push() writes the rest after a partial write", async () => {
  const socket = new FakeSocket();
  socket.push("data", "0123456789");
  await socket.complete(3);
  socket.push("control", "c");
  assert.equal(socket.outbox.pendingBytes, 8);
  await socket.complete(1);
  await socket.completeAll();
  // Not even control cuts into an operation.
  assert.equal(await socket.text(), "0123456789c");
});

Deno.test("push() keeps every byte and the order of each lane", async () => {
  const chunk = fc.record({
    lane: fc.constantFrom<Lane>("control", "data"),
    size: fc.oneof(
      { weight: 9, arbitrary: fc.integer({ min: 1, max: 400 }) },
      { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 300_000 }) },
    ),
    takes: fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 2 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { maxLength: 25 }), async (chunks) => {
      const socket = new FakeSocket();
      const sent = { control: [] as number[], data: [] as number[] };
      for (const [i, { lane, size, takes }] of chunks.entries()) {
        // An operation is its own number and length, so that order shows.
        const bytes = new Uint8Array(size + 5).fill(i);
        bytes[0] = lane === "control" ? 1 : 2;
        new DataView(bytes.buffer).setUint32(1, size);
        socket.outbox.push(lane, bytes);
        sent[lane].push(i);
        for (const take of takes) {
          await turn();
          if (socket.writing) await socket.complete(take);
        }
      }
      await socket.completeAll();
      const got = { control: [] as number[], data: [] as number[] };
      const stream = await socket.bytes();
      const view = new DataView(stream.buffer);
      for (let at = 0; at < stream.length;) {
        const size = view.getUint32(at + 1);
        const body = stream.subarray(at + 5, at + 5 + size);
        const [first = -1] = body;
        assert.ok(body.every((byte) => byte === first), "an operation is cut");
        got[stream[at] === 1 ? "control" : "data"].push(first);
        at += 5 + size;
      }
      assert.deepEqual(got, sent);
      assert.equal(socket.outbox.pendingBytes, 0);
    }),
    { numRuns: 60 },
  );
});

Deno.test("congested is set at the high-water mark and cleared once at the low one", async () => {
  const socket = new FakeSocket();
  const { outbox } = socket;
  const step = 32 * 1024;
  const block = new Uint8Array(step);
  for (let size = step; size < HIGH_WATER_BYTES; size += step) {
    outbox.push("data", block);
    assert.equal(outbox.congested, false, `congested at ${size}`);
  }
  outbox.push("data", block);
  assert.equal(outbox.congested, true);
  while (outbox.pendingBytes > LOW_WATER_BYTES) {
    assert.equal(outbox.congested, true);
    assert.equal(socket.drains, 0);
    await socket.complete(step);
  }
  assert.equal(outbox.congested, false);
  await socket.completeAll();
  assert.equal(socket.drains, 1);
  const { counts } = socket;
  assert.equal(counts.congestions, 1);
  assert.ok(counts.congestedMs > 0);
  assert.equal(counts.bytesOut, HIGH_WATER_BYTES);
});

Deno.test("congestion that ends with the connection counts, and only once", async () => {
  const socket = new FakeSocket();
  const { outbox, counts } = socket;
  for (const _ of ["one", "more"]) {
    outbox.push("data", new Uint8Array(HIGH_WATER_BYTES));
  }
  assert.deepEqual([counts.congestions, counts.congestedMs], [1, 0]);
  await turn();
  outbox.close();
  const { congestedMs } = counts;
  assert.ok(congestedMs > 0);
  outbox.close();
  assert.equal(counts.congestedMs, congestedMs);
  await socket.complete();
  assert.equal(counts.bytesOut, 0); // nobody knows what became of them
});

Deno.test("drained() may queue more at once", async () => {
  const socket = new FakeSocket();
  socket.onDrain = () => socket.push("data", "more");
  socket.outbox.push("data", new Uint8Array(HIGH_WATER_BYTES));
  await socket.completeAll();
  assert.equal(socket.drains, 1);
  assert.ok((await socket.text()).endsWith("more"));
});

Deno.test("written() resolves when the data queued before it is out", async () => {
  const socket = new FakeSocket();
  const done: string[] = [];
  socket.push("data", "first");
  void socket.outbox.written().then(() => done.push("first"));
  await turn();
  socket.push("data", "second");
  void socket.outbox.written().then(() => done.push("second"));
  socket.push("control", "control");
  await socket.complete(2);
  assert.deepEqual(done, []);
  await socket.complete();
  assert.deepEqual(done, ["first"]);
  await socket.completeAll();
  assert.deepEqual(done, ["first", "second"]);
  await socket.outbox.written();
});

Deno.test("close() forgets what is queued and fails who waits for it", async () => {
  const socket = new FakeSocket();
  socket.push("data", "x");
  const written = socket.outbox.written();
  socket.outbox.close();
  await assert.rejects(written, /ended before all was sent/);
  await turn();
  assert.equal(socket.writing, false);
  assert.equal(socket.outbox.pendingBytes, 0);
  socket.push("data", "y");
  await turn();
  assert.equal(socket.writing, false);
});

Deno.test("a failed write is told once, and nothing follows it", async () => {
  const socket = new FakeSocket();
  socket.push("data", "x");
  await socket.complete(new Error("broken pipe"));
  socket.push("data", "y");
  await turn();
  assert.equal(socket.writing, false);
  assert.deepEqual(socket.failures.map(String), ["Error: broken pipe"]);
});

Deno.test("a write that takes nothing is a failure, not a busy loop", async () => {
  const socket = new FakeSocket();
  socket.push("data", "x");
  await socket.complete(0);
  assert.equal(socket.writing, false);
  assert.equal(socket.failures.length, 1);
});

Deno.test("push() gives up on a reader that lets too much pile up", async () => {
  const socket = new FakeSocket();
  const block = new Uint8Array(1024 * 1024);
  for (let size = 0; size <= MAX_PENDING_BYTES; size += block.length) {
    assert.equal(socket.failures.length, 0);
    socket.outbox.push("data", block);
  }
  assert.match(String(socket.failures[0]), /bytes wait for it to read/);
  socket.outbox.close();
  await turn();
});
