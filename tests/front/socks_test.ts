/** SOCKS as applications speak it, in whatever pieces, and what is no SOCKS. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatAddress } from "../../lib/base/address.ts";
import { Secret } from "../../lib/base/credentials.ts";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { FrontLogin } from "../../lib/front/login.ts";
import { concat, type FrontStep } from "../../lib/front/parser.ts";
import { SocksParser } from "../../lib/front/socks.ts";
import { describe, everySplit, told } from "../support/front_steps.ts";

const ANN = new FrontLogin("ann", new Secret("hunter2"));

const GREETING = [5, 1, 0];
const CHOSEN = "05 00";
const OK5 = "05 00 00 01 00 00 00 00 00 00";
const OK4 = "00 5a 00 00 00 00 00 00";

/** Bytes: texts as they are, numbers as one each. */
function bytes(
  ...parts: readonly (string | number | readonly number[])[]
): Uint8Array {
  return concat(
    ...parts.map((part) =>
      typeof part === "string"
        ? new TextEncoder().encode(part)
        : Uint8Array.from([part].flat())
    ),
  );
}

/** A request of SOCKS5 for this address, as bytes of its kind. */
const CASES: readonly (readonly [
  what: string,
  sent: Uint8Array,
  answer: string,
  target: string,
  accepted: string,
  login?: FrontLogin,
])[] = [
  [
    "a name",
    bytes(GREETING, [5, 1, 0, 3, 11], "example.com", [0, 80]),
    CHOSEN,
    "example.com:80",
    OK5,
  ],
  [
    "IPv4",
    bytes(GREETING, [5, 1, 0, 1, 10, 0, 0, 7, 0x15, 0x38]),
    CHOSEN,
    "10.0.0.7:5432",
    OK5,
  ],
  [
    "IPv6",
    bytes(GREETING, [5, 1, 0, 4], [0xfd, ...Array(14).fill(0), 1], [0, 22]),
    CHOSEN,
    "[fd00::1]:22",
    OK5,
  ],
  [
    "an address as a name",
    bytes(GREETING, [5, 1, 0, 3, 5], "[::1]", [0xff, 0xff]),
    CHOSEN,
    "[::1]:65535",
    OK5,
  ],
  [
    "several methods",
    bytes([5, 3, 1, 2, 0], [5, 1, 0, 3, 1], "a", [0, 1]),
    CHOSEN,
    "a:1",
    OK5,
  ],
  [
    "user and password",
    bytes(
      [5, 2, 0, 2],
      [1, 3],
      "ann",
      7,
      "hunter2",
      [5, 1, 0, 3, 1],
      "a",
      [0, 1],
    ),
    "05 02 01 00",
    "a:1",
    OK5,
    ANN,
  ],
  ["SOCKS4", bytes([4, 1, 0, 80, 10, 0, 0, 7], "me\0"), "", "10.0.0.7:80", OK4],
  [
    "SOCKS4a",
    bytes([4, 1, 0, 80, 0, 0, 0, 1], "\0example.com\0"),
    "",
    "example.com:80",
    OK4,
  ],
];

for (const [what, sent, answer, target, accepted, login] of CASES) {
  Deno.test(`SOCKS: ${what}, in every split into two, byte by byte, and with what follows`, () => {
    const early = bytes("SSH-2.0-x\r\n", 0);
    for (const pieces of everySplit(concat(sent, early))) {
      const steps = describe(new SocksParser(login), pieces);
      assert.equal(steps.type, "request");
      assert.equal(steps.answer, answer);
      assert.equal(formatAddress(steps.request.target), target);
      assert.equal(told(steps.request.accepted), accepted);
      // What came after the request was heard is the tunnel's to read.
      assert.deepEqual(concat(steps.request.early, steps.unread), early);
    }
  });
}

