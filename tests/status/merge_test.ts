import assert from "node:assert/strict";
import type { ServiceRow } from "../../lib/status/snapshot.ts";
import { emptyPart, merge, ofWorker } from "../../lib/status/merge.ts";
import {
  ending,
  NOON,
  part,
  PROCESS,
  snapshot,
  tunnel,
} from "../support/snapshots.ts";

Deno.test("merge() adds up what workers tell, slot by slot, place by place", () => {
  const way = { listen: "127.0.0.1:5432", target: "db:5432" };
  const web: ServiceRow = {
    ...{
      name: "web",
      target: "w:80",
      checked: true,
      up: false,
      why: "refused",
    },
    ...{ opened: 2, open: 1 },
  };
  const { why: _, ...good } = web;
  const one = part({
    total: { sent: 5, received: 7 },
    points: [{ at: 5_000, sent: 1, received: 2, tunnels: 3 }],
    ways: [{ ...way, open: 2 }],
    services: [web],
    endings: [ending({ at: NOON - 3 }), ending({ at: NOON - 1 })],
  }, [tunnel({ id: "a", ms: 10 })]);
  const other = part({
    total: { sent: 50, received: 70 },
    points: [
      { at: 0, sent: 4, received: 4, tunnels: 4 },
      { at: 5_000, sent: 10, received: 20, tunnels: 30 },
    ],
    ways: [{ ...way, open: 3 }, { listen: "unix:/x", target: "a:1", open: 0 }],
    services: [{ ...good, up: true }],
    endings: [ending({ at: NOON - 2 })],
  }, [tunnel({ id: "b", ms: 20 })]);
  const whole = snapshot([ofWorker(one, 1), ofWorker(other, 2)]);
  assert.deepEqual(whole.total, { sent: 55, received: 77 });
  assert.deepEqual(whole.points, [
    { at: 0, sent: 4, received: 4, tunnels: 4 },
    { at: 5_000, sent: 11, received: 22, tunnels: 33 },
  ]);
  assert.deepEqual(whole.ways.map(({ open }) => open), [5, 0]);
  assert.deepEqual(whole.services, [{ ...web, up: true, opened: 4, open: 2 }]);
  assert.deepEqual(
    whole.tunnels.rows.map(({ id, worker }) => [id, worker]),
    [["b", 2], ["a", 1]],
  );
  assert.equal(whole.tunnels.open, 2);
  assert.deepEqual(whole.links.map(({ worker }) => worker), [1, 2]);
  assert.deepEqual(
    whole.endings.map(({ at, worker }) => [NOON - at, worker]),
    [[1, 1], [2, 2], [3, 1]],
  );
});

Deno.test("merge() is ready while one worker is, and tells whom it has not heard of", () => {
  const down = emptyPart("not connected to NATS");
  assert.equal(snapshot([down, part()]).ready, true);
  const none = snapshot([down, down]);
  assert.deepEqual([none.ready, none.notReady], [
    false,
    "not connected to NATS",
  ]);
  assert.deepEqual(snapshot([]).notReady, "starting");
  const silent = merge(PROCESS, [part()], { at: NOON, silentWorkers: [2] });
  assert.deepEqual(silent.silentWorkers, [2]);
});

Deno.test("merge() has a bound for the rows of however many workers", () => {
  const many = part({
    endings: Array.from({ length: 100 }, () => ending()),
  }, Array.from({ length: 250 }, (_, at) => tunnel({ id: `${at}` })));
  const whole = snapshot([many, many, many]);
  assert.equal(whole.tunnels.rows.length, 250);
  assert.equal(whole.tunnels.open, 750);
  assert.equal(whole.endings.length, 100);
});
