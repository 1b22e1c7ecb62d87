import assert from "node:assert/strict";
import fc from "fast-check";
import {
  MAX_LINE_BYTES,
  NatsParser,
  NatsProtocolError,
  OP,
} from "../../lib/nats/parser.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** An operation as a test writes it and reads it back. */
type Operation =
  | { op: "ping" | "pong" | "ok" }
  | { op: "error" | "info"; text: string }
  | {
    op: "message";
    subject: string;
    sid: number;
    reply: string;
    headers: Uint8Array;
    data: Uint8Array;
  };

function encode(operation: Operation): Uint8Array {
  switch (operation.op) {
    case "ping":
      return encoder.encode("PING\r\n");
    case "pong":
      return encoder.encode("PONG\r\n");
    case "ok":
      return encoder.encode("+OK\r\n");
    case "error":
      return encoder.encode(`-ERR ${operation.text}\r\n`);
    case "info":
      return encoder.encode(`INFO ${operation.text}\r\n`);
    case "message": {
      const { subject, sid, reply, headers, data } = operation;
      const words = [headers.length > 0 ? "HMSG" : "MSG", subject, sid];
      if (reply !== "") words.push(reply);
      if (headers.length > 0) words.push(headers.length);
      words.push(headers.length + data.length);
      return concat([
        encoder.encode(words.join(" ") + "\r\n"),
        headers,
        data,
        encoder.encode("\r\n"),
      ]);
    }
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Reads the operation the parser stands at. */
function read(parser: NatsParser, bytes: Uint8Array, op: number): Operation {
  const text = (start: number, end: number): string =>
    decoder.decode(bytes.subarray(start, end));
  switch (op) {
    case OP.ping:
      return { op: "ping" };
    case OP.pong:
      return { op: "pong" };
    case OP.ok:
      return { op: "ok" };
    case OP.error:
      return { op: "error", text: text(parser.argStart, parser.argEnd) };
    case OP.info:
      return { op: "info", text: text(parser.argStart, parser.argEnd) };
    case OP.message:
      return {
        op: "message",
        subject: text(parser.subjectStart, parser.subjectEnd),
        sid: parser.sid,
        reply: text(parser.replyStart, parser.replyEnd),
        headers: bytes.slice(parser.headerStart, parser.dataStart),
        data: bytes.slice(parser.dataStart, parser.dataEnd),
      };
    default:
      throw new Error(`no operation: ${op}`);
  }
}

/** Parses chunks as the transport does: what is not parsed yet goes first. */
function parseChunks(chunks: readonly Uint8Array[]): Operation[] {
  const parser = new NatsParser();
  const found: Operation[] = [];
  let rest = new Uint8Array(0);
  let needed = 0;
  for (const chunk of chunks) {
    const bytes = concat([rest, chunk]);
    let start = 0;
    while (start < bytes.length && bytes.length - start >= needed) {
      const op = parser.parse(bytes, start, bytes.length);
      if (op === OP.incomplete) {
        assert.ok(parser.needed > bytes.length - start, "asks for no more");
        needed = parser.needed;
        break;
      }
      assert.ok(parser.end > start, "makes no progress");
      found.push(read(parser, bytes, op));
      start = parser.end;
      needed = 0;
    }
    rest = bytes.slice(start);
  }
  assert.equal(rest.length, 0, "bytes are left over");
  return found;
}

function parseText(text: string): Operation[] {
  return parseChunks([encoder.encode(text)]);
}

const PLAIN = { noNullPrototype: true } as const;

const word = fc.string({
  unit: fc.constantFrom(..."abcXYZ019.*>_-$"),
  minLength: 1,
  maxLength: 40,
});

const argument = fc.string({
  unit: fc.constantFrom(..."'{\":}az AZ09\t-"),
  minLength: 1,
  maxLength: 60,
}).map((text) => "x" + text);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ op: fc.constantFrom("ping", "pong", "ok") }, PLAIN),
  fc.record({ op: fc.constantFrom("error", "info"), text: argument }, PLAIN),
  fc.record({
    op: fc.constant("message" as const),
    subject: word,
    sid: fc.nat({ max: 999_999_999 }),
    reply: fc.oneof(fc.constant(""), word),
    headers: fc.oneof(
      fc.constant(new Uint8Array(0)),
      fc.uint8Array({ minLength: 1, maxLength: 80 }),
    ),
    data: fc.uint8Array({ maxLength: 200 }),
  }, PLAIN),
);

