/** The budget of a process, and the slabs that go round in it. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { BufferPool, SLAB_BYTES } from "../../lib/base/buffer_pool.ts";
import { BudgetShare, MemoryBudget } from "../../lib/tunnel/memory_budget.ts";

Deno.test("MemoryBudget.allowance is what is free, and never negative", () => {
  const budget = new MemoryBudget(100);
  assert.equal(budget.allowance, 100);
  budget.reserve(60);
  assert.deepEqual([budget.used, budget.allowance], [60, 40]);
  budget.reserve(60);
  assert.deepEqual([budget.used, budget.allowance], [120, 0]);
  budget.release(120);
  assert.deepEqual([budget.used, budget.allowance], [0, 100]);
});

Deno.test("MemoryBudget leaves room for the next, however many are stalled", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), (tunnels) => {
      const budget = new MemoryBudget(1_000_000);
      const held = new Array<number>(tunnels).fill(0);
      // Each takes one frame after the other while the rule lets it.
      for (let moved = true; moved;) {
        moved = false;
        for (const [at, own] of held.entries()) {
          if (own + 100 > budget.allowance) continue;
          budget.reserve(100);
          held[at] = own + 100;
          moved = true;
        }
      }
      const share = 1_000_000 / (tunnels + 1);
      assert.ok(Math.abs(budget.allowance - share) <= 100 * tunnels + 100);
      for (const own of held) assert.ok(Math.abs(own - share) <= 300);
    }),
    { numRuns: 30 },
  );
});

Deno.test("BudgetShare leaves a third to others, however many tunnels of one payer are stalled, and half to a tunnel that is alone", () => {
  const fill = (share: BudgetShare, tunnels: number): number[] => {
    const held = new Array<number>(tunnels).fill(0);
    for (let moved = true; moved;) {
      moved = false;
      for (const [at, own] of held.entries()) {
        if (own + 100 > share.allowance) continue;
        share.reserve(100);
        held[at] = own + 100;
        moved = true;
      }
    }
    return held;
  };
  const sum = (held: readonly number[]): number =>
    held.reduce((total, own) => total + own, 0);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), (tunnels) => {
      const whole = new MemoryBudget(3_000_000);
      const greedy = sum(fill(new BudgetShare(whole), tunnels));
      const modest = sum(fill(new BudgetShare(whole), 1));
      if (tunnels === 1) {
        assert.ok(Math.abs(greedy - 1_500_000) <= 200, `alone ${greedy}`);
      }
      assert.ok(greedy <= 2_000_000 + 100, `${greedy} of ${tunnels}`);
      assert.ok(modest >= 500_000 - 200, `${modest} beside ${tunnels}`);
      assert.equal(whole.used, greedy + modest);
    }),
    { numRuns: 30 },
  );
});

Deno.test("BudgetShare keeps something for each payer, however much others hold beyond what they may", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), (greedy) => {
      const whole = new MemoryBudget(1_000_000);
      const modest = new BudgetShare(whole);
      const all = Array.from({ length: greedy }, () => new BudgetShare(whole));
      // As when each of many tunnels holds the one frame that it always may.
      for (const share of all) share.reserve(2_000_000);
      const kept = 1_000_000 / (greedy + 2);
      assert.ok(Math.abs(modest.allowance - kept) < 1);
      for (const share of all) assert.equal(share.allowance, 0);
      modest.reserve(kept);
      assert.ok(modest.allowance < 1);
      // Those that are gone are no longer kept anything.
      modest.release(kept);
      for (const share of all) share[Symbol.dispose]();
      assert.equal(modest.allowance, 500_000);
    }),
  );
});

Deno.test("BudgetShare.release() gives back to the whole", () => {
  const whole = new MemoryBudget(100);
  const share = new BudgetShare(whole);
  share.reserve(40);
  assert.deepEqual([whole.used, share.allowance], [40, 60]);
  share.reserve(20);
  assert.deepEqual([whole.used, share.allowance], [60, 20]);
  share.release(60);
  assert.deepEqual([whole.used, share.allowance], [0, 100]);
});

Deno.test("BufferPool.acquire() gives back the slab of a view that was released", () => {
  const pool = new BufferPool();
  const slab = pool.acquire();
  assert.equal(slab.length, SLAB_BYTES);
  pool.release(slab.subarray(10, 20));
  const again = pool.acquire();
  assert.equal(again.buffer, slab.buffer);
  assert.equal(again.length, SLAB_BYTES);
  assert.notEqual(pool.acquire().buffer, slab.buffer);
});

Deno.test("BufferPool.release() leaves other arrays alone and keeps no more than 64", () => {
  const pool = new BufferPool();
  const small = new Uint8Array(100);
  pool.release(small);
  assert.notEqual(pool.acquire().buffer, small.buffer);
  const slabs = Array.from({ length: 80 }, () => new Uint8Array(SLAB_BYTES));
  for (const slab of slabs) pool.release(slab);
  const known = new Set<ArrayBufferLike>(slabs.map(({ buffer }) => buffer));
  const kept = slabs.map(() => pool.acquire())
    .filter(({ buffer }) => known.has(buffer));
  assert.equal(kept.length, 64);
  assert.equal(new Set(kept.map(({ buffer }) => buffer)).size, 64);
});
