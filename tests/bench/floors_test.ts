import assert from "node:assert/strict";
import {
  describeOutcome,
  type Floor,
  reachFloors,
} from "../../bench/floors.ts";

/** A ratio that is these values, one after the other. */
function scripted(
  name: string,
  atLeast: number,
  values: readonly number[],
): Floor {
  const left = [...values];
  return {
    name,
    atLeast,
    measure: () => {
      const next = left.shift();
      assert.ok(next !== undefined, `${name} was measured once too often`);
      return Promise.resolve(next);
    },
  };
}

Deno.test("a ratio is measured until it reaches its floor", async () => {
  const outcomes = await reachFloors([
    scripted("at once", 0.5, [0.5]),
    scripted("later", 0.5, [0.1, 0.49, 0.9]),
  ], 6);
  assert.deepEqual(outcomes, [
    { name: "at once", atLeast: 0.5, values: [0.5], reached: true },
    { name: "later", atLeast: 0.5, values: [0.1, 0.49, 0.9], reached: true },
  ]);
});

Deno.test("a ratio below its floor in all rounds has not reached it", async () => {
  const [rotten, sound] = await reachFloors([
    scripted("rotten", 0.5, [0.3, 0.4, NaN]),
    scripted("sound", 0.5, [0.6]),
  ], 3);
  assert.equal(rotten?.reached, false);
  assert.deepEqual(rotten.values, [0.3, 0.4, NaN]);
  assert.equal(sound?.reached, true);
});

Deno.test("describeOutcome() says which ratio failed, and all its rounds", () => {
  assert.equal(
    describeOutcome({
      name: "bulk",
      atLeast: 0.55,
      values: [0.3, 0.412],
      reached: false,
    }),
    "bulk: 0.30, 0.41 of the bare relays, at least 0.55 wanted: not reached in 2 rounds",
  );
  assert.equal(
    describeOutcome({
      name: "bulk",
      atLeast: 0.55,
      values: [1],
      reached: true,
    }),
    "bulk: 1.00 of the bare relays, at least 0.55 wanted",
  );
});
