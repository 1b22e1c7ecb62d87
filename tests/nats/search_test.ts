/** When which broker is dialled, beside which others, and what becomes of those that are not first. */
import assert from "node:assert/strict";
import { type Broker, Brokers } from "../../lib/nats/brokers.ts";
import type { Greeted } from "../../lib/nats/greeting.ts";
import { Inbox } from "../../lib/nats/inbox.ts";
import { findBroker, type Found } from "../../lib/nats/search.ts";
import { parseBrokerInfo } from "../../lib/nats/server_info.ts";
import { Reserve } from "../../lib/net/descriptors.ts";
import { brokers as addresses } from "../support/brokers.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FewDescriptors } from "../support/few_descriptors.ts";
import { turn } from "../support/memory_bus.ts";

const INFO = parseBrokerInfo(new TextEncoder().encode("{}"));

/** Brokers that do what the test says, and a search among them. */
class Field {
  readonly clock = new FakeClock();
  readonly stop = new AbortController();
  readonly brokers: Brokers;
  /** What was dialled and how long after the start. */
  readonly log: string[] = [];
  /** Connections that are open. */
  readonly open = new Set<string>();
  readonly failures: string[] = [];
  /** Each dial takes one, which its connection keeps. */
  readonly descriptors = new FewDescriptors(100);
  readonly reserve = new Reserve(4, this.descriptors);
  /** Brokers that were dialled, by name. */
  readonly known = new Map<string, Broker>();
  /** Those that refuse each dial. */
  readonly refusing = new Set<string>();
  /** Those that greet by themselves, and how long after a dial began. */
  readonly greeting = new Map<string, number>();
  readonly #start = this.clock.now();
  readonly #dials = new Map<
    string,
    PromiseWithResolvers<Greeted> & { readonly descriptor: number }
  >();

  constructor(servers: readonly string[], random = 1) {
    this.brokers = new Brokers(addresses(...servers), () => random);
  }

  search(): Promise<Found> {
    return findBroker({
      brokers: this.brokers,
      greet: (broker, takeTurn, signal) => {
        const { name } = broker;
        this.known.set(name, broker);
        return takeTurn(
          { name, kind: "address" },
          (signal) => this.#greet(name, signal),
          signal,
        );
      },
      onFailed: ({ name }, error) =>
        void this.failures.push(`${name}: ${(error as Error).message}`),
      reserve: this.reserve,
      dialTimeout: 5_000,
      clock: this.clock,
      signal: this.stop.signal,
    });
  }

  /** Those that are being dialled. */
  get dialling(): string[] {
    return [...this.#dials.keys()];
  }

  async greet(name: string): Promise<void> {
    const dial = this.#dials.get(name);
    assert.ok(dial, `${name} is not dialled`);
    this.open.add(name);
    dial.resolve({
      socket: {
        read: () => Promise.resolve(null),
        write: () => Promise.resolve(0),
        [Symbol.dispose]: () => {
          this.open.delete(name);
          this.descriptors.free(dial.descriptor);
        },
      },
      inbox: new Inbox(),
      info: INFO,
      encrypted: false,
    });
    await turn();
  }

  async fail(name: string, error = new Error("refused")): Promise<void> {
    this.#dials.get(name)?.reject(error);
    await turn();
  }

  /** A good link to the first broker is lost. */
  loseLink(): void {
    const first = this.brokers.next(0, new Set());
    assert.ok(first);
    this.brokers.lost(first.broker);
  }

  /** Guests take all descriptors but `free`, and the reserve. */
  leave(free: number): void {
    this.descriptors.limit = this.descriptors.taken.size + free;
  }

  /** What a search has found by now. */
  async outcome(found: Promise<Found>): Promise<Found | undefined> {
    await turn();
    return await Promise.race([found, undefined]);
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, turn);
  }

  async #greet(name: string, signal: AbortSignal): Promise<Greeted> {
    this.log.push(`${name} ${this.clock.now() - this.#start}`);
    const descriptor = this.descriptors.take();
    assert.ok(descriptor !== undefined, "there is no descriptor for a dial");
    const dial = Promise.withResolvers<Greeted>();
    this.#dials.set(name, { ...dial, descriptor });
    if (this.refusing.has(name)) dial.reject(new Error("refused"));
    const delay = this.greeting.get(name);
    using greets = new DisposableStack();
    if (delay !== undefined) {
      greets.use(this.clock.after(delay, () => void this.greet(name)));
    }
    signal.addEventListener("abort", () => dial.reject(signal.reason));
    try {
      return await dial.promise;
    } catch (error) {
      this.descriptors.free(descriptor);
      throw error;
    } finally {
      this.#dials.delete(name);
    }
  }
}

