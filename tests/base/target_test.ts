/** Targets as people write them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAddress } from "../../lib/base/address.ts";
import {
  formatDestination,
  formatTarget,
  isAddress,
  parseDestination,
  parseTarget,
  type Target,
  tryParseTarget,
} from "../../lib/base/target.ts";

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/)
  .filter((text) => !/^\d+(-\d+)?$/.test(text));
const target: fc.Arbitrary<Target> = fc.oneof(
  name.map((service) => ({ service })),
  fc.string({ minLength: 1, maxLength: 90 })
    .filter((text) => !/[\p{Cc}\p{Cs}]|\s$/u.test(text))
    .filter((text) => new TextEncoder().encode(text).length < 90)
    .map((text) => ({ path: `/${text}` })),
  fc.record({
    host: fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
    port: fc.integer({ min: 1, max: 65_535 }),
  }, { noNullPrototype: true }),
);

Deno.test("parseTarget() reads back what formatTarget() writes", () => {
  fc.assert(
    fc.property(target, (one) => {
      assert.deepEqual(parseTarget(formatTarget(one)), one);
      assert.deepEqual(tryParseTarget(formatTarget(one)), one);
    }),
  );
});

Deno.test("parseDestination() reads back what formatDestination() writes", () => {
  fc.assert(
    fc.property(target, name, (one, site) => {
      const destination = { target: one, site };
      assert.deepEqual(
        parseDestination(formatDestination(destination), parseAddress),
        destination,
      );
    }),
  );
});

Deno.test("what looks like a service or a Unix socket and has a port is a host of that name", () => {
  for (const host of ["svc", "unix"]) {
    assert.deepEqual(parseTarget(`${host}:22`), { host, port: 22 });
  }
  // Ranges are the business of forwards.
  assert.deepEqual(parseDestination("svc:1-2", (text) => text), {
    target: "svc:1-2",
  });
});

Deno.test("a site ends a target; in a path there may be an @", () => {
  const cases: readonly (readonly [string, Target, string?])[] = [
    ["svc:db@edge7", { service: "db" }, "edge7"],
    ["db:5432@edge_7-A", { host: "db", port: 5432 }, "edge_7-A"],
    ["[::1]:22@e", { host: "::1", port: 22 }, "e"],
    ["unix:/run/a@b/c", { path: "/run/a@b/c" }],
    ["unix:/run/a@b/c@edge", { path: "/run/a@b/c" }, "edge"],
    ["unix:/run/a@b@edge", { path: "/run/a@b" }, "edge"],
  ];
  for (const [text, one, site] of cases) {
    const read = parseDestination(text, parseAddress);
    assert.deepEqual(read.target, one, text);
    assert.equal(read.site, site, text);
    assert.equal(isAddress(read.target), "host" in one);
  }
});

Deno.test("what is wrong with a target is told, by its value", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["svc:", 'the name of its service, "", is empty'],
    [
      "svc:a.b",
      'the name of its service, "a.b", has other characters than letters, digits, - and _',
    ],
    [
      "svc:*",
      'the name of its service, "*", has other characters than letters, digits, - and _',
    ],
    [
      `svc:${"a".repeat(33)}`,
      `the name of its service, "${
        "a".repeat(33)
      }", is longer than 32 characters`,
    ],
    ["unix:", 'the path of its Unix socket, "", does not begin with a /'],
    [
      "unix:run/x",
      'the path of its Unix socket, "run/x", does not begin with a /',
    ],
    [
      "unix:/a\nb",
      'the path of its Unix socket, "/a\\nb", has control characters in it',
    ],
    [
      "unix:/a ",
      'the path of its Unix socket, "/a ", ends with white space',
    ],
    [
      `unix:/${"a".repeat(107)}`,
      `the path of its Unix socket, "/${
        "a".repeat(79)
      }…", is longer than 107 bytes`,
    ],
    ["svc:db@", 'its site "" is empty'],
    [
      "a:1@x y",
      'its site "x y" has other characters than letters, digits, - and _',
    ],
    ["a:1@7", 'its site "7" looks like a port'],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parseDestination(text, parseAddress),
      { name: "SyntaxError", message },
      text,
    );
  }
  assert.equal(typeof tryParseTarget("svc:"), "string");
  assert.equal(typeof tryParseTarget("x"), "string");
});
