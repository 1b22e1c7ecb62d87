/** HTTP as applications speak it to a proxy, in whatever pieces, and what is none. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatAddress } from "../../lib/base/address.ts";
import { Secret } from "../../lib/base/credentials.ts";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { HttpParser } from "../../lib/front/http.ts";
import { FrontLogin } from "../../lib/front/login.ts";
import { concat } from "../../lib/front/parser.ts";
import { describe, everySplit } from "../support/front_steps.ts";

const ANN = new FrontLogin("ann", new Secret("hunter2:é"));
const BASIC = `Basic ${
  btoa(String.fromCharCode(...new TextEncoder().encode("ann:hunter2:é")))
}`;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A head of these lines. */
function head(...lines: readonly string[]): string {
  return `${lines.join("\r\n")}\r\n\r\n`;
}

const GOOD: readonly (readonly [
  what: string,
  sent: string,
  target: string,
  /** What the target is sent before what follows. */
  forwarded: string,
  login?: FrontLogin,
])[] = [
  ["CONNECT", head("CONNECT db:5432 HTTP/1.1", "Host: x"), "db:5432", ""],
  [
    "CONNECT of 1.0, to IPv6",
    head("CONNECT [::1]:22 HTTP/1.0"),
    "[::1]:22",
    "",
  ],
  [
    "CONNECT with a login",
    head("CONNECT db:1 HTTP/1.1", `proxy-authorization: ${BASIC}`),
    "db:1",
    "",
    ANN,
  ],
  [
    "a page",
    head("GET http://web/a?b=http://c HTTP/1.1", "Host: other", "Accept: */*"),
    "web:80",
    head(
      ...["GET /a?b=http://c HTTP/1.1", "Host: web", "Accept: */*"],
      "Connection: close",
    ),
  ],
  [
    "no path, a port, and a fragment",
    head("GET HTTP://web:8080#top HTTP/1.1"),
    "web:8080",
    head("GET / HTTP/1.1", "Host: web:8080", "Connection: close"),
  ],
  [
    "a query alone, an empty port, and IPv6",
    head("GET http://[fd00::1]:?x HTTP/1.0"),
    "[fd00::1]:80",
    head("GET /?x HTTP/1.0", "Host: [fd00::1]:", "Connection: close"),
  ],
  [
    "IPv6 without a port",
    head("GET http://[fd00::1]/ HTTP/1.1"),
    "[fd00::1]:80",
    head("GET / HTTP/1.1", "Host: [fd00::1]", "Connection: close"),
  ],
  [
    "OPTIONS for all of it",
    head("OPTIONS http://web HTTP/1.1"),
    "web:80",
    head("OPTIONS * HTTP/1.1", "Host: web", "Connection: close"),
  ],
  [
    "headers for the proxy alone, and those that are named so",
    head(
      "POST http://web/ HTTP/1.1",
      "Proxy-Connection: keep-alive",
      `Proxy-Authorization: ${BASIC}`,
      "Connection: keep-alive, X-One,Transfer-Encoding, content-length",
      "Keep-Alive: 5",
      "TE: trailers",
      "Upgrade: h2c",
      "x-one: gone",
      "X-Two:kept  ",
      "Transfer-Encoding: chunked",
    ),
    "web:80",
    head(
      ...["POST / HTTP/1.1", "Host: web", "X-Two: kept"],
      ...["Transfer-Encoding: chunked", "Connection: close"],
    ),
    ANN,
  ],
];

for (const [what, sent, target, forwarded, login] of GOOD) {
  Deno.test(`HTTP: ${what}, in every split into two, byte by byte, and with what follows`, () => {
    const early = encoder.encode("\r\n\r\n\0 body");
    for (const pieces of everySplit(concat(encoder.encode(sent), early))) {
      const step = describe(new HttpParser(login), pieces);
      assert.equal(step.type, "request");
      assert.equal(step.answer, "");
      assert.equal(formatAddress(step.request.target), target);
      assert.equal(
        decoder.decode(step.request.accepted),
        forwarded === "" ? "HTTP/1.1 200 Connection established\r\n\r\n" : "",
      );
      assert.equal(
        decoder.decode(concat(step.request.early, step.unread)),
        forwarded + decoder.decode(early),
      );
    }
  });
}

const LONG = "x".repeat(16 * 1024);