Deno.test("findBroker() gives the first a head start, then dials the next beside it, and ends those that lose", async () => {
  const field = new Field(["a:1", "b:2", "c:3"]);
  const found = field.search();
  await field.wait(249);
  assert.deepEqual(field.log, ["a:1 0"]);
  await field.wait(251);
  assert.deepEqual(field.log, ["a:1 0", "b:2 250", "c:3 500"]);
  await field.greet("b:2");
  const { broker, deadline } = await found;
  assert.equal(broker.name, "b:2");
  assert.equal(deadline - field.clock.now(), 5_000 - 250);
  await turn();
  assert.deepEqual(field.dialling, []);
  assert.deepEqual([...field.open], ["b:2"]);
  assert.deepEqual(field.failures, [], "one that was overtaken has not failed");
  assert.equal(field.clock.timers, 0);
});

Deno.test("findBroker() closes what greets too late", async () => {
  const field = new Field(["a:1", "b:2"]);
  const found = field.search();
  await field.wait(250);
  // Both in one turn: the second had greeted before it could be ended.
  await Promise.all([field.greet("a:1"), field.greet("b:2")]);
  assert.equal((await found).broker.name, "a:1");
  assert.deepEqual([...field.open], ["a:1"]);
});

Deno.test("findBroker() goes on at once when one fails, and comes back to it", async () => {
  const field = new Field(["a:1", "b:2"]);
  const found = field.search();
  await field.fail("a:1");
  await field.fail("b:2");
  assert.deepEqual(field.log, ["a:1 0", "b:2 0"]);
  await field.wait(50);
  assert.deepEqual(field.log.slice(2), ["a:1 50"]);
  await field.fail("a:1");
  assert.deepEqual(field.log.slice(3), ["b:2 50"]);
  await field.greet("b:2");
  assert.equal((await found).broker.name, "b:2");
  assert.deepEqual(field.failures, [
    "a:1: refused",
    "b:2: refused",
    "a:1: refused",
  ]);
});

Deno.test("findBroker() comes back to a configured broker while announced ones stay silent", async () => {
  const field = new Field(["a:1"]);
  const first: Broker | undefined = field.brokers.next(0, new Set())?.broker;
  assert.ok(first);
  const names = Array.from({ length: 30 }, (_, i) => `silent-${i}:1`);
  field.brokers.discovered(names, first);
  const found = field.search();
  for (let i = 0; i < 12; i++) {
    await field.fail("a:1");
    await field.wait(250);
  }
  const again = field.log.filter((line) => line.startsWith("a:1"));
  assert.ok(again.length >= 5, field.log.join(", "));
  assert.equal(
    field.dialling.filter((name) => name !== "a:1").length,
    8,
    "announced ones do not take all the room",
  );
  await field.wait(2_000);
  await field.greet("a:1");
  assert.equal((await found).broker.name, "a:1");
  await turn();
  assert.deepEqual(field.dialling, []);
});

Deno.test("findBroker() dials so many at once and no more, and gives each its time", async () => {
  const field = new Field(Array.from({ length: 40 }, (_, i) => `b${i}:1`));
  const found = field.search();
  await field.wait(4_999);
  assert.equal(field.dialling.length, 16);
  await field.wait(1);
  assert.deepEqual(field.failures, ["b0:1: no answer within 5 s"]);
  assert.ok(field.dialling.includes("b16:1"));
  await field.greet("b16:1");
  assert.equal((await found).broker.name, "b16:1");
});

/** Names of `count` brokers that say nothing. */
function silent(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `b${i}:1`);
}

