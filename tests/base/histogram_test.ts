import assert from "node:assert/strict";
import fc from "fast-check";
import {
  DurationHistogram,
  LATENCY_BOUNDS,
  LIFE_BOUNDS,
  ROUND_TRIP_BOUNDS,
} from "../../lib/base/histogram.ts";

Deno.test("DurationHistogram counts each duration in the first bucket that it fits in", () => {
  const histogram = new DurationHistogram([0.01, 0.1, 1]);
  assert.deepEqual(histogram.cumulative, [0, 0, 0, 0]);
  for (const ms of [0, 10, 10.5, 100, 1_000, 1_001, 1e9]) histogram.observe(ms);
  assert.deepEqual(histogram.cumulative, [2, 4, 5, 7]);
  assert.ok(Math.abs(histogram.sum - 1_000_002.1215) < 1e-6);
});

Deno.test("DurationHistogram never has fewer in a longer bucket, and counts all", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1e3, max: 1e9, noNaN: true })),
      (all) => {
        const histogram = new DurationHistogram(LATENCY_BOUNDS);
        for (const ms of all) histogram.observe(ms);
        const { cumulative } = histogram;
        assert.equal(cumulative.at(-1), all.length);
        assert.deepEqual(cumulative, cumulative.toSorted((a, b) => a - b));
        assert.ok(histogram.sum >= 0);
      },
    ),
  );
});

Deno.test("the bounds of all histograms ascend", () => {
  for (const bounds of [LATENCY_BOUNDS, LIFE_BOUNDS, ROUND_TRIP_BOUNDS]) {
    assert.deepEqual(
      [...bounds],
      [...new Set(bounds)].toSorted((a, b) => a - b),
    );
  }
});
