import assert from "node:assert/strict";
import fc from "fast-check";
import type { PublishOptions } from "../../lib/nats/bus.ts";
import { PublishEncoder } from "../../lib/nats/encoder.ts";
import { InboundMessage } from "../../lib/nats/message.ts";
import { NatsParser, OP } from "../../lib/nats/parser.ts";

const textEncoder = new TextEncoder();
const decoder = new TextDecoder();

function payload(bytes: Uint8Array): {
  byteLength: number;
  encodeInto(target: Uint8Array, at: number): void;
} {
  return {
    byteLength: bytes.length,
    encodeInto: (target, at) => target.set(bytes, at),
  };
}

/** Encodes at an odd place of a dirty buffer, as a batch is. */
function encode(
  encoder: PublishEncoder,
  subject: string,
  options?: PublishOptions & { readonly data?: Uint8Array },
): string {
  const data = options?.data ?? new Uint8Array(0);
  const size = encoder.prepare(subject, payload(data), options);
  const target = new Uint8Array(size + 10).fill(7);
  const end = encoder.write(target, 3);
  assert.ok(end - 3 <= size, "more than announced was written");
  assert.deepEqual([...target.subarray(0, 3)], [7, 7, 7]);
  assert.ok(target.subarray(end).every((byte) => byte === 7));
  return decoder.decode(target.subarray(3, end));
}

Deno.test("write() writes PUB and HPUB to the letter", () => {
  const encoder = new PublishEncoder();
  const data = textEncoder.encode("hello");
  const headers = [["a", "1"], ["B-c", "two"]] as const;
  const block = "NATS/1.0\r\na: 1\r\nB-c: two\r\n\r\n";
  for (let round = 0; round < 2; round++) {
    assert.equal(encode(encoder, "s.t"), "PUB s.t 0\r\n\r\n");
    assert.equal(encode(encoder, "s.t", { data }), "PUB s.t 5\r\nhello\r\n");
    assert.equal(
      encode(encoder, "s.t", { data, reply: "r.x" }),
      "PUB s.t r.x 5\r\nhello\r\n",
    );
    assert.equal(
      encode(encoder, "s.t", { data, headers }),
      `HPUB s.t ${block.length} ${block.length + 5}\r\n${block}hello\r\n`,
    );
    assert.equal(
      encode(encoder, "s.t", { headers, reply: "r.x" }),
      `HPUB s.t r.x ${block.length} ${block.length}\r\n${block}\r\n`,
    );
  }
});

Deno.test("write() writes every number of digits", () => {
  const encoder = new PublishEncoder();
  for (const size of [0, 9, 10, 99, 100, 999, 1000, 99_999, 1_000_000]) {
    const text = encode(encoder, "s", { data: new Uint8Array(size) });
    assert.ok(text.startsWith(`PUB s ${size}\r\n`), text.slice(0, 30));
  }
});

Deno.test("prepare() tells the size of headers and payload together", () => {
  const encoder = new PublishEncoder();
  encoder.prepare("s", payload(new Uint8Array(100)), {
    headers: [["x", "y"]],
  });
  assert.equal(encoder.payloadBytes, "NATS/1.0\r\nx: y\r\n\r\n".length + 100);
});

Deno.test("prepare() refuses what would break the protocol", () => {
  const encoder = new PublishEncoder();
  for (const subject of ["", "a b", "a\r\nPUB b 0", "a\tb", "\0", "a\x7f"]) {
    assert.throws(() => encode(encoder, subject), TypeError);
    assert.throws(() => encode(encoder, "s", { reply: subject }), TypeError);
  }
  for (const name of ["", "a b", "a:b", "a\r\nb"]) {
    assert.throws(
      () => encode(encoder, "s", { headers: [[name, "x"]] }),
      TypeError,
    );
  }
});

Deno.test("prepare() lets no header value add a header", () => {
  const text = encode(new PublishEncoder(), "s", {
    headers: [["a", "1\r\nevil: 2\n\n3"]],
  });
  assert.ok(text.includes("\r\na: 1 evil: 2 3\r\n\r\n"), text);
});

