/** Opens a second of each client. */
import assert from "node:assert/strict";
import { Rates } from "../../lib/server/rates.ts";

/** What becomes of `count` opens of `client` at one moment: how many of each verdict. */
function flood(
  rates: Rates,
  client: string,
  { count, now, rate = 10 }: {
    readonly count: number;
    readonly now: number;
    readonly rate?: number;
  },
): Record<string, number> {
  const verdicts: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const verdict = rates.ask(client, rate, now);
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
  }
  return verdicts;
}

Deno.test("Rates.ask() takes a client's rate, answers as many again, and drops the rest", () => {
  const rates = new Rates();
  assert.deepEqual(flood(rates, "a", { count: 100, now: 0 }), {
    take: 10,
    refuse: 10,
    drop: 80,
  });
  assert.deepEqual(flood(rates, "b", { count: 5, now: 0 }), { take: 5 });
  assert.deepEqual(flood(rates, "a", { count: 10, now: 500 }), {
    take: 5,
    refuse: 5,
  });
  assert.deepEqual(flood(rates, "a", { count: 10, now: 10_000 }), { take: 10 });
});

Deno.test("Rates.ask() goes by the rate that a client has now", () => {
  const rates = new Rates();
  flood(rates, "a", { count: 100, now: 0 });
  assert.deepEqual(flood(rates, "a", { count: 50, now: 1, rate: 30 }), {
    take: 30,
    refuse: 20,
  });
  assert.deepEqual(flood(rates, "a", { count: 5, now: 2, rate: 2 }), {
    take: 2,
    refuse: 2,
    drop: 1,
  });
  assert.equal(rates.size, 1);
});

Deno.test("Rates remembers a bounded number of clients, those first that have asked lately", () => {
  const rates = new Rates();
  flood(rates, "loud", { count: 20, now: 0 });
  for (let i = 0; i < 4_095; i++) rates.ask(`idle${i}`, 10, 0);
  assert.equal(rates.size, 4_096);
  // After a tenth of a second the others are as if they had never asked.
  rates.ask("new", 10, 100);
  assert.equal(rates.size, 2);
  assert.deepEqual(flood(rates, "loud", { count: 10, now: 100 }), {
    take: 1,
    refuse: 1,
    drop: 8,
  });
  for (let i = 0; i < 10_000; i++) rates.ask(`many${i}`, 10, 100);
  assert.equal(rates.size, 4_096);
});
