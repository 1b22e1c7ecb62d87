import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Figure,
  isReached,
  median,
  medianOf,
  partsOf,
  quantile,
  ratioOf,
  Recorder,
  type Series,
  turnOrder,
} from "../../bench/measure.ts";

const FIGURE: Figure = { title: "one stream up", unit: "Gbit/s" };

function series(
  values: Readonly<Record<"ssh" | "tunnel", readonly number[]>>,
): Series {
  const samples = (of: readonly number[]) =>
    of.map((value, round) => ({ round, value }));
  return {
    figure: FIGURE,
    samples: { ssh: samples(values.ssh), tunnel: samples(values.tunnel) },
  };
}

Deno.test("median() takes the middle, or the mean of the two middle values", () => {
  assert.equal(median([]), undefined);
  assert.equal(median([7]), 7);
  assert.equal(median([30, 10, 20]), 20);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([9, 10, 100]), 10); // by number, not by text
});

Deno.test("quantile() interpolates, and refuses what is no share", () => {
  const values = [0, 10, 20, 30, 40];
  assert.equal(quantile(values, 0), 0);
  assert.equal(quantile(values, 1), 40);
  assert.equal(quantile(values, 0.25), 10);
  assert.equal(quantile(values, 0.99), 39.6);
  assert.throws(() => quantile(values, 1.1), RangeError);
  assert.throws(() => quantile(values, NaN), RangeError);
});

Deno.test("quantile() leaves its argument alone and stays within it", () => {
  const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), {
    minLength: 1,
  });
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(fc.property(numbers, share, (values, q) => {
    const before = [...values];
    const result = quantile(values, q);
    assert.deepEqual(values, before);
    assert.ok(result !== undefined);
    assert.ok(result >= Math.min(...values) && result <= Math.max(...values));
  }));
});

Deno.test("ratioOf() pairs the rounds before it takes the median", () => {
  // The machine slows down threefold; each round has the ratio 0.5.
  const drifting = series({ ssh: [6, 4, 2], tunnel: [3, 2, 1] });
  assert.deepEqual(ratioOf(drifting, "tunnel", "ssh"), {
    median: 0.5,
    low: 0.5,
    high: 0.5,
  });
  const spread = series({ ssh: [1, 2, 4], tunnel: [1, 1, 1] });
  assert.deepEqual(ratioOf(spread, "tunnel", "ssh"), {
    median: 0.5,
    low: 0.25,
    high: 1,
  });
});

Deno.test("ratioOf() leaves out rounds in which one of the two is missing", () => {
  const gaps: Series = {
    figure: FIGURE,
    samples: {
      ssh: [{ round: 0, value: 2 }, { round: 2, value: 4 }],
      tunnel: [{ round: 1, value: 100 }, { round: 2, value: 2 }],
    },
  };
  assert.equal(ratioOf(gaps, "tunnel", "ssh")?.median, 0.5);
  assert.equal(ratioOf(gaps, "json", "ssh"), undefined);
  assert.equal(
    ratioOf(series({ ssh: [0], tunnel: [1] }), "tunnel", "ssh"),
    undefined,
  );
});

Deno.test("isReached() looks at the ratio or the value, bounds included", () => {
  const half = series({ ssh: [4], tunnel: [2] });
  const ask = (
    reach: { of: "ratio" | "value"; least?: number; most?: number },
  ) =>
    isReached(half, {
      way: "tunnel",
      of: reach.of,
      ...(reach.least === undefined ? {} : { atLeast: reach.least }),
      ...(reach.most === undefined ? {} : { atMost: reach.most }),
    });
  assert.equal(ask({ of: "ratio", least: 0.5 }), true);
  assert.equal(ask({ of: "ratio", least: 0.51 }), false);
  assert.equal(ask({ of: "ratio", most: 0.5 }), true);
  assert.equal(ask({ of: "ratio", most: 0.49 }), false);
  assert.equal(ask({ of: "value", least: 2, most: 2 }), true);
  assert.equal(ask({ of: "value", most: 1.9 }), false);
  assert.equal(
    isReached(half, { way: "json", of: "value", atMost: 1 }),
    undefined,
  );
});

Deno.test("turnOrder() puts each way first in its turn and loses none", () => {
  const ways = ["a", "b", "c"];
  assert.deepEqual(turnOrder(ways, 0), ["a", "b", "c"]);
  assert.deepEqual(turnOrder(ways, 1), ["b", "c", "a"]);
  assert.deepEqual(turnOrder(ways, 5), ["c", "a", "b"]);
  assert.deepEqual(turnOrder([], 3), []);
});

Deno.test("Recorder keeps values by figure and way, in order", () => {
  const recorder = new Recorder();
  const other = { ...FIGURE, title: "8 streams up" };
  recorder.add(FIGURE, { way: "ssh", round: 0, value: 1 });
  recorder.add(other, { way: "tunnel", round: 0, value: 5 });
  recorder.add(FIGURE, { way: "ssh", round: 1, value: 3 });
  const [first, second] = recorder.series;
  assert.ok(first && second);
  assert.equal(first.figure.title, FIGURE.title);
  assert.equal(medianOf(first, "ssh"), 2);
  assert.equal(medianOf(first, "tunnel"), undefined);
  assert.deepEqual(second.samples, { tunnel: [{ round: 0, value: 5 }] });
});

Deno.test("partsOf() takes the median of each process's shares", () => {
  const recorder = new Recorder();
  [[1, 9], [2, 7], [3, 8]].forEach(([client, server], round) => {
    recorder.add(FIGURE, {
      way: "tunnel",
      round,
      value: 10,
      parts: { client: client ?? NaN, server: server ?? NaN },
    });
  });
  const [only] = recorder.series;
  assert.ok(only);
  assert.deepEqual(partsOf(only, "tunnel"), { client: 2, server: 8 });
  assert.deepEqual(partsOf(only, "ssh"), {});
});
