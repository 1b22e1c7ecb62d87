import assert from "node:assert/strict";
import type { BrokerAddress } from "../../lib/base/broker_address.ts";
import type { NatsBus, NatsStats } from "../../lib/nats/connection.ts";
import { ExpressBus } from "../../lib/nats/express.ts";
import { captureLog } from "../support/capture_log.ts";
import { MemoryBroker, MemoryBus, turn } from "../support/memory_bus.ts";

const MAIN = {
  subject: "to.me.>",
  split: { ordinary: "to.me.*", express: "to.me.*.X" },
};

/** One connection to a broker in memory, as the real ones are seen. */
class Connection extends MemoryBus implements NatsBus {
  readonly server = "memory";
  readonly broker: BrokerAddress = { host: "memory", port: 4222 };
  readonly unconfirmed = undefined;
  readonly brokerVersion = "2.9.10";
  /** What a flush waits for, if anything. */
  held: Promise<void> | undefined;

  stats(): NatsStats {
    return {
      ...{ messagesIn: 0, bytesIn: 0, dropped: 0, messagesOut: 1, bytesOut: 2 },
      ...{ congestions: 0, congestedMs: 0, reconnects: 0, downMs: 0 },
    };
  }

  override async flush(): Promise<void> {
    await this.held;
    await super.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A bus with a first connection, and those that it opens beside it. */
class Bench {
  readonly broker = new MemoryBroker();
  readonly main = new Connection(this.broker);
  readonly opened: Connection[] = [];
  /** What the next one's flush waits for. */
  held: Promise<void> | undefined;
  refusal: Error | undefined;
  readonly bus = new ExpressBus(this.main, () => {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    const connection = new Connection(this.broker);
    connection.held = this.held;
    this.opened.push(connection);
    return Promise.resolve(connection);
  });
  readonly other = new Connection(this.broker);
  readonly heard: string[] = [];

  constructor() {
    this.bus.subscribe(
      MAIN.subject,
      ({ subject }) => void this.heard.push(subject),
      { split: MAIN.split },
    );
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 5; i++) {
      await turn();
      await this.broker.settled();
    }
  }

  /** What is heard of one ordinary and one express message. */
  async hear(): Promise<readonly string[]> {
    this.heard.length = 0;
    const empty = { byteLength: 0, encodeInto: () => {} };
    for (const subject of ["to.me.1", "to.me.1.X"]) {
      this.other.publish(subject, empty);
    }
    await this.settle();
    return this.heard.toSorted();
  }
}

const BOTH = ["to.me.1", "to.me.1.X"];

Deno.test("ExpressBus hears all once: by one connection, by two, and by one again", async () => {
  using _log = captureLog();
  const bench = new Bench();
  assert.deepEqual(await bench.hear(), BOTH);
  bench.bus.wantExpress(true);
  bench.bus.wantExpress(true);
  await bench.settle();
  assert.equal(bench.opened.length, 1);
  assert.deepEqual(await bench.hear(), BOTH);
  assert.equal(bench.broker.subscriptions, 2);
  bench.bus.wantExpress(false);
  await bench.settle();
  assert.deepEqual(await bench.hear(), BOTH);
  assert.equal(bench.broker.subscriptions, 1);
  assert.ok(!bench.opened[0]?.connected);
});

Deno.test("ExpressBus publishes what is express by the second connection while there is one", async () => {
  using _log = captureLog();
  const bench = new Bench();
  const from: unknown[] = [];
  bench.broker.filter = (message) => {
    from.push(message.from);
    return true;
  };
  const empty = { byteLength: 0, encodeInto: () => {} };
  const publish = (): void => {
    for (const lane of ["data", "express"] as const) {
      bench.bus.publish("to.other", empty, { lane });
    }
  };
  publish();
  bench.bus.wantExpress(true);
  await bench.settle();
  publish();
  const [second] = bench.opened;
  assert.deepEqual(from, [bench.main, bench.main, bench.main, second]);
  assert.equal(bench.bus.stats().messagesOut, 2);
  second?.cut();
  await bench.settle();
  assert.equal(bench.bus.stats().messagesOut, 2, "none is forgotten");
  await bench.bus.close();
});

Deno.test("ExpressBus tells that what was express is lost, and that there is room", async () => {
  using _log = captureLog();
  const bench = new Bench();
  const events: string[] = [];
  bench.bus.onLink(({ type }) => void events.push(type));
  bench.bus.onDrain(() => void events.push("drain"));
  bench.bus.wantExpress(true);
  await bench.settle();
  assert.deepEqual(events.splice(0), ["drain"]);
  bench.opened[0]?.cut();
  assert.deepEqual(events.splice(0), ["express-lost", "drain"]);
  assert.deepEqual(await bench.hear(), BOTH);
  await bench.bus.close();
  await bench.settle();
  assert.deepEqual(events, ["closed"]);
});

Deno.test("ExpressBus: a second connection that never answers is left with the link, and the next is heard", async () => {
  using _log = captureLog();
  const bench = new Bench();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.held = promise;
  bench.bus.wantExpress(true);
  await bench.settle();
  bench.main.cut();
  bench.main.restore();
  bench.held = undefined;
  bench.bus.wantExpress(true);
  await bench.settle();
  assert.equal(bench.opened.length, 2);
  assert.ok(!bench.opened[0]?.connected);
  assert.deepEqual(await bench.hear(), BOTH);
  resolve();
  await bench.settle();
  assert.deepEqual(await bench.hear(), BOTH);
  assert.equal(bench.broker.subscriptions, 2);
  assert.ok(bench.opened[1]?.connected);
  await bench.bus.close();
});

Deno.test("ExpressBus goes on with one connection where a second is refused, and closes", async () => {
  using log = captureLog();
  const bench = new Bench();
  bench.refusal = new Error("maximum account connections exceeded");
  bench.bus.wantExpress(true);
  await bench.settle();
  assert.deepEqual(await bench.hear(), BOTH);
  const told = log.records.map(({ properties }) => properties.why);
  assert.deepEqual(told, ["maximum account connections exceeded"]);
  await bench.bus.close(); // or its timer would keep the test
});

Deno.test("ExpressBus: who listens to one that has ended is told at once", async () => {
  const bench = new Bench();
  await bench.bus.close();
  const events: string[] = [];
  bench.bus.onLink(({ type }) => void events.push(type));
  assert.deepEqual(events, ["closed"]);
});
