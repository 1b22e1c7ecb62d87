/** Rings, slots of throughput, outages, and rates between two looks. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Recent, Ring } from "../../lib/session/recent.ts";
import { Outages } from "../../lib/status/outages.ts";
import { Rates } from "../../lib/status/rates.ts";
import {
  type Flow,
  MAX_POINTS,
  SLOT_MS,
  type Snapshot,
} from "../../lib/status/snapshot.ts";
import { grown, Throughput } from "../../lib/status/throughput.ts";
import { part, snapshot, tunnel } from "../support/snapshots.ts";

Deno.test("Ring keeps the last of what is added, in order", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 8 }),
    fc.array(fc.integer(), { maxLength: 30 }),
    (most, added) => {
      const ring = new Ring<number>(most);
      for (const one of added) ring.add(one);
      assert.deepEqual(ring.items, added.slice(-most));
    },
  ));
});

Deno.test("Recent keeps ends and refusals apart, and cuts what others wrote", () => {
  const recent = new Recent();
  const reason = { code: "refused", text: "x".repeat(10_000) } as const;
  recent.ended({ at: 1, id: "a", target: "t:1" });
  for (let at = 2; at < 200; at++) {
    recent.refused({ at, target: "y".repeat(10_000) }, { by: "peer", reason });
  }
  const [last, ...others] = recent.endings;
  assert.ok(last !== undefined && others.length === 50);
  assert.deepEqual([last.at, last.code, last.byPeer], [199, "refused", true]);
  assert.equal(last.why?.length, 200);
  assert.equal(last.target?.length, 200);
  const first = recent.endings.at(-1);
  assert.deepEqual([first?.kind, first?.code, first?.why], [
    "end",
    "ok",
    undefined,
  ]);
});

/** Samples at the begin of each slot, give or take what a timer is late. */
function sampled(
  totals: readonly number[],
  late: readonly number[] = [],
): { readonly throughput: Throughput; readonly end: number } {
  const throughput = new Throughput();
  let end = 0;
  totals.forEach((sent, at) => {
    end = (at + 1000) * SLOT_MS + (late[at] ?? 0);
    const total = { sent, received: 2 * sent };
    throughput.sample({ total, tunnels: at, wallTime: end });
  });
  return { throughput, end };
}

Deno.test("Throughput has what went through in each slot, however late its timer", () => {
  fc.assert(fc.property(
    fc.array(fc.nat(1_000_000), { minLength: 1, maxLength: 300 }),
    fc.array(fc.integer({ min: -20, max: 2_000 }), { maxLength: 300 }),
    (flows, late) => {
      let sum = 0;
      const totals = flows.map((flow) => sum += flow);
      const { throughput, end } = sampled(totals, late);
      const points = throughput.points(end);
      assert.deepEqual(
        points.map(({ sent }) => sent),
        flows.slice(-MAX_POINTS),
      );
      assert.deepEqual(
        points.map(({ received }) => received),
        flows.slice(-MAX_POINTS).map((flow) => 2 * flow),
      );
      for (const { at } of points) assert.equal(at % SLOT_MS, 0);
      assert.ok(end - (points[0]?.at ?? 0) <= (MAX_POINTS + 1) * SLOT_MS);
    },
  ));
});

Deno.test("Throughput forgets what is older than it tells, and counts that begin anew", () => {
  const { throughput, end } = sampled([100, 30]);
  assert.deepEqual(throughput.points(end).map(({ sent }) => sent), [100, 30]);
  assert.deepEqual(throughput.points(end + MAX_POINTS * SLOT_MS).length, 1);
  assert.deepEqual(throughput.points(end + 2 * MAX_POINTS * SLOT_MS), []);
  assert.equal(grown(5, 7), 2);
  assert.equal(grown(7, 5), 5);
});

Deno.test("Throughput waits for the next slot, and takes none twice", () => {
  assert.equal(Throughput.untilNext(12 * SLOT_MS), SLOT_MS);
  assert.equal(Throughput.untilNext(12 * SLOT_MS + 1), SLOT_MS - 1);
  const { throughput, end } = sampled([10]);
  const total = { sent: 15, received: 0 };
  // A timer that was early is set again, for a moment later.
  throughput.sample({ total, tunnels: 0, wallTime: end + 2 });
  throughput.sample({ total, tunnels: 0, wallTime: end + SLOT_MS });
  assert.deepEqual(throughput.points(end + SLOT_MS).map(({ sent }) => sent), [
    10,
    5,
  ]);
});

Deno.test("Outages of the last hour, the one that lasts too, and no more than so many", () => {
  const outages = new Outages();
  outages.up(500);
  outages.down(1_000, "first");
  outages.down(1_500, "still the first");
  outages.up(2_000);
  outages.down(3_000, "w".repeat(1_000));
  const [one, other, ...none] = outages.since(4_000);
  assert.deepEqual(one, { from: 1_000, to: 2_000, why: "first" });
  assert.deepEqual([other?.from, other?.to, other?.why.length], [
    3_000,
    undefined,
    200,
  ]);
  assert.deepEqual(none, []);
  assert.deepEqual(outages.since(2_000 + 3_600_000).length, 1);
  for (let at = 4_000; at < 4_400; at += 2) {
    outages.up(at);
    outages.down(at + 1, "flaps");
  }
  assert.equal(outages.since(5_000).length, 60);
});

/** A look at `at` ms at tunnels that have sent so much, open for as long as it says. */
function look(
  at: number,
  sent: Readonly<Record<string, number>>,
  ms = 60_000,
): Snapshot {
  const rows = Object.entries(sent).map(([id, sent]) =>
    tunnel({ id, sent, received: 0, ms })
  );
  const total = { sent: rows.reduce((sum, row) => sum + row.sent, 0) };
  return {
    ...snapshot([part({ total: { ...total, received: 0 } }, rows)]),
    at,
  };
}

function ratesOf({ tunnels: { rows } }: Snapshot): (Flow | undefined)[] {
  return rows.map(({ rate }) => rate);
}

Deno.test("Rates are those since the look before, and none at the first", () => {
  const rates = new Rates();
  const first = rates.of(look(10_000, { a: 100 }));
  assert.equal(first.rate, undefined);
  assert.deepEqual(ratesOf(first), [undefined]);
  const second = rates.of(look(12_000, { a: 300, b: 50 }));
  assert.deepEqual(second.rate, { sent: 125, received: 0 });
  // One that was not told before, as there were too many, has none yet.
  assert.deepEqual(ratesOf(second), [{ sent: 100, received: 0 }, undefined]);
  const opened = rates.of(look(13_000, { c: 500 }, 1_000));
  assert.deepEqual(ratesOf(opened), [{ sent: 500, received: 0 }]);
});

Deno.test("Rates of a look that follows another at once are those since the one before", () => {
  const rates = new Rates();
  rates.of(look(10_000, { a: 0 }));
  rates.of(look(11_000, { a: 1_000 }));
  const near = rates.of(look(11_010, { a: 1_010 }));
  assert.deepEqual(near.rate, { sent: 1_000, received: 0 });
  const next = rates.of(look(12_000, { a: 3_000 }));
  assert.deepEqual(next.rate, { sent: 2_000, received: 0 });
});

Deno.test("Rates say nothing after a long time, and nothing when the clock went back", () => {
  const rates = new Rates();
  rates.of(look(10_000, { a: 0 }));
  assert.equal(rates.of(look(80_000, { a: 5 })).rate, undefined);
  assert.equal(rates.of(look(20_000, { a: 6 })).rate, undefined);
  assert.deepEqual(rates.of(look(21_000, { a: 7 })).rate?.sent, 1);
});
