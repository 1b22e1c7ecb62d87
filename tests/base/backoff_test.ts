import assert from "node:assert/strict";
import fc from "fast-check";
import { backoffDelay } from "../../lib/base/backoff.ts";

Deno.test("backoffDelay() doubles its bound with each attempt up to the cap", () => {
  const almostOne = 1 - Number.EPSILON;
  const delays = [0, 1, 2, 3, 4, 5, 6, 7].map((attempt) =>
    Math.round(
      backoffDelay(attempt, { base: 50, cap: 2000, random: () => almostOne }),
    )
  );
  assert.deepEqual(delays, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
});

Deno.test("backoffDelay() takes any share of the bound", () => {
  const share = (random: number): number =>
    backoffDelay(2, { base: 50, cap: 2000, random: () => random });
  assert.deepEqual([0, 0.25, 0.5].map(share), [0, 50, 100]);
});

Deno.test("backoffDelay() stays within its bounds for every attempt", () => {
  fc.assert(fc.property(
    fc.nat(),
    fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    (attempt, random) => {
      const delay = backoffDelay(attempt, {
        base: 50,
        cap: 2000,
        random: () => random,
      });
      assert.ok(delay >= 0 && delay <= 2000, `${delay}`);
    },
  ));
});

Deno.test("backoffDelay() refuses what is no attempt number", () => {
  for (const attempt of [-1, 0.5, NaN, Infinity]) {
    assert.throws(
      () => backoffDelay(attempt, { base: 1, cap: 2, random: () => 0 }),
      RangeError,
    );
  }
});
