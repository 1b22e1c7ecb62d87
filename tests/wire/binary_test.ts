/** The binary form: exact bytes, round trips, and bytes that nobody should send. */
import type { Encodable } from "../../lib/base/encodable.ts";
import assert from "node:assert/strict";
import fc from "fast-check";
import { binaryCodec, DATA_HEADER_BYTES } from "../../lib/wire/binary.ts";
import { TunnelError, WIRE_CODES } from "../../lib/base/errors.ts";
import {
  type Frame,
  MAX_OFFSET,
  MAX_RESET_TEXT_BYTES,
} from "../../lib/wire/frame.ts";
import { frames } from "../support/arbitraries.ts";

function bytesOf(message: Encodable): Uint8Array {
  const bytes = new Uint8Array(message.byteLength);
  message.encodeInto(bytes, 0);
  return bytes;
}

function encode(frame: Frame): Uint8Array {
  return bytesOf(binaryCodec.encode("c.s.1", frame));
}

const TABLE: readonly (readonly [string, Frame, string])[] = [
  [
    "DATA",
    {
      type: "data",
      offset: 1,
      ack: 2,
      limit: 0x0102_0304_0506,
      payload: new Uint8Array([0xaa, 0xbb]),
    },
    "01 00 0000000000000001 0000000000000002 0000010203040506 aabb",
  ],
  [
    "ACK",
    { type: "ack", ack: 0xffff_ffff, limit: 0x1_0000_0000, gap: false },
    "02 00 00000000ffffffff 0000000100000000",
  ],
  [
    "ACK that asks for a gap",
    { type: "ack", ack: MAX_OFFSET, limit: MAX_OFFSET, gap: true },
    "02 01 001fffffffffffff 001fffffffffffff",
  ],
  [
    "FIN",
    { type: "fin", offset: 7, ack: 8, limit: 9 },
    "03 00 0000000000000007 0000000000000008 0000000000000009",
  ],
  [
    "RESET",
    { type: "reset", code: "unknown-tunnel", text: "né" },
    "04 00 0009 6ec3a9",
  ],
  [
    "PING",
    {
      type: "ping",
      id: 0xffff_ffff,
      sent: 3,
      ack: 4,
      limit: 5,
      resumed: false,
    },
    "05 00 ffffffff 0000000000000003 0000000000000004 0000000000000005",
  ],
  [
    "PING after a cut",
    { type: "ping", id: 1, sent: 0, ack: 1, limit: 0, resumed: true },
    "05 01 00000001 0000000000000000 0000000000000001 0000000000000000",
  ],
  [
    "PONG",
    { type: "pong", id: 0x0102_0304, sent: 3, ack: 4, limit: 5, hold: false },
    "06 00 01020304 0000000000000003 0000000000000004 0000000000000005",
  ],
  [
    "PONG that holds",
    { type: "pong", id: 0, sent: 3, ack: 4, limit: 5, hold: true },
    "06 01 00000000 0000000000000003 0000000000000004 0000000000000005",
  ],
];

for (const [name, frame, hex] of TABLE) {
  Deno.test(`binaryCodec writes and reads ${name}`, () => {
    const bytes = Uint8Array.fromHex(hex.replaceAll(" ", ""));
    assert.deepEqual(encode(frame), bytes);
    assert.deepEqual(binaryCodec.decode(bytes), frame);
  });
}

Deno.test("binaryCodec reads back every frame, wherever it was written", () => {
  fc.assert(fc.property(frames, fc.nat({ max: 9 }), (frame, at) => {
    const message = binaryCodec.encode("c.s.1", frame);
    const room = new Uint8Array(at + message.byteLength + 5).fill(0xee);
    message.encodeInto(room, at);
    assert.ok(room.subarray(0, at).every((byte) => byte === 0xee));
    assert.ok(
      room.subarray(at + message.byteLength).every((byte) => byte === 0xee),
    );
    const read = binaryCodec.decode(
      room.subarray(at, at + message.byteLength),
    );
    assert.deepEqual(read, frame);
  }));
});

Deno.test("binaryCodec writes the identical bytes each time", () => {
  fc.assert(fc.property(frames, (frame) => {
    const message = binaryCodec.encode("c.s.1", frame);
    assert.deepEqual(bytesOf(message), bytesOf(message));
    assert.deepEqual(encode(frame), bytesOf(message));
  }));
});

