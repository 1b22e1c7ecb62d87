/** Headers of the PROXY protocol, byte by byte, and as the reader finds them again. */
import assert from "node:assert/strict";
import type { ProxyVersion } from "../../lib/base/service.ts";
import fc from "fast-check";
import { type Address, formatIp, parseIp } from "../../lib/base/address.ts";
import {
  type ProxyFacts,
  proxyHeader,
  V2_SIGNATURE,
} from "../../lib/wire/proxy_header.ts";
import {
  MAX_V2_BYTES,
  ProxyParser,
  type ProxyStep,
} from "../../lib/wire/proxy_parser.ts";
import { everySplit, told } from "../support/front_steps.ts";

const A4 = { host: "192.0.2.7", port: 56324 };
const B4 = { host: "10.0.0.1", port: 443 };
const A6 = { host: "2001:db8::7", port: 1 };
const B6 = { host: "::1", port: 65535 };

function v1(facts: ProxyFacts): string {
  return new TextDecoder().decode(proxyHeader("v1", facts));
}

/** What follows the signature, in hexadecimals. */
function v2(facts: ProxyFacts): string {
  const header = proxyHeader("v2", facts);
  assert.deepEqual(header.slice(0, 12), V2_SIGNATURE);
  return told(header.subarray(12));
}

Deno.test("proxyHeader: lines of version 1", () => {
  const cases: readonly (readonly [facts: ProxyFacts, line: string])[] = [
    [
      { source: A4, destination: B4 },
      "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443",
    ],
    [{ source: A6, destination: B6 }, "PROXY TCP6 2001:db8::7 ::1 1 65535"],
    // Families that differ: both as IPv6.
    [
      { source: A6, destination: B4 },
      "PROXY TCP6 2001:db8::7 ::ffff:a00:1 1 443",
    ],
    [
      { source: A4, destination: B6 },
      "PROXY TCP6 ::ffff:c000:207 ::1 56324 65535",
    ],
    // What a listener of both families tells of IPv4.
    [
      {
        source: { host: "::ffff:192.0.2.7", port: 5 },
        destination: { host: "::ffff:10.0.0.1", port: 6 },
      },
      "PROXY TCP4 192.0.2.7 10.0.0.1 5 6",
    ],
    [
      {
        source: { host: "fe80::1%eth0", port: 5 },
        destination: { host: "fe80::2%2", port: 6 },
      },
      "PROXY TCP6 fe80::1 fe80::2 5 6",
    ],
    [{ source: A4 }, "PROXY TCP4 192.0.2.7 0.0.0.0 56324 0"],
    [{ source: A6 }, "PROXY TCP6 2001:db8::7 :: 1 0"],
    [
      { source: A4, destination: { host: "db", port: 5432 } },
      "PROXY TCP4 192.0.2.7 0.0.0.0 56324 0",
    ],
    [{ destination: B4, tunnelId: "a.b.1" }, "PROXY UNKNOWN"],
    [{ source: { host: "app", port: 7 }, destination: B4 }, "PROXY UNKNOWN"],
    [{}, "PROXY UNKNOWN"],
  ];
  for (const [facts, line] of cases) assert.equal(v1(facts), `${line}\r\n`);
});

Deno.test("proxyHeader: version 2 with what it says of the tunnel", () => {
  const ipv4 = "21 11 00 0c c0 00 02 07 0a 00 00 01 dc 04 01 bb";
  assert.equal(v2({ source: A4, destination: B4 }), ipv4);
  assert.equal(
    v2({ source: A4, destination: B4, tunnelId: "c.s.1", clientName: "Zoë" }),
    ipv4.replace("00 0c", "00 1b") +
      " 05 00 05 63 2e 73 2e 31 e0 00 04 5a 6f c3 ab",
  );
  assert.equal(
    v2({ source: { host: "::1", port: 1 } }),
    `21 21 00 24 ${"00 ".repeat(15)}01 ${"00 ".repeat(16)}00 01 00 00`,
  );
  assert.equal(v2({}), "20 00 00 00");
  assert.equal(v2({ tunnelId: "a" }), "20 00 00 04 05 00 01 61");
  // What nobody may have is left out, not cut: another tunnel could have that ID.
  assert.equal(v2({ tunnelId: "a".repeat(129) }), "20 00 00 00");
  assert.equal(
    v2({ clientName: "ä".repeat(513), tunnelId: "" }),
    "20 00 00 00",
  );
});

const address = fc.record({
  host: fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.constantFrom("::ffff:1.2.3.4", "fe80::1%eth0", "::"),
  ),
  port: fc.integer({ min: 0, max: 65535 }),
});

/** The same, as it is read. */
function plain({ host, port }: Address): Address {
  return { host: formatIp(parseIp(host) ?? []), port };
}

function read(pieces: readonly Uint8Array[]): ProxyStep {
  const parser = new ProxyParser();
  const all = pieces.reduce((sum, { length }) => sum + length, 0);
  let given = 0;
  for (const piece of pieces) {
    const step = parser.push(piece);
    given += piece.length;
    if (step.type === "more") continue;
    if (step.type === "wrong") return step;
    // What was not given yet is the application's, too.
    const rest = new Uint8Array(step.rest.length + all - given);
    rest.set(step.rest);
    let at = step.rest.length;
    for (const later of pieces.slice(pieces.indexOf(piece) + 1)) {
      rest.set(later, at);
      at += later.length;
    }
    return { ...step, rest };
  }
  return { type: "more" };
}

Deno.test("proxyHeader and ProxyParser: what is written is read, however it is cut, and not a byte more", () => {
  fc.assert(
    fc.property(
      fc.constantFrom<ProxyVersion>("v1", "v2"),
      fc.record({
        source: address,
        destination: address,
        tunnelId: fc.option(fc.string({ maxLength: 40 }), { nil: undefined }),
        clientName: fc.option(fc.string({ maxLength: 80, unit: "grapheme" }), {
          nil: undefined,
        }),
      }, { requiredKeys: ["tunnelId", "clientName"] }),
      fc.uint8Array({ maxLength: 20 }),
      (version, facts, after) => {
        const header = proxyHeader(version, facts);
        assert.ok(header.length <= (version === "v1" ? 107 : MAX_V2_BYTES));
        const { source, destination } = facts;
        const endpoints = source && {
          source: plain(source),
          destination: destination ? plain(destination) : {
            host: plain(source).host.includes(":") ? "::" : "0.0.0.0",
            port: 0,
          },
        };
        const bytes = Uint8Array.of(...header, ...after);
        for (const pieces of everySplit(bytes)) {
          assert.deepEqual(read(pieces), {
            type: "header",
            endpoints,
            rest: after,
          });
        }
        for (let length = 0; length < header.length; length++) {
          assert.equal(read([bytes.subarray(0, length)]).type, "more");
        }
      },
    ),
    { numRuns: 60 },
  );
});
