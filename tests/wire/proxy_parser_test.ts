/** Headers of the PROXY protocol as others write them, and what is none. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatAddress } from "../../lib/base/address.ts";
import { crc32c } from "../../lib/base/crc32c.ts";
import { V2_SIGNATURE } from "../../lib/wire/proxy_header.ts";
import {
  MAX_V2_BYTES,
  ProxyParser,
  type ProxyStep,
} from "../../lib/wire/proxy_parser.ts";
import { everySplit } from "../support/front_steps.ts";

type Part = string | number | readonly number[] | Uint8Array;

/** Texts as they are, numbers as one byte each. */
function bytes(...parts: readonly Part[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "string"
        ? [...new TextEncoder().encode(part)]
        : typeof part === "number"
        ? [part]
        : [...part]
    ),
  );
}

/** A header of version 2. */
function v2(
  command: number,
  family: number,
  ...body: readonly Part[]
): Uint8Array {
  const after = bytes(...body);
  const { length } = after;
  return bytes(
    V2_SIGNATURE,
    [command, family, length >> 8, length & 255],
    after,
  );
}

const ENDS4 = [192, 0, 2, 7, 10, 0, 0, 1, 0, 80, 1, 187];
const V6 = [0x20, 1, 0xd, 0xb8, ...new Array<number>(11).fill(0), 7];
const ENDS6 = [...V6, ...new Array<number>(15).fill(0), 1, 0, 1, 255, 255];
const MAPPED = [...new Array<number>(10).fill(0), 255, 255, 192, 0, 2, 7];

/** A header with its checksum, or one that differs from it by `wrong`. */
function withChecksum(wrong = 0): Uint8Array {
  const before = [4, 0, 2, 1, 2, 3, 0, 4];
  const header = v2(0x21, 0x11, ENDS4, before, 0, 0, 0, 0, [5, 0, 1, 97]);
  const at = 16 + ENDS4.length + before.length;
  new DataView(header.buffer).setUint32(at, crc32c(header) ^ wrong);
  return header;
}

function push(...pieces: readonly Uint8Array[]): ProxyStep {
  const parser = new ProxyParser();
  let step: ProxyStep = { type: "more" };
  for (const piece of pieces) {
    if (step.type === "more") step = parser.push(piece);
  }
  return step;
}

const NOBODY = "nobody";

const GOOD:
  readonly (readonly [what: string, header: Uint8Array, ends: string])[] = [
    [
      "TCP4",
      bytes("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n"),
      "192.0.2.7:56324 10.0.0.1:443",
    ],
    [
      "TCP6",
      bytes("PROXY TCP6 2001:DB8:0::7 ::1 0 65535\r\n"),
      "[2001:db8::7]:0 [::1]:65535",
    ],
    [
      "IPv4 in IPv6",
      bytes("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:a00:1 1 2\r\n"),
      "192.0.2.7:1 10.0.0.1:2",
    ],
    [
      "the longest TCP6",
      bytes(
        `PROXY TCP6 ${
          new Array(2).fill(new Array(8).fill("ffff").join(":")).join(" ")
        } 65535 65535\r\n`,
      ),
      `${
        new Array(2).fill(`[${new Array(8).fill("ffff").join(":")}]:65535`)
          .join(" ")
      }`,
    ],
    ["UNKNOWN", bytes("PROXY UNKNOWN\r\n"), NOBODY],
    [
      "UNKNOWN with anything",
      bytes("PROXY UNKNOWN ffff::1 \x01 \r 65535\r\n"),
      NOBODY,
    ],
    [
      "UNKNOWN of 107 bytes",
      bytes("PROXY UNKNOWN ", "x".repeat(107 - 16), "\r\n"),
      NOBODY,
    ],
    ["INET", v2(0x21, 0x11, ENDS4), "192.0.2.7:80 10.0.0.1:443"],
    ["INET6", v2(0x21, 0x21, ENDS6), "[2001:db8::7]:1 [::1]:65535"],
    [
      "IPv4 in INET6",
      v2(0x21, 0x21, MAPPED, MAPPED, 0, 5, 0, 6),
      "192.0.2.7:5 192.0.2.7:6",
    ],
    [
      "TLVs",
      v2(0x21, 0x11, ENDS4, [1, 0, 2], "h2", [0xee, 0, 0]),
      "192.0.2.7:80 10.0.0.1:443",
    ],
    ["a checksum", withChecksum(), "192.0.2.7:80 10.0.0.1:443"],
    [
      "the longest",
      v2(0x21, 0x11, ENDS4, [4, 15, 225], new Uint8Array(MAX_V2_BYTES - 31)),
      "192.0.2.7:80 10.0.0.1:443",
    ],
    ["LOCAL", v2(0x20, 0), NOBODY],
    ["LOCAL with addresses", v2(0x20, 0x11, ENDS4), NOBODY],
    ["LOCAL with anything", v2(0x20, 0xff, "anything"), NOBODY],
    ["UNSPEC", v2(0x21, 0), NOBODY],
    ["UNSPEC with anything", v2(0x21, 0x01, "anything"), NOBODY],
    ["UDP", v2(0x21, 0x12, ENDS4), NOBODY],
    ["no transport", v2(0x21, 0x20, ENDS6), NOBODY],
    ["UNIX", v2(0x21, 0x31, new Uint8Array(216)), NOBODY],
    ["UNIX datagrams", v2(0x21, 0x32, new Uint8Array(216), [4, 0, 0]), NOBODY],
  ];

