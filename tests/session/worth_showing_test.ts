/** Which tunnels are shown of many. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { worthShowing } from "../../lib/session/worth_showing.ts";

interface Item {
  readonly at: number;
  readonly stalled: boolean;
  readonly bytes: number;
}

const pick = (all: readonly Item[], most: number): readonly Item[] =>
  worthShowing(all, most, (item) => item);

Deno.test("worthShowing() has the stalled and the busy ones beside the oldest, in their order", () => {
  const all = Array.from({ length: 1_000 }, (_, at) => ({
    ...{ at, stalled: at === 700 },
    bytes: at === 800 || at === 999 ? 1e9 : 0,
  }));
  const shown = pick(all, 10).map(({ at }) => at);
  assert.deepEqual(shown, [0, 1, 2, 3, 4, 5, 6, 700, 800, 999]);
});

Deno.test("worthShowing() has as many as there may be, each once, whatever they are", () => {
  fc.assert(fc.property(
    fc.array(fc.record({ stalled: fc.boolean(), bytes: fc.nat(5) })),
    fc.integer({ min: 2, max: 20 }),
    (kinds, most) => {
      const all = kinds.map((kind, at) => ({ at, ...kind }));
      const shown = pick(all, most);
      assert.equal(shown.length, Math.min(most, all.length));
      const order = shown.map(({ at }) => at);
      assert.deepEqual(order, [...new Set(order)].toSorted((a, b) => a - b));
      // One that stalls is never hidden by those that do not, up to half.
      const stalled = all.filter((item) => item.stalled).length;
      const seen = shown.filter((item) => item.stalled).length;
      assert.ok(seen >= Math.min(stalled, Math.floor(most / 2)));
    },
  ));
});