const BAD: readonly (readonly [
  what: string,
  sent: string,
  status: number | undefined,
  why: RegExp | undefined,
  login?: FrontLogin,
])[] = [
  ["SOCKS5", "\x05\x01\0", undefined, /speaks SOCKS.*--socks/],
  ["SOCKS4", "\x04\x01", undefined, /speaks SOCKS.*--socks/],
  ["TLS", "\x16\x03\x01", undefined, /speaks TLS/],
  ["zeros", "\0\0", undefined, /does not speak HTTP/],
  ["a blank line first", head("", "GET http://a/ HTTP/1.1"), undefined, /./],
  ["a word", head("hello"), 400, /request line/],
  ["HTTP/0.9", head("GET http://a/"), 400, /request line/],
  ["a blank in the address", head("GET http://a/b c HTTP/1.1"), 400, /line/],
  [
    "the preface of HTTP/2",
    head("PRI * HTTP/2.0"),
    505,
    /only HTTP\/1\.1/,
  ],
  ["a page of the proxy", head("GET / HTTP/1.1", "Host: a"), 400, /whole addr/],
  ["https", head("GET https://a/ HTTP/1.1"), 400, /https:\/\/ is not fetched/],
  ["ftp", head("GET ftp://a/ HTTP/1.1"), 400, /ftp:\/\/ is not fetched/],
  ["no host", head("GET http:///x HTTP/1.1"), 400, /it has no host/],
  ["port 0", head("GET http://a:0/ HTTP/1.1"), 400, /its port is 0/],
  ["a port beyond", head("CONNECT a:65536 HTTP/1.1"), 400, /above 65535/],
  ["CONNECT without a port", head("CONNECT a HTTP/1.1"), 400, /no port/],
  ["CONNECT to a URL", head("CONNECT http://a:1 HTTP/1.1"), 400, /a scheme/],
  [
    "CONNECT to IPv6 without brackets",
    head("CONNECT ::1:1 HTTP/1.1"),
    400,
    /brack/,
  ],
  [
    "a login in the address",
    head("GET http://u:hunter@a/ HTTP/1.1"),
    400,
    /a user/,
  ],
  ["a login in CONNECT", head("CONNECT u:hunter@a:1 HTTP/1.1"), 400, /a user/],
  [
    "a folded header",
    head("GET http://a/ HTTP/1.1", "A: b", " c"),
    400,
    /head/,
  ],
  [
    "a blank before a colon",
    head("GET http://a/ HTTP/1.1", "A : b"),
    400,
    /head/,
  ],
  [
    "a header without a colon",
    head("GET http://a/ HTTP/1.1", "A"),
    400,
    /head/,
  ],
  ["a bare LF", head("GET http://a/ HTTP/1.1", "A: b\nC: d"), 400, /CRLF/],
  ["a bare CR", head("GET http://a/ HTTP/1.1", "A: b\rC: d"), 400, /header/],
  ["a zero", head("GET http://a/ HTTP/1.1", "A: b\0"), 400, /header/],
  ["lines that end in LF", "GET http://a/ HTTP/1.1\nA: b\n\n", 400, /CRLF/],
  [
    "a head that is too long",
    head("GET http://a/ HTTP/1.1", `A: ${LONG}`),
    431,
    /too long/,
  ],
  ["a line without an end", LONG + "x", 431, /too long/],
  ["no login", head("CONNECT a:1 HTTP/1.1"), 407, undefined, ANN],
  ["no login for a page", head("GET http://a/ HTTP/1.1"), 407, undefined, ANN],
  ...[
    "Basic",
    "Basic ?",
    "Bearer x",
    `Basic ${btoa("ann")}`,
    `Basic ${btoa("ann:")}`,
  ]
    .concat(`Basic ${btoa(":")}`, `Basic ${btoa("bob:hunter2")}`)
    .map((value) =>
      [
        `the login ${value}`,
        head("CONNECT a:1 HTTP/1.1", `Proxy-Authorization: ${value}`),
        407,
        /wrong user or password/,
        ANN,
      ] as const
    ),
];

for (const [what, sent, status, why, login] of BAD) {
  Deno.test(`HTTP: not served, and told so: ${what}`, () => {
    for (const pieces of everySplit(encoder.encode(sent))) {
      const step = describe(new HttpParser(login), pieces);
      assert.equal(step.type, "end");
      const answer = decoder.decode(step.raw);
      if (status === undefined) assert.equal(answer, "");
      else assertAnswer(answer, status);
      assert.equal(
        answer.includes('\r\nProxy-Authenticate: Basic realm="tcp-sproxy"\r\n'),
        status === 407,
      );
      if (why === undefined) assert.equal(step.why, undefined);
      else assert.match(step.why ?? "", why);
      assert.doesNotMatch(`${step.why}${answer}`, /hunter/);
    }
  });
}