Deno.test("ProxyParser: what others write, in every split, and the rest is left", () => {
  for (const [what, header, ends] of GOOD) {
    for (const rest of [bytes(), bytes("PROXY rest\r\n")]) {
      const step = push(bytes(header, rest));
      assert.equal(step.type, "header", what);
      if (step.type !== "header") return;
      const { endpoints } = step;
      const shown = endpoints === undefined
        ? NOBODY
        : `${formatAddress(endpoints.source)} ${
          formatAddress(endpoints.destination)
        }`;
      assert.equal(shown, ends, what);
      assert.deepEqual([...step.rest], [...rest], what);
    }
    for (const pieces of everySplit(header)) {
      assert.deepEqual(push(...pieces), push(header), what);
    }
    assert.equal(push(header.subarray(0, -1)).type, "more", what);
  }
});

const NOT_A_HEADER = /^it does not begin with a header of the PROXY protocol$/;
const LINE = /^its line is not understood: "PROXY /;

const BAD: readonly (readonly [said: Uint8Array, why: RegExp])[] = [
  [bytes("GET / HTTP/1.1\r\n"), /^it begins with HTTP, and not with a header/],
  [bytes("PUT / HTTP/1.1\r\n"), /with HTTP,/],
  [bytes("PRI * HTTP/2.0\r\n"), /with HTTP,/],
  [bytes([0x16, 3, 1, 2, 0, 1]), /^it begins with TLS, and not/],
  [bytes("SSH-2.0-OpenSSH_9.2\r\n"), /^it begins with SSH, and not/],
  [bytes("*1\r\n$4\r\nPING\r\n"), NOT_A_HEADER],
  [bytes(5, 1, 0), NOT_A_HEADER],
  [bytes(0), NOT_A_HEADER],
  [bytes("PX"), NOT_A_HEADER],
  [bytes("PROXYTCP4"), NOT_A_HEADER],
  [bytes("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n"), NOT_A_HEADER],
  [bytes("\r\n\r\nGET / HTTP/1.1\r\n"), NOT_A_HEADER],
  [bytes(V2_SIGNATURE.subarray(0, 11), 0), NOT_A_HEADER],
  [
    bytes("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n"),
    /^its line does not end in CR LF$/,
  ],
  [bytes("PROXY \n"), /CR LF/],
  [bytes("PROXY ", "x".repeat(101)), /^its line has more than 107 bytes$/],
  [bytes("PROXY UNKNOWN ", "x".repeat(92), "\r\n"), /more than 107 bytes/],
  [bytes("PROXY UNKNOWNS\r\n"), LINE],
  [bytes("PROXY TCP4\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n"), LINE],
  [bytes("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 256.1.1.1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 ::1 ::2 1 2\r\n"), LINE],
  [bytes("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP6 ::1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), LINE],
  [bytes("PROXY TCP6 [::1] ::1 1 2\r\n"), LINE],
  [bytes("PROXY TCP6 :::1 ::1 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 a.example 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1 2.2.2.2 1 02\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n"), LINE],
  [bytes("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n"), LINE],
  [bytes("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n"), LINE],
  [
    bytes("PROXY TCP4 \x1b[2J \xff\r\n"),
    /^its line is not understood: "PROXY TCP4 \\u001b\[2J/,
  ],
  [v2(0x11, 0x11, ENDS4), /^its version is 1, not 2$/],
  [v2(0x01, 0x11, ENDS4), /^its version is 0, not 2$/],
  [v2(0x22, 0x11, ENDS4), /^its command is 2, neither LOCAL nor PROXY$/],
  [v2(0x21, 0x41, ENDS4), /^its family and transport, 65, are none there are$/],
  [v2(0x21, 0x13, ENDS4), /^its family and transport, 19,/],
  [
    bytes(V2_SIGNATURE, 0x21, 0x11, 0xff, 0xff),
    /^it is to have 65551 bytes, and 4096 are the most$/,
  ],
  [bytes(V2_SIGNATURE, 0x20, 0x00, 0x0f, 0xf1), /^it is to have 4097 bytes/],
  [v2(0x21, 0x11), /^it has 16 bytes, too few for its addresses$/],
  [v2(0x21, 0x11, ENDS4.slice(1)), /too few for its addresses/],
  [v2(0x21, 0x21, ENDS4), /too few/],
  [v2(0x21, 0x31, new Uint8Array(215)), /too few/],
  [v2(0x21, 0x11, ENDS4, 4), /^its TLVs are longer than it is$/],
  [v2(0x21, 0x11, ENDS4, 4, 0), /TLVs are longer/],
  [v2(0x21, 0x11, ENDS4, 4, 0, 1), /TLVs are longer/],
  [v2(0x21, 0x11, ENDS4, 4, 255, 255), /TLVs are longer/],
  [withChecksum(1), /^its checksum is wrong$/],
  [withChecksum(0x8000_0000), /checksum/],
  [v2(0x21, 0x11, ENDS4, [3, 0, 0]), /checksum/],
  [v2(0x21, 0x11, ENDS4, [3, 0, 5, 0, 0, 0, 0, 0]), /checksum/],
];

Deno.test("ProxyParser: what is no header, and why, in every split", () => {
  for (const [said, why] of BAD) {
    const step = push(said);
    assert.equal(step.type, "wrong", String.fromCharCode(...said));
    if (step.type === "wrong") assert.match(step.why, why);
    for (const pieces of everySplit(said)) {
      assert.equal(push(...pieces).type, "wrong", why.source);
    }
  }
});

Deno.test("ProxyParser: it says no as soon as it can, and of too much before it comes", () => {
  assert.equal(push(bytes("G")).type, "wrong");
  assert.equal(push(bytes("P"), bytes("U")).type, "wrong");
  assert.equal(push(bytes()).type, "more");
  assert.equal(push(bytes("PROXY ", "x".repeat(100))).type, "more");
});

Deno.test("ProxyParser: any bytes end in a header, a reason or the wish for more, with a bound", () => {
  const start = fc.constantFrom(
    bytes(),
    bytes("PROXY "),
    bytes("PROXY TCP4 1.1.1.1 "),
    bytes(V2_SIGNATURE),
    bytes(V2_SIGNATURE, 0x21, 0x11, 0),
  );
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 300 }), (head, tail) => {
      const whole = push(bytes(head, tail));
      const pieces = [...everySplit(bytes(head, tail))].at(-1) ?? [];
      assert.equal(push(...pieces).type, whole.type);
      const more = bytes(head, tail, new Uint8Array(MAX_V2_BYTES));
      assert.notEqual(push(more).type, "more");
      if (whole.type === "wrong") assert.match(whole.why, /^[ -~…]{10,300}$/);
    }),
  );
});