/** What a reader of the table in the module's text would write. */
function naive(data: Uint8Array): Frame | "skip" | "malformed" {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const type = data[0];
  const sizes = [undefined, 26, 18, 26, 4, 30, 30];
  if (type === undefined || type === 0 || type >= 32) return "malformed";
  const size = sizes[type];
  if (size === undefined) return "skip";
  if (data.length < size) return "malformed";
  let broken = false;
  const number = (at: number): number => {
    const value = view.getBigUint64(at);
    if (value > BigInt(MAX_OFFSET)) broken = true;
    return Number(value);
  };
  const flag = (view.getUint8(1) & 1) === 1;
  const frame = ((): Frame => {
    switch (type) {
      case 1:
        return {
          type: "data",
          offset: number(2),
          ack: number(10),
          limit: number(18),
          payload: data.subarray(26),
        };
      case 2:
        return { type: "ack", ack: number(2), limit: number(10), gap: flag };
      case 3:
        return {
          type: "fin",
          offset: number(2),
          ack: number(10),
          limit: number(18),
        };
      case 4: {
        const code = view.getUint16(2);
        const found = Object.entries(WIRE_CODES).find(([, n]) => n === code);
        return {
          type: "reset",
          code: (found?.[0] ?? "internal") as keyof typeof WIRE_CODES,
          text: new TextDecoder("utf-8", { ignoreBOM: true })
            .decode(data.subarray(4, 4 + 512)),
        };
      }
      default: {
        const same = {
          id: view.getUint32(2),
          sent: number(6),
          ack: number(14),
          limit: number(22),
        };
        return type === 5
          ? { type: "ping", ...same, resumed: flag }
          : { type: "pong", ...same, hold: flag };
      }
    }
  })();
  if (broken) return "malformed";
  if (frame.type === "reset") {
    return frame.code === "ok" ? "malformed" : frame;
  }
  if (frame.limit + 1 < frame.ack) return "malformed";
  if (frame.type === "data") {
    const end = BigInt(frame.offset) + BigInt(frame.payload.length);
    if (frame.payload.length === 0) return "malformed";
    if (end > BigInt(MAX_OFFSET) - 1n) return "malformed";
  }
  if (frame.type === "fin" && frame.offset >= MAX_OFFSET) return "malformed";
  return frame;
}

/** Frames with some bytes changed, cut short or made longer, and plain noise. */
const hostile: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.tuple(fc.integer({ min: 0, max: 33 }), fc.uint8Array({ maxLength: 40 }))
    .map(([type, rest]) => new Uint8Array([type, ...rest])),
  fc.tuple(
    frames,
    fc.array(fc.tuple(fc.nat({ max: 34 }), fc.integer({ min: 0, max: 255 })), {
      maxLength: 4,
    }),
    fc.integer({ min: -8, max: 8 }),
  ).map(([frame, changes, longer]) => {
    const good = encode(frame);
    const bytes = new Uint8Array(Math.max(0, good.length + longer));
    bytes.set(good.subarray(0, bytes.length));
    for (const [at, value] of changes) {
      if (at < bytes.length) bytes[at] = value;
    }
    return bytes;
  }),
);

Deno.test("binaryCodec reads hostile bytes as a naive reader does, and never crashes", () => {
  fc.assert(
    fc.property(hostile, (bytes) => {
      const expected = naive(bytes);
      if (expected === "malformed") {
        assert.throws(
          () => binaryCodec.decode(bytes),
          (error) => error instanceof TunnelError && error.code === "protocol",
        );
      } else {
        const frame = binaryCodec.decode(bytes);
        assert.deepEqual(frame, expected === "skip" ? undefined : expected);
      }
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("binaryCodec says what is wrong with a message", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /empty message/],
    ["00", /unknown first byte 0/],
    ["20", /unknown first byte 32/],
    ["0100", /data frame has 2 bytes, needs 26/],
    [`0100${"00".repeat(24)}`, /data frame has no payload/],
    ["0200ffffffffffffffff0000000000000000", /number at byte 2 is over 2\^53/],
    ["020000200000000000000000000000000000", /number at byte 2 is over 2\^53/],
    [
      "020000000000000000050000000000000003",
      /ack frame has limit 3 below its ack 5/,
    ],
    [
      `0300001fffffffffffff${"00".repeat(16)}`,
      /fin frame at offset 9007199254740991/,
    ],
    [
      `0100001ffffffffffffe${"00".repeat(17)}`,
      /data frame at offset 9007199254740990 ends beyond/,
    ],
  ];
  for (const [hex, says] of cases) {
    assert.throws(() => binaryCodec.decode(Uint8Array.fromHex(hex)), says);
  }
});

Deno.test("binaryCodec skips types of later versions and ignores flags without meaning", () => {
  for (let type = 7; type < 32; type++) {
    assert.equal(binaryCodec.decode(new Uint8Array([type])), undefined);
  }
  const bytes = encode({ type: "ack", ack: 1, limit: 2, gap: false });
  bytes[1] = 0xfe;
  assert.deepEqual(binaryCodec.decode(bytes), {
    type: "ack",
    ack: 1,
    limit: 2,
    gap: false,
  });
});

Deno.test("binaryCodec cuts the text of a RESET between characters", () => {
  const text = "é".repeat(MAX_RESET_TEXT_BYTES);
  const bytes = encode({ type: "reset", code: "internal", text: `x${text}` });
  assert.equal(bytes.length, 4 + MAX_RESET_TEXT_BYTES - 1);
  const frame = binaryCodec.decode(bytes);
  assert.ok(frame?.type === "reset");
  assert.equal(frame.text, `x${text.slice(0, 255)}`);
  const long = new Uint8Array(2_000).fill(0x61);
  long.set([4, 0, 0xff, 0xff]);
  const read = binaryCodec.decode(long);
  assert.ok(read?.type === "reset");
  assert.equal(read.code, "internal", "a code never assigned");
  assert.equal(read.text.length, MAX_RESET_TEXT_BYTES);
});

Deno.test("binaryCodec.payloadCapacity() is what exactly fits", () => {
  for (const bytes of [27, 100, 1 << 20]) {
    const capacity = binaryCodec.payloadCapacity("c.s.1", bytes);
    const payload = new Uint8Array(capacity);
    const frame = {
      type: "data",
      offset: 0,
      ack: 0,
      limit: 0,
      payload,
    } as const;
    assert.equal(binaryCodec.encode("c.s.1", frame).byteLength, bytes);
    assert.equal(capacity, bytes - DATA_HEADER_BYTES);
  }
});
