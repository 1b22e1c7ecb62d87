import assert from "node:assert/strict";
import fc from "fast-check";
import { Inbox, READ_BYTES } from "../../lib/nats/inbox.ts";
import {
  MAX_LINE_BYTES,
  NatsProtocolError,
  OP,
} from "../../lib/nats/parser.ts";

const encoder = new TextEncoder();

/** Feeds `stream` in pieces of the given sizes; returns the sizes of the messages found. */
async function feed(
  inbox: Inbox,
  stream: Blob,
  options: { readonly pieces: readonly number[]; readonly maxPayload: number },
): Promise<number[]> {
  const bytes = await stream.bytes();
  const found: number[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const room = inbox.room();
    assert.ok(room.length > 0, "no room");
    const wanted = options.pieces[i % options.pieces.length] ?? 1;
    const piece = bytes.subarray(at, at + Math.min(wanted, room.length));
    room.set(piece);
    inbox.add(piece.length);
    at += piece.length;
    for (;;) {
      const op = inbox.next(options.maxPayload);
      if (op === OP.incomplete) break;
      assert.equal(op, OP.message);
      const { data } = inbox.message;
      const mark = data[0] ?? 0;
      assert.ok(data.every((byte) => byte === mark), "bytes are mixed up");
      assert.equal(inbox.message.subject, `s.${mark}`);
      found.push(data.length);
    }
  }
  return found;
}

/** Messages of these sizes, each filled with its own number. */
function messages(sizes: readonly number[]): Blob {
  return new Blob(sizes.flatMap((size, i) => {
    const mark = size === 0 ? 0 : i % 256;
    return [
      `MSG s.${mark} 1 ${size}\r\n`,
      new Uint8Array(size).fill(mark),
      "\r\n",
    ];
  }));
}

const anySize = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 300 }) },
  {
    weight: 3,
    arbitrary: fc.integer({ min: READ_BYTES - 50, max: READ_BYTES + 50 }),
  },
  { weight: 1, arbitrary: fc.nat({ max: 600_000 }) },
);

Deno.test("next() finds whole messages however they are read", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anySize, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 2 * READ_BYTES }), { minLength: 1 }),
      async (sizes, pieces) => {
        const inbox = new Inbox();
        const maxPayload = 1024 * 1024;
        const found = await feed(inbox, messages(sizes), {
          pieces,
          maxPayload,
        });
        assert.deepEqual(found, sizes);
        assert.equal(inbox.oversized, 0);
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("next() passes over what is too large, and nothing else", async () => {
  const maxPayload = 100_000;
  await fc.assert(
    fc.asyncProperty(
      fc.array(anySize, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1000, max: READ_BYTES }), { minLength: 1 }),
      async (sizes, pieces) => {
        const inbox = new Inbox();
        const found = await feed(inbox, messages(sizes), {
          pieces,
          maxPayload,
        });
        const small = sizes.filter((size) => size <= maxPayload);
        // One that is all there costs nothing to hold, and is taken.
        const kept = found.filter((size) => size <= maxPayload);
        assert.deepEqual(kept, small);
        assert.equal(found.length + inbox.oversized, sizes.length);
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("room() grows for a large message and shrinks after it", async () => {
  const inbox = new Inbox();
  const size = 5 * READ_BYTES;
  const stream = messages([size]);
  const bytes = await stream.bytes();
  inbox.room().set(bytes.subarray(0, 100));
  inbox.add(100);
  assert.equal(inbox.next(size), OP.incomplete);
  assert.equal(inbox.room().length, bytes.length - 100);
  assert.deepEqual(
    await feed(inbox, new Blob([bytes.subarray(100)]), {
      pieces: [bytes.length],
      maxPayload: size,
    }),
    [size],
  );
  assert.equal(inbox.room().length, READ_BYTES);
});

Deno.test("room() never exceeds what the broker takes itself", () => {
  const inbox = new Inbox();
  const start = encoder.encode("MSG a 1 60000000\r\n");
  inbox.room().set(start);
  inbox.add(start.length);
  assert.equal(inbox.next(1024), OP.incomplete);
  assert.equal(inbox.oversized, 1);
  for (let i = 0; i < 100; i++) {
    assert.equal(inbox.room().length, READ_BYTES);
    inbox.add(READ_BYTES);
    assert.equal(inbox.next(1024), OP.incomplete);
  }
  assert.equal(inbox.hasMore, false);
});

Deno.test("next() refuses an endless line before it fills the buffer", () => {
  const inbox = new Inbox();
  const room = inbox.room();
  room.set(encoder.encode("MSG "));
  room.fill(0x61, 4);
  inbox.add(MAX_LINE_BYTES);
  assert.throws(() => inbox.next(1024), NatsProtocolError);
});

Deno.test("copy() and argument() are those of the operation found last", () => {
  const inbox = new Inbox();
  const stream = encoder.encode("+OK\r\nINFO {}\r\nPING\r\n");
  inbox.room().set(stream);
  inbox.add(stream.length);
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  assert.equal(inbox.next(0), OP.ok);
  assert.equal(text(inbox.copy()), "+OK\r\n");
  assert.equal(inbox.next(0), OP.info);
  assert.equal(text(inbox.copy()), "INFO {}\r\n");
  assert.equal(text(inbox.argument()), "{}");
  assert.equal(inbox.hasMore, true);
  assert.equal(inbox.next(0), OP.ping);
  assert.equal(inbox.hasMore, false);
});
