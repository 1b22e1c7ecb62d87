/** Dials under way, and who has to give one up. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { TunnelError } from "../../lib/base/errors.ts";
import { Dials } from "../../lib/server/dials.ts";
import { Counters } from "../../lib/session/counters.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** Dials, none of which is under way. */
function newDials(): Dials {
  return new Dials({ clock: new FakeClock(), times: new Counters().dials });
}

Deno.test("Dials.makeRoom() gives up the oldest dial of whoever has most", () => {
  const dials = newDials();
  const first = dials.begin("a1", "greedy");
  const others = ["a2", "a3"].map((id) => dials.begin(id, "greedy"));
  dials.begin("b1", "modest");
  assert.ok(dials.makeRoom("new"));
  assert.ok(first.signal.reason instanceof TunnelError);
  assert.equal(first.signal.reason.code, "limit");
  assert.ok(!dials.has("a1"));
  assert.deepEqual([dials.size, dials.countOf("greedy")], [3, 2]);
  assert.deepEqual(others.map(({ signal }) => signal.aborted), [false, false]);
  // It ends later, on its own; that must not count twice.
  first[Symbol.dispose]();
  assert.deepEqual([dials.size, dials.countOf("greedy")], [3, 2]);
});

Deno.test("Dials.makeRoom() takes from nobody who would have fewer then", () => {
  const dials = newDials();
  assert.ok(!dials.makeRoom("a"));
  dials.begin("a1", "a");
  dials.begin("b1", "b");
  assert.ok(!dials.makeRoom("a"));
  assert.ok(!dials.makeRoom("c"));
  dials.begin("b2", "b");
  assert.ok(!dials.makeRoom("a"));
  assert.ok(dials.makeRoom("c"));
});

Deno.test("Dials.abort() gives all up, with the reason", () => {
  const dials = newDials();
  const begun = [dials.begin("a1", "a"), dials.begin("b1", "b")];
  const reason = new TunnelError("draining", "about to stop");
  dials.abort(reason);
  assert.deepEqual(begun.map(({ signal }) => signal.reason), [reason, reason]);
  assert.equal(dials.size, 0);
});

Deno.test("Dials comes to equal parts where all want more, and counts what is there", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.boolean()), {
        maxLength: 300,
      }),
      (events) => {
        const dials = newDials();
        const room = 20;
        const living = new Map<string, { payer: string; end: () => void }>();
        for (const [at, [who, ends]] of events.entries()) {
          const payer = `p${who}`;
          const oldest = [...living].find(([, dial]) => dial.payer === payer);
          if (ends && oldest !== undefined) {
            oldest[1].end();
            living.delete(oldest[0]);
            continue;
          }
          if (dials.size >= room && !dials.makeRoom(payer)) {
            const mine = dials.countOf(payer);
            for (let other = 0; other < 5; other++) {
              assert.ok(dials.countOf(`p${other}`) <= mine + 1);
            }
            continue;
          }
          const id = `t${at}`;
          const dial = dials.begin(id, payer);
          dial.signal.addEventListener("abort", () => living.delete(id));
          living.set(id, { payer, end: () => dial[Symbol.dispose]() });
        }
        assert.equal(dials.size, living.size);
        assert.ok(dials.size <= room);
        for (const id of living.keys()) assert.ok(dials.has(id));
        for (const { end } of living.values()) end();
        assert.equal(dials.size, 0);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("Dials times each, and by whether it led to a connection", async () => {
  const clock = new FakeClock();
  const { dials: times } = new Counters();
  const dials = new Dials({ clock, times });
  const good = dials.begin("a1", "a");
  const bad = dials.begin("a2", "a");
  await clock.advance(40);
  good.succeeded();
  good[Symbol.dispose]();
  good[Symbol.dispose](); // it does not count twice
  await clock.advance(60);
  bad[Symbol.dispose]();
  assert.deepEqual([times.ok.sum, times.failed.sum], [0.04, 0.1]);
  assert.deepEqual(
    [times.ok, times.failed].map(({ cumulative }) => cumulative.at(-1)),
    [1, 1],
  );
});
