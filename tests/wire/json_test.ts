/** The readable form: exact text, round trips, and text that nobody should send. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { TunnelError } from "../../lib/base/errors.ts";
import {
  type Frame,
  MAX_OFFSET,
  MAX_RESET_TEXT_BYTES,
} from "../../lib/wire/frame.ts";
import { decodeFrame } from "../../lib/wire/codec.ts";
import { jsonCodec } from "../../lib/wire/json.ts";
import { frames } from "../support/arbitraries.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function encode(frame: Frame, id = "c.s.7"): Uint8Array {
  const message = jsonCodec.encode(id, frame);
  const bytes = new Uint8Array(message.byteLength + 2);
  message.encodeInto(bytes, 1);
  return bytes.slice(1, -1);
}

function isProtocolError(error: unknown): boolean {
  return error instanceof TunnelError && error.code === "protocol";
}

const TABLE: readonly (readonly [Frame, string])[] = [
  [
    {
      type: "data",
      offset: 0,
      ack: 0,
      limit: 262_144,
      payload: encoder.encode("PING\r\n"),
    },
    `{"ID":"c.s.7","Reply":"","Data":"UElORw0K","Metadata":{"type":"data","offset":"0","ack":"0","limit":"262144"}}`,
  ],
  [
    { type: "ack", ack: 5, limit: 6, gap: false },
    `{"ID":"c.s.7","Reply":"","Data":null,"Metadata":{"type":"ack","ack":"5","limit":"6"}}`,
  ],
  [
    { type: "ack", ack: 5, limit: 6, gap: true },
    `{"ID":"c.s.7","Reply":"","Data":null,"Metadata":{"type":"ack","ack":"5","limit":"6","gap":"true"}}`,
  ],
  [
    { type: "fin", offset: 4, ack: 5, limit: 6 },
    `{"ID":"c.s.7","Reply":"","Data":null,"Metadata":{"type":"fin","offset":"4","ack":"5","limit":"6"}}`,
  ],
  [
    { type: "reset", code: "peer-gone", text: 'say "no"' },
    `{"ID":"c.s.7","Reply":"","Data":null,"Metadata":{"type":"reset","code":"peer-gone","text":"say \\"no\\""}}`,
  ],
  [
    { type: "ping", id: 1, sent: 2, ack: 3, limit: 4, resumed: true },
    `{"ID":"c.s.7","Reply":"","Data":null,"Metadata":{"type":"ping","id":"1","sent":"2","ack":"3","limit":"4","resumed":"true"}}`,
  ],
  [
    { type: "pong", id: 1, sent: 2, ack: 3, limit: 4, hold: true },
    `{"ID":"c.s.7","Reply":"","Data":null,"Metadata":{"type":"pong","id":"1","sent":"2","ack":"3","limit":"4","hold":"true"}}`,
  ],
  [
    { type: "pong", id: 1, sent: 2, ack: 3, limit: 4, hold: false },
    `{"ID":"c.s.7","Reply":"","Data":null,"Metadata":{"type":"pong","id":"1","sent":"2","ack":"3","limit":"4"}}`,
  ],
];

for (const [frame, text] of TABLE) {
  Deno.test(`jsonCodec writes and reads ${text.slice(48)}`, () => {
    assert.equal(decoder.decode(encode(frame)), text);
    assert.deepEqual(jsonCodec.decode(encoder.encode(text)), frame);
  });
}

Deno.test("jsonCodec reads back every frame", () => {
  fc.assert(fc.property(frames, (frame) => {
    assert.deepEqual(jsonCodec.decode(encode(frame)), frame);
    assert.deepEqual(encode(frame), encode(frame), "identical each time");
  }));
});

Deno.test("jsonCodec skips types it does not know", () => {
  const bytes = encoder.encode(`{"Metadata":{"type":"later"}}`);
  assert.equal(jsonCodec.decode(bytes), undefined);
});

Deno.test("jsonCodec says what is wrong with a message", () => {
  const ack = (fields: string): string =>
    `{"Metadata":{"type":"ack","ack":"1",${fields}}}`;
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /message is not JSON/],
    ["{", /message is not JSON/],
    ["[]", /message is not a JSON object/],
    ["null", /message is not a JSON object/],
    ["{}", /metadata has no type/],
    [`{"Metadata":{"type":7}}`, /metadata type is not a string/],
    [ack(`"limits":"1"`), /metadata has no limit/],
    [ack(`"limit":1`), /metadata limit is not a string/],
    [ack(`"limit":"-1"`), /metadata limit is not a number from 0/],
    [ack(`"limit":"1e3"`), /metadata limit is not a number from 0/],
    [ack(`"limit":"0x10"`), /metadata limit is not a number from 0/],
    [ack(`"limit":""`), /metadata limit is not a number from 0/],
    [ack(`"limit":"9007199254740992"`), /not a number from 0/],
    [ack(`"limit":"10000000000000000"`), /not a number from 0/],
    [`{"Data":"*","Metadata":{"type":"ack"}}`, /field Data is not base64/],
    [`{"Data":[1],"Metadata":null}`, /field Data is not a string/],
    [
      `{"Metadata":{"type":"data","offset":"0","ack":"0","limit":"0"}}`,
      /data frame has no payload/,
    ],
    [
      `{"Metadata":{"type":"ping","id":"4294967296","sent":"0","ack":"0","limit":"0"}}`,
      /metadata id is not a number from 0 to 4294967295/,
    ],
    [`{"Metadata":{"type":"reset"}}`, /metadata has no code/],
  ];
  for (const [text, says] of cases) {
    assert.throws(
      () => jsonCodec.decode(encoder.encode(text)),
      (error) => {
        assert.ok(error instanceof TunnelError, text);
        assert.equal(error.code, "protocol");
        assert.match(error.message, says);
        return true;
      },
    );
  }
});

/** Any JSON, messages with any values, and good messages with bytes changed. */
const hostile: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.json().map((text) => encoder.encode(text)),
  fc.record({
    ID: fc.jsonValue(),
    Data: fc.oneof(fc.jsonValue(), fc.base64String()),
    Metadata: fc.oneof(
      fc.jsonValue(),
      fc.dictionary(
        fc.constantFrom(
          "type",
          "offset",
          "ack",
          "limit",
          "id",
          "sent",
          "code",
          "__proto__",
          "constructor",
        ),
        fc.oneof(
          fc.constantFrom("data", "ack", "fin", "reset", "ping", "pong"),
          fc.nat().map(String),
          fc.jsonValue(),
        ),
      ),
    ),
  }, { requiredKeys: [] }).map((value) =>
    encoder.encode(JSON.stringify(value))
  ),
  fc.tuple(frames, fc.nat(), fc.integer({ min: 0, max: 255 })).map(
    ([frame, at, value]) => {
      const bytes = encode(frame);
      bytes[at % bytes.length] = value;
      return bytes;
    },
  ),
);

