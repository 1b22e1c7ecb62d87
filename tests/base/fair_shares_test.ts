import assert from "node:assert/strict";
import { FairShares } from "../../lib/base/fair_shares.ts";

/** How many places `owner` can take, one after the other. */
function takeAll(shares: FairShares, owner: string): number {
  let count = 0;
  while (shares.take(owner)) count++;
  return count;
}

Deno.test("FairShares gives one owner half of the places, the next half of what is left", () => {
  const shares = new FairShares(28);
  assert.deepEqual(
    ["a", "b", "c", "d", "e", "f"].map((owner) => takeAll(shares, owner)),
    [14, 7, 4, 2, 1, 0],
  );
  assert.equal(shares.free, 0);
});

Deno.test("FairShares gives a place that was given back to whoever has fewest", () => {
  const shares = new FairShares(4);
  assert.equal(takeAll(shares, "a"), 2);
  assert.equal(takeAll(shares, "b"), 1);
  assert.equal(takeAll(shares, "c"), 1);
  shares.release("a");
  assert.equal(shares.take("a"), false);
  assert.equal(shares.take("d"), true);
  assert.equal(shares.free, 0);
});

Deno.test("FairShares ignores what is given back and was not taken", () => {
  const shares = new FairShares(4);
  shares.release("a");
  assert.equal(shares.take("a"), true);
  shares.release("a");
  shares.release("a");
  assert.equal(shares.free, 4);
});

Deno.test("FairShares.clear() makes all places free", () => {
  const shares = new FairShares(8);
  takeAll(shares, "a");
  takeAll(shares, "b");
  shares.clear();
  assert.equal(shares.free, 8);
  assert.equal(takeAll(shares, "a"), 4);
});
