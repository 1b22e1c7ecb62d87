/** What a thread keeps for those who come to look. */
import assert from "node:assert/strict";
import type { LinkEvent } from "../../lib/nats/bus.ts";
import type { Session } from "../../lib/session/session.ts";
import { Recent } from "../../lib/session/recent.ts";
import { SLOT_MS } from "../../lib/status/snapshot.ts";
import { Watch, type WatchedBus } from "../../lib/status/watch.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { tunnel } from "../support/snapshots.ts";

/** A link that the test makes come and go, and answer or not. */
class FakeBus implements WatchedBus {
  connected = true;
  readonly server = "n1:4222";
  pings = 0;
  answer = Promise.withResolvers<void>();
  #listener: (event: LinkEvent) => void = () => {};

  onLink(listener: (event: LinkEvent) => void): void {
    this.#listener = listener;
  }

  flush(): Promise<void> {
    this.pings++;
    return this.answer.promise;
  }

  stats(): { readonly reconnects: number } {
    return { reconnects: 3 };
  }

  say(event: LinkEvent): void {
    this.connected = event.type === "up";
    this.#listener(event);
  }
}

Deno.test("Watch samples the throughput each slot, whoever looks, and nothing else", async () => {
  const clock = new FakeClock();
  const bus = new FakeBus();
  using watch = new Watch({ clock, bus });
  let totals = 0;
  const session = {
    get totals() {
      totals++;
      return { bytesSent: totals * 100, bytesReceived: totals };
    },
    size: 2,
  };
  const looked = { session: session as unknown as Session, opening: 0 };
  watch.looked = looked;
  await clock.advance(10 * SLOT_MS);
  assert.equal(totals, 10);
  assert.equal(bus.pings, 0);
});

Deno.test("Watch tells tunnels, ways in and services with what is open by each, and times others know", async () => {
  const clock = new FakeClock();
  const bus = new FakeBus();
  bus.answer.resolve();
  using watch = new Watch({ clock, bus });
  const way = { label: "db" };
  const recent = new Recent();
  recent.ended({ at: clock.now() - 500, id: "x", target: "db:5432" });
  const infos = [{ way, service: "db" }, { way }, { service: "db" }, {}];
  const session: unknown = {
    totals: { bytesSent: 7, bytesReceived: 8 },
    ...{ size: 4, stalled: 1, allowed: 100, recent },
    views: (most: number) => [tunnel({ id: `at most ${most}` })],
    tally: (of: (info: unknown) => unknown) =>
      new Map(
        Map.groupBy(infos.map(of), (kind) => kind).entries()
          .map(([kind, all]) => [kind, all.length]),
      ),
  };
  watch.looked = {
    session: session as Session,
    opening: 2,
    serviceViews: [{
      ...{ name: "db", target: "db:5432", checked: false, up: true, opened: 9 },
    }],
  };
  watch.ways = () => [{ way, listen: "127.0.0.1:1", target: "db:5432" }];
  const part = await watch.look(undefined);
  assert.deepEqual(part.tunnels, {
    ...{ open: 4, opening: 2, stalled: 1, allowed: 100 },
    rows: [tunnel({ id: "at most 250" })],
  });
  assert.deepEqual(part.total, { sent: 7, received: 8 });
  assert.deepEqual(part.ways.map(({ open }) => open), [2]);
  assert.deepEqual(part.services.map(({ open }) => open), [2]);
  assert.deepEqual(part.endings.map(({ at }) => clock.wallTime() - at), [500]);
  assert.equal(part.notReady, undefined);
});

Deno.test("Watch times the broker while somebody looks, once a second, and waits for no answer", async () => {
  const clock = new FakeClock();
  const bus = new FakeBus();
  using watch = new Watch({ clock, bus });
  const looking = watch.look(undefined);
  await clock.advance(40);
  bus.answer.resolve();
  assert.equal((await looking).link?.roundTrip, 40);
  await watch.look(undefined);
  assert.equal(bus.pings, 1);
  bus.answer = Promise.withResolvers();
  await clock.advance(1_000);
  const stalled = watch.look(undefined);
  await clock.advance(250);
  assert.equal((await stalled).link?.roundTrip, 40, "the last one");
  await clock.advance(5_000);
  const late = watch.look(undefined);
  await clock.advance(250);
  assert.equal((await late).link?.roundTrip, undefined);
  assert.equal(bus.pings, 2, "one at a time");
  bus.answer.reject(new Error("lost"));
  bus.say({ type: "down", reason: "gone" });
  assert.equal((await watch.look("not connected")).link?.connected, false);
  assert.equal(bus.pings, 2);
});

Deno.test("Watch keeps the outages of its link, and nothing once it has ended", async () => {
  const clock = new FakeClock();
  const bus = new FakeBus();
  bus.answer.resolve();
  const watch = new Watch({ clock, bus });
  const from = clock.wallTime();
  bus.say({ type: "down", reason: "it went away" });
  await clock.advance(2_000);
  bus.say({ type: "up", server: "n1:4222" });
  const { link } = await watch.look("starting");
  assert.deepEqual(link?.outages, [
    { from, to: from + 2_000, why: "it went away" },
  ]);
  assert.equal(link?.reconnects, 3);
  watch[Symbol.dispose]();
  assert.equal(clock.timers, 0);
});