Deno.test("jsonCodec reads hostile text as a frame or refuses it, and never crashes", () => {
  fc.assert(
    fc.property(hostile, (bytes) => {
      try {
        const frame = jsonCodec.decode(bytes);
        if (frame === undefined) return;
        // What it took for a frame is one: it survives another trip.
        assert.deepEqual(jsonCodec.decode(encode(frame)), frame);
      } catch (error) {
        if (!isProtocolError(error)) throw error;
      }
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("jsonCodec refuses JSON that is nested beyond reason", () => {
  const deep = "[".repeat(200_000);
  for (const text of [deep, `{"Metadata":${deep}`, `{"a":`.repeat(100_000)]) {
    assert.throws(
      () => jsonCodec.decode(encoder.encode(text)),
      isProtocolError,
    );
  }
});

Deno.test("decodeFrame() reads no JSON that is far longer than a frame", () => {
  const payload = new Uint8Array(16 * 1024);
  const frame = { type: "data", offset: 0, ack: 0, limit: 0, payload } as const;
  const bytes = encode(frame);
  assert.deepEqual(decodeFrame(bytes), frame);
  const long = `${decoder.decode(bytes)}${" ".repeat(64 * 1024)}`;
  assert.throws(() => decodeFrame(encoder.encode(long)), isProtocolError);
});

Deno.test("jsonCodec cuts the text of a RESET", () => {
  for (const letter of ["x", "é", "€", "🙂"]) {
    const text = letter.repeat(MAX_RESET_TEXT_BYTES);
    const frame = jsonCodec.decode(
      encode({ type: "reset", code: "internal", text }),
    );
    assert.ok(frame?.type === "reset");
    const { length } = encoder.encode(frame.text);
    assert.ok(length <= MAX_RESET_TEXT_BYTES && length > 500, `${length}`);
    assert.ok(text.startsWith(frame.text));
  }
});

Deno.test("jsonCodec.payloadCapacity() fits with the longest numbers, and wastes little", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 128 }),
      fc.integer({ min: 400, max: 100_000 }),
      (idLength, room) => {
        const id = "x".repeat(idLength);
        const capacity = jsonCodec.payloadCapacity(id, room);
        const frame = {
          type: "data",
          offset: MAX_OFFSET - 1 - capacity,
          ack: MAX_OFFSET,
          limit: MAX_OFFSET,
          payload: new Uint8Array(capacity),
        } as const;
        const { byteLength } = jsonCodec.encode(id, frame);
        assert.ok(byteLength <= room, `${byteLength} > ${room}`);
        assert.ok(byteLength > room - 20, `${byteLength} for ${room}`);
      },
    ),
  );
  assert.equal(jsonCodec.payloadCapacity("c.s.7", 10), 0);
});