Deno.test("findBroker() dials no more at once than there are descriptors for, and ends the oldest for the next", async () => {
  const field = new Field(silent(6));
  const { descriptors, reserve } = field;
  const found = field.search();
  // For the first there were enough, until guests took them.
  descriptors.exhaust();
  await field.wait(999);
  assert.deepEqual(field.dialling, ["b0:1", "b1:1", "b2:1", "b3:1"]);
  assert.throws(() => reserve.check());
  await field.wait(251);
  assert.deepEqual(field.dialling, ["b2:1", "b3:1", "b4:1", "b5:1"]);
  await field.greet("b4:1");
  const { broker, deadline, socket } = await found;
  assert.equal(broker.name, "b4:1");
  assert.equal(deadline - field.clock.now(), 5_000 - 250);
  await turn();
  assert.deepEqual(field.failures, [], "one that has to wait has not failed");
  assert.equal(field.clock.timers, 0);
  reserve.check();
  assert.equal(descriptors.take(), undefined, "the reserve is not whole");
  socket[Symbol.dispose]();
  assert.notEqual(descriptors.take(), undefined);
});

/** How many descriptors are free beside the four of the reserve, or missing from it. */
for (const free of [-3, -2, 0, 1]) {
  for (const silence of ["refuses", "says nothing"]) {
    Deno.test(`findBroker() comes back soon to a broker that ${silence} for long, beside silent ones, with ${free} descriptors beside the reserve`, async () => {
      for (const away of [2_000, 30_000, 61_234]) {
        const field = new Field(["good:1", ...silent(12)]);
        field.leave(free);
        field.loseLink();
        if (silence === "refuses") field.refusing.add("good:1");
        const found = field.search();
        await field.wait(away);
        field.refusing.clear();
        field.greeting.set("good:1", 200);
        const own = silence === "refuses" ? 0 : 5_000;
        // Its own pause and head start, and the turns that others may have.
        await field.wait(own + 2_250 + (free < 0 ? 4_000 : 1_000));
        assert.equal((await field.outcome(found))?.broker.name, "good:1");
        await turn();
        assert.deepEqual(field.dialling, []);
        assert.equal(field.clock.timers, 0);
      }
    });
  }

  Deno.test(`findBroker() gives a slow broker its time beside silent ones and those that refuse, with ${free} descriptors beside the reserve`, async () => {
    for (const slow of [700, 1_500, 4_900]) {
      const refusing = ["r0:1", "r1:1", "r2:1"];
      const field = new Field([...silent(6), "slow:1", ...refusing]);
      field.leave(free);
      field.loseLink();
      for (const name of refusing) field.refusing.add(name);
      field.greeting.set("slow:1", slow);
      const found = field.search();
      await field.wait(300_000);
      const outcome = await field.outcome(found);
      assert.equal(outcome?.broker.name, "slow:1", `${slow} ms`);
    }
  });
}

Deno.test("findBroker() tells no failure of a broker for which there was no descriptor from the others", async () => {
  const field = new Field(["a:1", "b:2"]);
  const found = field.search();
  await field.wait(250);
  const [a, b] = ["a:1", "b:2"].map((name) => field.known.get(name));
  assert.ok(a && b);
  await field.fail("b:2", Object.assign(new Error("-"), { code: "EMFILE" }));
  assert.ok(!field.brokers.othersFailed(a));
  await field.fail("a:1");
  assert.ok(field.brokers.othersFailed(b));
  assert.match(field.failures[0] ?? "", /b:2: too few open files/);
  await field.wait(600);
  await field.fail("b:2");
  assert.ok(field.brokers.othersFailed(a));
  field.stop.abort();
  await assert.rejects(found);
});

Deno.test("findBroker() takes the silence of brokers that had only parts of their time for no failure, until they had all of it", async () => {
  const field = new Field(silent(8));
  field.leave(0);
  const found = field.search();
  while (new Set(field.failures).size < 8) await field.wait(100);
  const b0 = field.known.get("b0:1");
  assert.ok(b0);
  assert.ok(!field.brokers.othersFailed(b0));
  await field.wait(120_000);
  assert.ok(field.brokers.othersFailed(b0));
  field.stop.abort();
  await assert.rejects(found);
});

Deno.test("findBroker() ends with its signal, and leaves nothing behind", async () => {
  const field = new Field(["a:1", "b:2"]);
  const found = field.search();
  await field.wait(300);
  const reason = new Error("enough");
  field.stop.abort(reason);
  await assert.rejects(found, reason);
  await turn();
  assert.deepEqual(field.dialling, []);
  assert.deepEqual(field.failures, []);
  assert.equal(field.clock.timers, 0);
  await assert.rejects(field.search(), reason);
  assert.equal(field.log.length, 2, "none is dialled any more");
});
