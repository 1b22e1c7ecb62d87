/** Codes on the wire and the errors that carry them. */
import assert from "node:assert/strict";
import {
  codeFromWire,
  isErrorCode,
  messageOf,
  RunError,
  TunnelError,
  UsageError,
  WIRE_CODES,
} from "../../lib/base/errors.ts";

Deno.test("WIRE_CODES never changes what was given a number", () => {
  assert.deepEqual(WIRE_CODES, {
    ok: 0,
    refused: 1,
    timeout: 2,
    "no-such-host": 3,
    unreachable: 4,
    denied: 5,
    limit: 6,
    draining: 7,
    protocol: 8,
    "unknown-tunnel": 9,
    "peer-gone": 10,
    "nats-down": 11,
    aborted: 12,
    idle: 13,
    "half-closed": 14,
    shutdown: 15,
    version: 16,
    "no-server": 17,
    internal: 18,
    "no-such-service": 19,
  });
});

Deno.test("codeFromWire() names each number, and unknown ones internal", () => {
  for (const [name, number] of Object.entries(WIRE_CODES)) {
    assert.equal(codeFromWire(number), name);
  }
  for (const number of [20, 255, 65_535, -1, NaN, 1.5]) {
    assert.equal(codeFromWire(number), "internal");
  }
});

Deno.test("isErrorCode() knows codes and no other words", () => {
  for (const name of Object.keys(WIRE_CODES)) assert.ok(isErrorCode(name));
  for (const word of ["", "OK", "toString", "__proto__", "constructor"]) {
    assert.ok(!isErrorCode(word), word);
  }
});

Deno.test("TunnelError is a reason with a code, a text and a cause", () => {
  const cause = new Error("below");
  const error = new TunnelError("refused", "dial a:1: refused", { cause });
  assert.ok(error instanceof Error);
  assert.deepEqual(
    [error.name, error.code, error.text, error.message, error.cause],
    ["TunnelError", "refused", error.message, "dial a:1: refused", cause],
  );
  assert.equal(new UsageError("x").name, "UsageError");
  assert.equal(new RunError("x").name, "RunError");
});

Deno.test("messageOf() puts anything thrown on one line", () => {
  const cases: readonly (readonly [unknown, string])[] = [
    [new Error("plain"), "plain"],
    [new Error("two \r\n  lines\nthree"), "two lines three"],
    ["text", "text"],
    [undefined, "undefined"],
    [null, "null"],
    [7, "7"],
    [{}, "[object Object]"],
  ];
  for (const [thrown, expected] of cases) {
    assert.equal(messageOf(thrown), expected);
  }
});