Deno.test("prepare() remembers subjects, but not for ever", () => {
  const encoder = new PublishEncoder();
  for (let i = 0; i < 10_000; i++) {
    assert.equal(encode(encoder, `s.${i}`), `PUB s.${i} 0\r\n\r\n`);
  }
  assert.equal(encode(encoder, "s.0"), "PUB s.0 0\r\n\r\n");
});

/** What a broker makes of our PUB or HPUB for subscription 42. */
function received(published: string): InboundMessage {
  const [line = "", rest = ""] = split(published, "\r\n");
  const [verb, subject, ...others] = line.split(" ");
  const bytes = textEncoder.encode(
    `${verb === "HPUB" ? "HMSG" : "MSG"} ${subject} 42 ${
      others.join(" ")
    }\r\n${rest}`,
  );
  const parser = new NatsParser();
  assert.equal(parser.parse(bytes, 0, bytes.length), OP.message);
  assert.equal(parser.end, bytes.length);
  assert.equal(parser.sid, 42);
  const message = new InboundMessage(parser);
  message.moveTo(bytes);
  return message;
}

function split(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return [text.slice(0, index), text.slice(index + at.length)];
}

Deno.test("what write() writes is what InboundMessage reads", () => {
  const token = fc.string({
    unit: fc.constantFrom(..."abcXYZ019-_"),
    minLength: 1,
    maxLength: 20,
  });
  const subject = fc.array(token, { minLength: 1, maxLength: 5 })
    .map((tokens) => tokens.join("."));
  const value = fc.string({ unit: "grapheme", maxLength: 30 })
    .filter((text) => !/[\r\n]/.test(text));
  fc.assert(fc.property(
    fc.record({
      subject,
      reply: fc.option(subject, { nil: undefined }),
      headers: fc.option(
        fc.uniqueArray(fc.tuple(token, value), {
          selector: ([name]) => name.toLowerCase(),
          maxLength: 5,
        }),
        { nil: undefined },
      ),
      data: fc.string({ maxLength: 300 }),
    }),
    ({ subject, reply, headers, data }) => {
      const message = received(encode(new PublishEncoder(), subject, {
        data: textEncoder.encode(data),
        ...(reply !== undefined && { reply }),
        ...(headers !== undefined && { headers }),
      }));
      assert.equal(message.subject, subject);
      assert.equal(decoder.decode(message.subjectBytes), subject);
      assert.equal(message.reply, reply ?? "");
      assert.equal(decoder.decode(message.data), data);
      assert.equal(message.status, 0);
      for (const [name, text] of headers ?? []) {
        assert.equal(message.header(name), text.trim());
        assert.equal(message.header(name.toUpperCase()), text.trim());
      }
      assert.equal(message.header("not-there"), undefined);
    },
  ));
});

Deno.test("status is that of a status message", () => {
  const block = "NATS/1.0 503\r\n\r\n";
  const message = received(
    `HPUB r ${block.length} ${block.length}\r\n${block}\r\n`,
  );
  assert.equal(message.status, 503);
  assert.equal(message.data.length, 0);
});

Deno.test("status is 0 and header() undefined for headers that are none", () => {
  for (const block of ["garbage", "NATS/1.0 5", "\r\n\r\n", ": : :\r\n"]) {
    const message = received(
      `HPUB r ${block.length} ${block.length}\r\n${block}\r\n`,
    );
    assert.equal(message.status, 0);
    assert.equal(message.header("x"), undefined);
  }
});

Deno.test("subject is right for subjects that differ only in front", () => {
  const parser = new NatsParser();
  const message = new InboundMessage(parser);
  for (let round = 0; round < 2; round++) {
    for (const subject of ["a", "b", ...["x", "y"].map((c) => c.repeat(300))]) {
      for (const tail of [".same.end.of.subject", ""]) {
        const bytes = textEncoder.encode(`MSG ${subject}${tail} 1 0\r\n\r\n`);
        parser.parse(bytes, 0, bytes.length);
        message.moveTo(bytes);
        assert.equal(message.subject, subject + tail);
      }
    }
  }
});
