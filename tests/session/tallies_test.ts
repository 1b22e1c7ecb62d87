/** Names that are counted apart: those of the configuration, and only so many. */
import assert from "node:assert/strict";
import { Counters, NO_STATS } from "../../lib/session/counters.ts";
import { MAX_TALLIES, OTHERS, Tallies } from "../../lib/session/tallies.ts";

/** The names that are shown. */
function namesOf(tallies: Tallies): string[] {
  return [...tallies].map(({ name }) => name);
}

Deno.test("Tallies counts names that it was told of, and no others", () => {
  const tallies = new Tallies();
  assert.equal(tallies.find("db"), undefined);
  tallies.keep(["db", "web", "db"]);
  assert.deepEqual(namesOf(tallies), ["db", "web"]);
  assert.equal(tallies.find("db")?.opened, 0);
  assert.equal(tallies.find("stranger"), undefined);
  assert.equal(tallies.find(undefined), undefined);
  assert.equal(tallies.find(OTHERS), undefined);
});

Deno.test("Tallies goes on with names that stay, and shows one that is gone until its tunnels end", () => {
  const tallies = new Tallies();
  tallies.keep(["db", "web"]);
  const [db, web] = [tallies.find("db"), tallies.find("web")];
  assert.ok(db && web);
  db.open = db.opened = 2;
  web.opened = 7;
  tallies.keep(["new"]);
  assert.deepEqual(namesOf(tallies), ["db", "new"]);
  assert.equal(tallies.find("db"), undefined);
  tallies.ended(db, { ...NO_STATS, bytesSent: 5 });
  assert.deepEqual([db.open, db.bytesSent], [1, 5]);
  // It is back before the last has ended.
  tallies.keep(["db", "new"]);
  tallies.ended(db, NO_STATS);
  assert.equal(tallies.find("db"), db);
  tallies.keep([]);
  assert.deepEqual(namesOf(tallies), []);
  // Nobody's any more.
  tallies.ended(db, NO_STATS);
  assert.equal(db.open, 0);
});

Deno.test("Tallies counts as one what there is no room for", () => {
  const names = Array.from({ length: MAX_TALLIES + 3 }, (_, at) => `n${at}`);
  const tallies = new Tallies();
  tallies.keep(names);
  assert.equal(namesOf(tallies).length, MAX_TALLIES + 1);
  const last = tallies.find(names.at(-1));
  assert.equal(last?.name, OTHERS);
  assert.equal(tallies.find(names[MAX_TALLIES]), last);
  assert.notEqual(tallies.find(names[MAX_TALLIES - 1]), last);
  tallies.keep(names.slice(0, 2));
  assert.deepEqual(namesOf(tallies), ["n0", "n1"]);
});

Deno.test("Counters counts a tunnel by way in, service and client, each where it is known", () => {
  const counters = new Counters();
  counters.forwards.keep(["6380"]);
  counters.clients.keep(["edge"]);
  const tallies = counters.begun({
    way: { label: "6380" },
    service: "unknown",
    client: "edge",
  });
  assert.deepEqual(tallies.map(({ name, open }) => [name, open]), [
    ["6380", 1],
    ["edge", 1],
  ]);
  counters.refused("denied", { client: "edge" });
  counters.refused("limit");
  counters.closed("ok", { ...NO_STATS, bytesSent: 3, bytesReceived: 4 }, {
    tallies,
    ms: 1_500,
  });
  const [forward] = counters.forwards;
  assert.deepEqual(forward, {
    ...{ name: "6380", open: 0, opened: 1, refused: 0 },
    ...{ bytesSent: 3, bytesReceived: 4 },
  });
  const [client] = counters.clients;
  assert.deepEqual([client?.refused, client?.bytesReceived], [1, 4]);
  assert.deepEqual([...counters.refusedByCode], [["denied", 1], ["limit", 1]]);
  assert.equal(counters.lives.sum, 1.5);
});