const BAD: readonly (readonly [
  what: string,
  sent: Uint8Array,
  answer: string,
  why: RegExp,
  login?: FrontLogin,
])[] = [
  ["HTTP", bytes("GET / HTTP/1.1\r\n\r\n"), "", /speaks HTTP.*--http-proxy/],
  ["TLS", bytes([0x16, 3, 1]), "", /speaks TLS/],
  ["zeros", bytes([0, 0, 0]), "", /does not speak SOCKS/],
  ["SOCKS6", bytes([6, 0]), "", /does not speak SOCKS/],
  ["no method", bytes([5, 0]), "05 ff", /insists on a login/],
  ["GSSAPI alone", bytes([5, 1, 1]), "05 ff", /insists on a login/],
  ["a password where there is none", bytes([5, 1, 2]), "05 ff", /insists/],
  ["no password", bytes([5, 1, 0]), "05 ff", /offers no user/, ANN],
  [
    "a wrong password",
    bytes([5, 1, 2, 1, 3], "ann", 7, "hunter3"),
    "05 02 01 01",
    /wrong user or password/,
    ANN,
  ],
  [
    "a password that is the start of it",
    bytes([5, 1, 2, 1, 3], "ann", 1, "h"),
    "05 02 01 01",
    /wrong user or password/,
    ANN,
  ],
  [
    "another user, an empty one, and no password",
    bytes([5, 1, 2, 1, 0, 0]),
    "05 02 01 01",
    /wrong user or password/,
    ANN,
  ],
  [
    "a login of another version",
    bytes([5, 1, 2, 5, 3]),
    "05 02 01 01",
    /login is malformed/,
    ANN,
  ],
  [
    "SOCKS4 beside a password",
    bytes([4, 1, 0, 80, 1, 2, 3, 4, 0]),
    "00 5b 00 00 00 00 00 00",
    /SOCKS4 has no password/,
    ANN,
  ],
  [
    "BIND",
    bytes(GREETING, [5, 2, 0, 1, 1, 2, 3, 4, 0, 1]),
    `${CHOSEN} 05 07 00 01 00 00 00 00 00 00`,
    /asks for BIND/,
  ],
  [
    "UDP ASSOCIATE",
    bytes(GREETING, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]),
    `${CHOSEN} 05 07 00 01 00 00 00 00 00 00`,
    /asks for UDP ASSOCIATE/,
  ],
  [
    "a command that nobody knows",
    bytes(GREETING, [5, 9, 0, 1]),
    `${CHOSEN} 05 07 00 01 00 00 00 00 00 00`,
    /asks for command 9/,
  ],
  [
    "BIND of SOCKS4",
    bytes([4, 2, 0, 80, 1, 2, 3, 4, 0]),
    "00 5b 00 00 00 00 00 00",
    /asks for BIND/,
  ],
  [
    "an address of no kind",
    bytes(GREETING, [5, 1, 0, 2, 1]),
    `${CHOSEN} 05 08 00 01 00 00 00 00 00 00`,
    /kind that is not known \(2\)/,
  ],
  [
    "a request of another version",
    bytes(GREETING, [4, 1]),
    `${CHOSEN} 05 01 00 01 00 00 00 00 00 00`,
    /request is malformed/,
  ],
  [
    "port 0",
    bytes(GREETING, [5, 1, 0, 1, 1, 2, 3, 4, 0, 0]),
    `${CHOSEN} 05 01 00 01 00 00 00 00 00 00`,
    /"1\.2\.3\.4:0": its port is 0/,
  ],
  [
    "an empty name",
    bytes(GREETING, [5, 1, 0, 3, 0, 0, 80]),
    `${CHOSEN} 05 01 00 01 00 00 00 00 00 00`,
    /it has no host/,
  ],
  [
    "a name with a line end",
    bytes(GREETING, [5, 1, 0, 3, 3], "a\nb", [0, 80]),
    `${CHOSEN} 05 01 00 01 00 00 00 00 00 00`,
    /"a\\nb:80": its host has white space/,
  ],
  [
    "a name that is too long",
    bytes([4, 1, 0, 80, 0, 0, 0, 1, 0], "a".repeat(254), 0),
    "00 5b 00 00 00 00 00 00",
    /longer than 253 characters/,
  ],
  [
    "a user without an end",
    bytes([4, 1, 0, 80, 1, 2, 3, 4], "u".repeat(16 * 1024)),
    "",
    /request is too long/,
  ],
];

for (const [what, sent, answer, why, login] of BAD) {
  Deno.test(`SOCKS: not served, and told so: ${what}`, () => {
    for (const pieces of everySplit(sent)) {
      const step = describe(new SocksParser(login), pieces);
      assert.equal(step.type, "end");
      assert.equal(step.answer, answer);
      assert.match(step.why ?? "", why);
      assert.doesNotMatch(step.why ?? "", /\p{Cc}|hunter/u);
    }
  });
}

Deno.test("SOCKS: what is true of a target is said in the words that there are", () => {
  const request = (sent: Uint8Array) => {
    const step = new SocksParser().push(sent);
    assert.ok(step.type === "request");
    return step.request;
  };
  const five = request(bytes(GREETING, [5, 1, 0, 3, 1], "a", [0, 1]));
  const four = request(bytes([4, 1, 0, 80, 1, 2, 3, 4, 0]));
  const cases: readonly [ErrorCode, string, number][] = [
    ["refused", "", 5],
    ["no-such-host", "", 4],
    ["unreachable", "Dial a:1: no route to host", 4],
    ["unreachable", "Dial a:1: network is unreachable (os error 101)", 3],
    ["denied", "", 2],
    ["timeout", "", 6],
    ["no-server", "", 1],
    ["nats-down", "", 1],
    ["limit", "", 1],
    ["draining", "", 1],
    ["protocol", "", 1],
    ["internal", "", 1],
  ];
  for (const [code, text, reply] of cases) {
    assert.equal(five.refused({ code, text })[1], reply, code);
    assert.equal(told(four.refused({ code, text })), "00 5b 00 00 00 00 00 00");
  }
});

Deno.test("SOCKS: random bytes end or wait, and pieces make no difference", () => {
  const start = fc.constantFrom([], [5], [5, 1, 0], [5, 1, 0, 5, 1, 0, 3], [
    4,
    1,
  ]);
  fc.assert(
    fc.property(
      start,
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fc.nat(300), { maxLength: 5 }),
      (head, rest, cuts) => {
        const sent = concat(Uint8Array.from(head), rest);
        const places = [...cuts, sent.length]
          .map((at) => Math.min(at, sent.length)).sort((a, b) => a - b);
        const pieces = places.map((at, index) =>
          sent.slice(places[index - 1] ?? 0, at)
        ).filter(({ length }) => length > 0);
        const whole = describe(new SocksParser(), [sent]);
        const split = describe(new SocksParser(), pieces);
        assert.deepEqual(outcome(split), outcome(whole));
      },
    ),
    { numRuns: 2_000 },
  );
});

/** What of a step does not depend on the pieces. */
function outcome(step: ReturnType<typeof describe>): unknown {
  const { type, answer } = step;
  if (type !== "request") return { type, answer, why: step.why };
  const { target, early } = step.request;
  return { answer, target, early: told(concat(early, step.unread)) };
}

Deno.test("SOCKS: one that says no more than a byte waits for the next", () => {
  const step: FrontStep = new SocksParser().push(Uint8Array.of(5));
  assert.equal(step.type, "more");
});
