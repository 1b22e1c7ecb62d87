/** Frames of a WebSocket: ours as a server reads them, and a server's in any pieces. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { NatsProtocolError } from "../../lib/nats/parser.ts";
import {
  FrameDecoder,
  FrameEncoder,
  OPCODE,
} from "../../lib/nats/websocket_frames.ts";

/** A frame as a server sends it, by RFC 6455, 5.2; `first` is its first byte. */
function frame(first: number, payload: Uint8Array): number[] {
  const { length } = payload;
  const bytes = (count: number): number[] =>
    Array.from(
      { length: count },
      (_, index) => Math.floor(length / 256 ** (count - 1 - index)) % 256,
    );
  return [
    first,
    ...(length < 126
      ? [length]
      : length < 65536
      ? [126, ...bytes(2)]
      : [127, ...bytes(8)]),
    ...payload,
  ];
}

/** What `decoder` leaves of `bytes` that come in pieces of these sizes. */
function decodeAll(
  decoder: FrameDecoder,
  bytes: readonly number[],
  sizes: readonly number[] = [Infinity],
): number[] {
  const out: number[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    const piece = Uint8Array.from(bytes.slice(at, at + size));
    at += piece.length;
    const count = decoder.decode(piece);
    out.push(...piece.subarray(0, count));
  }
  return out;
}

/** Some bytes that differ. */
function some(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index * 31 + length);
}

Deno.test("FrameDecoder gives the bytes of all messages, in whatever pieces they come", () => {
  fc.assert(fc.property(
    fc.array(
      fc.record({
        size: fc.oneof(fc.nat(300), fc.constantFrom(125, 126, 65535, 65536)),
        parts: fc.integer({ min: 1, max: 3 }),
        ping: fc.option(fc.nat(125)),
      }),
      { maxLength: 5 },
    ),
    fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1 }),
    (messages, sizes) => {
      const sent: number[] = [];
      const wanted: number[] = [];
      const decoder = new FrameDecoder();
      for (const { size, parts, ping } of messages) {
        const payload = some(size);
        wanted.push(...payload);
        for (let part = 0; part < parts; part++) {
          const cut = (of: number): number => Math.floor(size * of / parts);
          const opcode = part === 0 ? OPCODE.binary : OPCODE.continuation;
          const fin = part === parts - 1 ? 0x80 : 0;
          const piece = payload.subarray(cut(part), cut(part + 1));
          sent.push(...frame(fin | opcode, piece));
          if (ping !== null) sent.push(...frame(0x89, some(ping)));
        }
      }
      const last = messages.findLast(({ ping }) => ping !== null)?.ping;
      assert.deepEqual(decodeAll(decoder, sent, sizes), wanted);
      assert.deepEqual(
        decoder.ping,
        last === null || last === undefined ? undefined : some(last),
      );
      assert.ok(!decoder.closed);
    },
  ));
});

Deno.test("FrameDecoder takes nothing after the server's close", () => {
  const decoder = new FrameDecoder();
  const bytes = [
    ...frame(0x82, some(3)),
    ...frame(0x8a, some(4)), // a pong nobody asked for
    ...frame(0x88, some(2)),
    ...frame(0x82, some(5)),
  ];
  assert.deepEqual(decodeAll(decoder, bytes, [1]), [...some(3)]);
  assert.ok(decoder.closed);
});

Deno.test("FrameDecoder refuses what is no frame of a server", () => {
  for (
    const [bytes, problem] of [
      [[0xc2, 0], /extensions/],
      [[0x82, 0x81, 1, 2, 3, 4, 5], /masked/],
      [[0x81, 1, 65], /neither binary/], // text
      [[0x80, 1, 65], /neither binary/], // goes on with nothing
      [[0x02, 1, 65, 0x82, 1, 65], /neither binary/], // a second in the first
      [[0x83, 0], /neither binary/],
      [[0x8b, 0], /no known kind/],
      [[0x89, 126, 0, 126], /too long/],
      [[0x09, 0], /too long/], // in parts
      [[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], /can be counted/],
    ] as const
  ) {
    assert.throws(
      () => decodeAll(new FrameDecoder(), bytes, [1]),
      (error: unknown) =>
        error instanceof NatsProtocolError && problem.test(error.message),
      String(bytes),
    );
  }
});

Deno.test("FrameEncoder masks what a server reads, each frame anew", () => {
  let seed = 0;
  const encoder = new FrameEncoder((bytes) => {
    for (let at = 0; at < bytes.length; at++) bytes[at] = ++seed * 37;
  });
  const masks = new Set<string>();
  for (const length of [0, 1, 3, 4, 125, 126, 127, 65535, 65536, 131_072, 5]) {
    const payload = some(length);
    const sent = encoder.encode(OPCODE.binary, payload);
    const size = length < 126 ? 2 : length < 65536 ? 4 : 10;
    const mask = sent.slice(size, size + 4);
    masks.add(String(mask));
    const plain = sent.slice(size + 4).map((byte, index) =>
      byte ^ (mask[index % 4] ?? 0)
    );
    assert.deepEqual(plain, payload);
    const head = frame(0x82, payload).slice(0, size);
    assert.deepEqual(
      [...sent.slice(0, size)],
      [head[0], (head[1] ?? 0) | 0x80, ...head.slice(2)],
    );
    assert.deepEqual(payload, some(length), "the payload itself is left alone");
  }
  assert.equal(masks.size, 11);
});