Deno.test("parse() finds the same operations however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }),
      (operations, sizes) => {
        const stream = concat(operations.map(encode));
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          chunks.push(stream.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(parseChunks(chunks), operations);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("parse() finds operations that arrive byte by byte", () => {
  const operations: Operation[] = [
    { op: "info", text: '{"a":1}' },
    { op: "ping" },
    {
      op: "message",
      subject: "a.b",
      sid: 7,
      reply: "r",
      headers: encoder.encode("NATS/1.0\r\n\r\n"),
      data: encoder.encode("MSG x 1 3\r\n"),
    },
    {
      op: "message",
      subject: "a",
      sid: 0,
      reply: "",
      headers: new Uint8Array(0),
      data: new Uint8Array(0),
    },
    { op: "error", text: "'Stale Connection'" },
    { op: "pong" },
    { op: "ok" },
  ];
  const stream = concat(operations.map(encode));
  const bytes = [...stream].map((byte) => Uint8Array.of(byte));
  assert.deepEqual(parseChunks(bytes), operations);
});

Deno.test("parse() takes blanks of any number and kind between words", () => {
  const [found] = parseText("MSG \t a.b\t 12  reply \t2 \r\nhi\r\n");
  assert.deepEqual(found, {
    op: "message",
    subject: "a.b",
    sid: 12,
    reply: "reply",
    headers: new Uint8Array(0),
    data: encoder.encode("hi"),
  });
});

const MALFORMED: readonly (readonly [why: string, stream: string])[] = [
  ["an unknown operation", "HELLO\r\n"],
  ["a keyword gone wrong", "MSX a 1 0\r\n\r\n"],
  ["a keyword gone wrong early", "MX"],
  ["PING with more", "PING x\r\n"],
  ["PING without CR", "PING\n\n"],
  ["lower case", "ping\r\n"],
  ["a message of one word", "MSG\r\n"],
  ["a message without a size", "MSG a 1\r\n"],
  ["a message with a word too many", "MSG a 1 r 2 3\r\n"],
  ["a message with far too many words", "MSG a b c d e f g h\r\n"],
  ["headers without their size", "HMSG a 1 3\r\n"],
  ["a keyword glued to its subject", "MSGa b 1 0\r\n\r\n"],
  ["an ID that is no number", "MSG a x 0\r\n\r\n"],
  ["a size that is no number", "MSG a 1 0x1\r\n\r\n"],
  ["a negative size", "MSG a 1 -1\r\n\r\n"],
  ["a size of too many digits", "MSG a 1 9999999999999\r\n"],
  ["a size beyond all limits", "MSG a 1 67108865\r\n"],
  ["headers larger than the message", "HMSG a 1 9 8\r\n12345678\r\n"],
  ["a payload longer than it says", "MSG a 1 1\r\nab\r\n"],
  ["a payload without its end", "MSG a 1 1\r\na\n\n"],
  ["a line that ends in LF alone", "MSG a 1 1\na\r\n"],
  ["CR in the middle of a line", "MSG a\r1 1\r\na\r\n"],
  ["an INFO glued to its JSON", "INFO{}\r\n"],
  ["an INFO that ends in LF alone", "INFO {}\n"],
  ["an error without a text, ended by LF alone", "-ERR\n"],
];

for (const [why, stream] of MALFORMED) {
  Deno.test(`parse() refuses ${why}`, () => {
    assert.throws(() => parseText(stream), NatsProtocolError);
  });
}

Deno.test("parse() takes what the broker lets pass in a subject", () => {
  for (const code of [0, 1, 0x1f, 0x7f, 0xff]) {
    const parser = new NatsParser();
    const bytes = encoder.encode("MSG a?b 1 1\r\na\r\n");
    bytes[5] = code;
    assert.equal(parser.parse(bytes, 0, bytes.length), OP.message);
    assert.equal(parser.sid, 1);
  }
});

Deno.test("parse() refuses a line without end, and not before it must", () => {
  for (const keyword of ["MSG ", "HMSG ", "INFO ", "-ERR "]) {
    const parser = new NatsParser();
    const line = encoder.encode(keyword + "x".repeat(MAX_LINE_BYTES));
    assert.equal(parser.parse(line, 0, MAX_LINE_BYTES - 1), OP.incomplete);
    assert.throws(
      () => parser.parse(line, 0, MAX_LINE_BYTES),
      NatsProtocolError,
    );
  }
});

Deno.test("parse() says how much of a message is needed as soon as it knows", () => {
  const parser = new NatsParser();
  const bytes = encoder.encode("MSG a 1 1000\r\nab");
  assert.equal(parser.parse(bytes, 0, bytes.length), OP.incomplete);
  assert.equal(parser.needed, "MSG a 1 1000\r\n".length + 1000 + 2);
});

const fragment = fc.oneof(
  fc.constantFrom(
    ..."MSG |HMSG |PING\r\n|PONG\r\n|+OK\r\n|-ERR 'x'\r\n|INFO {}\r\n|\r\n|\n|\r| |a|1|99999999|67108864|\0|\t"
      .split("|"),
  ).map((text) => encoder.encode(text)),
  fc.uint8Array({ maxLength: 8 }),
);

Deno.test("parse() never does worse than refuse, whatever the bytes", () => {
  fc.assert(
    fc.property(fc.array(fragment, { maxLength: 30 }), (fragments) => {
      const bytes = concat(fragments);
      const parser = new NatsParser();
      try {
        for (let start = 0; start < bytes.length;) {
          const op = parser.parse(bytes, start, bytes.length);
          if (op === OP.incomplete) {
            assert.ok(parser.needed > bytes.length - start);
            return;
          }
          assert.ok(parser.end > start && parser.end <= bytes.length);
          read(parser, bytes, op);
          start = parser.end;
        }
      } catch (error) {
        if (!(error instanceof NatsProtocolError)) throw error;
      }
    }),
    { numRuns: 5000 },
  );
});
