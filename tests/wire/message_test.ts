/** The original's message, against traffic that the original made. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { TunnelError } from "../../lib/base/errors.ts";
import {
  dataCapacity,
  decodeMessage,
  encodeMessage,
  type Message,
} from "../../lib/wire/message.ts";
import { bytes } from "../support/arbitraries.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One message as it was captured. */
interface Captured {
  readonly subject: string;
  readonly reply: string;
  readonly headers: string | null;
  readonly payload: string;
}

const captured: readonly Captured[] = (await Deno.readTextFile(
  new URL("../testdata/original-wire.jsonl", import.meta.url),
)).trim().split("\n").map((line) => JSON.parse(line));

Deno.test("encodeMessage() writes what the original wrote, to the letter", () => {
  assert.equal(captured.length, 16);
  for (const { payload } of captured) {
    const message = decodeMessage(encoder.encode(payload));
    assert.equal(decoder.decode(encodeMessage(message)), payload);
  }
});

Deno.test("decodeMessage() reads what the original wrote", () => {
  const read = captured.map(({ payload }) =>
    decodeMessage(encoder.encode(payload))
  );
  const of = (id: string, data: string | null, metadata: Message["metadata"]) =>
    ({
      id,
      reply: "",
      data: data === null ? null : encoder.encode(data),
      metadata,
    }) satisfies Message;
  const first = "bbddb5ce40c2d3c7";
  assert.deepEqual(read.slice(0, 9), [
    of("", null, null),
    of("", first, {}),
    of(first, "PING\r\n", null),
    of(first, "+PONG\r\n", {}),
    of(first, "QUIT\r\n", null),
    of(first, "+OK\r\n", {}),
    of(first, null, { type: "close" }),
    of("", null, null),
    of(
      "",
      "failed to resolve remote host: lookup no-such-host.invalid: no such host",
      { error: "true" },
    ),
  ]);
});

Deno.test("encodeMessage() and decodeMessage() are a round trip", () => {
  const message: fc.Arbitrary<Message> = fc.record({
    id: fc.string(),
    reply: fc.string(),
    data: fc.option(bytes),
    metadata: fc.option(fc.dictionary(fc.string(), fc.string())),
  });
  fc.assert(fc.property(message, (sent) => {
    const read = decodeMessage(encodeMessage(sent));
    assert.deepEqual(
      { ...read, metadata: read.metadata && { ...read.metadata } },
      { ...sent, metadata: sent.metadata && { ...sent.metadata } },
    );
  }));
});

Deno.test("decodeMessage() takes absent fields for empty and skips unknown ones", () => {
  const empty: Message = { id: "", reply: "", data: null, metadata: null };
  for (
    const text of [
      "{}",
      `{"ID":null,"Reply":null,"Data":null,"Metadata":null}`,
      `{"Else":[1,{}],"ID":""}`,
      ` {\n} `,
    ]
  ) {
    assert.deepEqual(decodeMessage(encoder.encode(text)), empty);
  }
  const data = decodeMessage(encoder.encode(`{"Data":""}`)).data;
  assert.deepEqual(data, new Uint8Array(0));
});

Deno.test("decodeMessage() refuses what is no message", () => {
  const cases: readonly (readonly [string | Uint8Array, RegExp])[] = [
    ["", /not JSON/],
    ["garbage", /not JSON/],
    [new Uint8Array([0x22, 0xff, 0x22]), /not JSON/],
    ["17", /not a JSON object/],
    [`"text"`, /not a JSON object/],
    ["[{}]", /not a JSON object/],
    ["null", /not a JSON object/],
    [`{"ID":7}`, /field ID is not a string/],
    [`{"Reply":{}}`, /field Reply is not a string/],
    [`{"Data":{}}`, /field Data is not a string/],
    [`{"Data":"===="}`, /field Data is not base64/],
    [`{"Data":"AAA"}`, /field Data is not base64|^$/],
    [`{"Metadata":[]}`, /field Metadata is not an object/],
    [`{"Metadata":"close"}`, /field Metadata is not an object/],
    [`{"Metadata":{"type":null}}`, /metadata type is not a string/],
  ];
  for (const [text, says] of cases) {
    const body = typeof text === "string" ? encoder.encode(text) : text;
    try {
      decodeMessage(body);
      assert.ok(says.test(""), `${text} was read`);
    } catch (error) {
      assert.ok(error instanceof TunnelError, `${text}: ${error}`);
      assert.equal(error.code, "protocol");
      assert.match(error.message, says);
    }
  }
});

Deno.test("decodeMessage() has no fields that a message did not bring", () => {
  const { metadata } = decodeMessage(
    encoder.encode(`{"__proto__":{"ID":"x"},"Metadata":{"__proto__":"y"}}`),
  );
  assert.ok(metadata);
  assert.equal(Object.getPrototypeOf(metadata), Object.prototype);
  assert.equal(
    decodeMessage(encoder.encode(`{"__proto__":{"ID":"x"}}`)).id,
    "",
  );
});

Deno.test("dataCapacity() is the most data that fits", () => {
  fc.assert(fc.property(
    fc.string({ unit: fc.constantFrom("a", "9", "."), maxLength: 128 }),
    fc.constantFrom({}, null, { type: "close" }),
    fc.integer({ min: 200, max: 50_000 }),
    (id, metadata, room) => {
      const json = metadata === null ? "" : JSON.stringify(metadata);
      const most = dataCapacity(room, id.length, json.length);
      const lengthOf = (length: number): number =>
        encodeMessage({ id, reply: "", data: new Uint8Array(length), metadata })
          .length;
      assert.ok(lengthOf(most) <= room);
      // "null" is counted in the envelope, so up to four bytes may be spare
      assert.ok(lengthOf(most + 6) > room);
    },
  ));
  assert.equal(dataCapacity(3, 0, 0), 0);
});