/** A whole answer with this status, a sentence, and the end of the connection. */
function assertAnswer(text: string, status: number): void {
  const [top = "", body = ""] = text.split("\r\n\r\n");
  assert.match(top, new RegExp(`^HTTP/1.1 ${status} [A-Z]`));
  assert.match(top, /\r\nConnection: close(\r|$)/);
  assert.match(body, /^tcp-sproxy: [^\p{Cc}]+\n$/u);
  const { length } = encoder.encode(body);
  assert.ok(top.includes(`\r\nContent-Length: ${length}\r\n`), text);
}

Deno.test("HTTP: every byte of a header goes on as it came", () => {
  const odd = Array.from({ length: 256 }, (_, byte) => byte)
    .filter((byte) => ![0, 10, 13].includes(byte));
  const value = Uint8Array.of(120, ...odd, 120);
  const step = describe(new HttpParser(), [
    encoder.encode("GET http://a/ HTTP/1.1\r\nX: "),
    value,
    encoder.encode("\r\n\r\n"),
  ]);
  assert.equal(step.type, "request");
  assert.deepEqual(
    step.request.early,
    concat(
      encoder.encode("GET / HTTP/1.1\r\nHost: a\r\nX: "),
      value,
      encoder.encode("\r\nConnection: close\r\n\r\n"),
    ),
  );
});

Deno.test("HTTP: what is true of a target is said by the status, and in a sentence", () => {
  const request = (...lines: string[]) => {
    const step = new HttpParser().push(encoder.encode(head(...lines)));
    assert.ok(step.type === "request");
    return step.request;
  };
  const tunnel = request("CONNECT a:1 HTTP/1.1");
  const page = request("GET http://a/ HTTP/1.1");
  const top = request("HEAD http://a/ HTTP/1.1");
  const cases: readonly [ErrorCode, connect: number, page?: number][] = [
    ["denied", 403],
    // 404 would say of the page that it is not there.
    ["no-such-host", 404, 502],
    ["refused", 502],
    ["unreachable", 502],
    ["timeout", 504],
    ["no-server", 503],
    ["nats-down", 503],
    ["limit", 503],
    ["draining", 503],
    ["protocol", 502],
    ["internal", 502],
  ];
  for (const [code, status, ofPage = status] of cases) {
    const reason = { code, text: "it\r\nis so" };
    const told = decoder.decode(tunnel.refused(reason));
    assertAnswer(told, status);
    assert.ok(told.includes(`a:1 is not reached: it\\r\\nis so (${code})\n`));
    assertAnswer(decoder.decode(page.refused(reason)), ofPage);
    assert.match(
      decoder.decode(top.refused(reason)),
      new RegExp(`^HTTP/1.1 ${ofPage} [^]*\r\n\r\n$`),
    );
  }
  const told = request("CONNECT [::1]:22 HTTP/1.1")
    .refused({ code: "refused", text: "why" });
  assert.match(decoder.decode(told), /: \[::1\]:22 is not reached: why/);
});

Deno.test("HTTP: random heads end or wait, pieces make no difference, and no line of a head is more than it was", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ...["GET ", "CONNECT ", "http://a", "a:1", "/", " HTTP/1.1", "\r\n"],
      ...["\r\n\r\n", "\n", "\r", "Connection: ", "x", ": ", ",", "\0"],
    ),
    fc.string({ maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), fc.nat(80), (parts, at) => {
      const sent = encoder.encode(parts.join(""));
      const cut = [sent.slice(0, at), sent.slice(at)]
        .filter(({ length }) => length > 0);
      if (sent.length === 0) return;
      const whole = describe(new HttpParser(), [sent]);
      const split = describe(new HttpParser(), cut);
      assert.deepEqual(outcome(split), outcome(whole));
    }),
    { numRuns: 3_000 },
  );
});

/** What of a step does not depend on the pieces. */
function outcome(step: ReturnType<typeof describe>): unknown {
  const { type, answer } = step;
  if (type !== "request") return { type, answer, why: step.why };
  const { target, early } = step.request;
  return { answer, target, early: [...concat(early, step.unread)] };
}
