/** The bus on real nats-servers: every byte, every fault it must survive. */
import assert from "node:assert/strict";
import type { Bus, BusMessage } from "../lib/nats/bus.ts";
import { connectNats, type NatsBus } from "../lib/nats/connection.ts";
import type { NatsOptions } from "../lib/nats/options.ts";
import { Secret } from "../lib/base/credentials.ts";
import { brokers } from "../tests/support/brokers.ts";
import {
  BATCH_BYTES,
  HIGH_WATER_BYTES,
  LOW_WATER_BYTES,
} from "../lib/nats/outbox.ts";
import { READ_BYTES } from "../lib/nats/inbox.ts";
import { LinkLog, payload } from "../tests/support/link_log.ts";
import { RechunkRelay } from "../tests/support/rechunk_relay.ts";
import { Changes } from "./support/changes.ts";
import { startFaultRelay } from "./support/fault_relay.ts";
import { ByteSource } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsCluster, startNatsServer } from "./support/nats_server.ts";

/** Longer than any test: no ping disturbs what is being looked at. */
const NEVER = 3_600_000;

function connect(
  url: string,
  options: Partial<NatsOptions> = {},
): Promise<NatsBus> {
  return connectNats({
    servers: brokers(url),
    pingInterval: NEVER,
    connectTimeout: 60_000,
    ...options,
  });
}

/** `size` bytes that differ from those of every other size. */
function bytes(size: number): Uint8Array {
  return new ByteSource(size, size).rest();
}

/** Collects what a subject gets. */
class Inbox {
  readonly messages: { subject: string; data: Uint8Array; status: number }[] =
    [];
  readonly #changes = new Changes();

  constructor(bus: Bus, subject: string, options?: { readonly queue: string }) {
    bus.subscribe(subject, (message) => this.#add(message), options);
  }

  #add({ subject, data, status }: BusMessage): void {
    this.messages.push({ subject, data: data.slice(), status });
    this.#changes.notify();
  }

  /** Waits until `count` messages have come. */
  async until(count: number): Promise<void> {
    await this.#changes.until(() => this.messages.length >= count);
  }
}

/** Sizes at which something could change hands: buffers, batches, maxima. */
function* edgeSizes(maxPayload: number): Generator<number> {
  for (let size = 0; size < 70; size++) yield size;
  const edges = [
    1024,
    16 * 1024,
    64 * 1024,
    BATCH_BYTES,
    READ_BYTES,
    BATCH_BYTES + READ_BYTES,
  ];
  for (const edge of edges) {
    for (const around of [-100, -50, -2, -1, 0, 1, 2, 50]) {
      const size = edge + around;
      if (size <= maxPayload) yield size;
    }
  }
  yield maxPayload - 1;
  yield maxPayload;
}

integrationTest(
  "publish() delivers every size byte for byte, however the stream is cut",
  async () => {
    await using server = await startNatsServer();
    // sfc32 bytes as the source of chance: the same cuts in each run.
    const chance = new ByteSource(7, 100_000_000);
    const cut = (): number => {
      const [a = 0, b = 0] = chance.next(2);
      return a < 8 ? 1 + (b & 3) : 1 + ((a << 8) | b) % 5000;
    };
    await using up = new RechunkRelay(server.port, { nextSize: cut });
    await using down = new RechunkRelay(server.port, { nextSize: cut });
    await using publisher = await connect(`nats://127.0.0.1:${up.port}`);
    await using subscriber = await connect(`nats://127.0.0.1:${down.port}`);
    const inbox = new Inbox(subscriber, "sizes.*");
    await subscriber.flush();
    const sizes = [...edgeSizes(publisher.maxPayload)];
    for (const size of sizes) {
      assert.ok(publisher.publish(`sizes.${size}`, payload(bytes(size))));
    }
    await inbox.until(sizes.length);
    for (const [i, size] of sizes.entries()) {
      const message = inbox.messages[i];
      const expected = bytes(size);
      assert.equal(message?.subject, `sizes.${size}`);
      assert.ok(
        message.data.length === size &&
          message.data.every((b, j) => b === expected[j]),
        `message of ${size} bytes`,
      );
    }
  },
);

integrationTest("publish() carries headers and a reply subject", async () => {
  await using server = await startNatsServer();
  await using bus = await connect(server.url);
  const seen = Promise.withResolvers<(string | undefined)[]>();
  bus.subscribe("with.headers", (message) => {
    seen.resolve([
      message.reply,
      message.header("remote_host"),
      message.header("REMOTE_PORT"),
      message.header("none"),
      new TextDecoder().decode(message.data),
      new TextDecoder().decode(message.subjectBytes),
    ]);
  });
  bus.publish("with.headers", payload("body"), {
    reply: "answer.here",
    headers: [["remote_host", "h\u00fc"], ["remote_port", "80"]],
  });
  assert.deepEqual(await seen.promise, [
    "answer.here",
    "h\u00fc",
    "80",
    undefined,
    "body",
    "with.headers",
  ]);
});

integrationTest(
  "publish() with a reply gets a message of status 503 when nobody listens",
  async () => {
    await using server = await startNatsServer();
    await using bus = await connect(server.url);
    const inbox = new Inbox(bus, "answers");
    bus.publish("nobody.there", payload("x"), { reply: "answers" });
    await inbox.until(1);
    assert.equal(inbox.messages[0]?.status, 503);
    assert.equal(inbox.messages[0]?.data.length, 0);
  },
);

integrationTest("subscribe() with a queue shares the messages", async () => {
  await using server = await startNatsServer();
  await using a = await connect(server.url);
  await using b = await connect(server.url);
  const changes = new Changes();
  const counts = { a: 0, b: 0 };
  a.subscribe("work", () => {
    counts.a++;
    changes.notify();
  }, { queue: "q" });
  b.subscribe("work", () => {
    counts.b++;
    changes.notify();
  }, { queue: "q" });
  await Promise.all([a.flush(), b.flush()]);
  for (let i = 0; i < 200; i++) a.publish("work", payload("x"));
  await changes.until(() => counts.a + counts.b >= 200);
  await Promise.all([a.flush(), b.flush()]);
  assert.equal(counts.a + counts.b, 200);
  assert.ok(counts.a > 0 && counts.b > 0, JSON.stringify(counts));
});

integrationTest("a closed bus leaves nothing at the broker", async () => {
  await using server = await startNatsServer();
  const bus = await connect(server.url);
  const gone = bus.subscribe("a", () => {});
  bus.subscribe("b", () => {}, { queue: "q" });
  gone[Symbol.dispose]();
  await bus.flush();
  assert.equal(await server.subscriptions(), 1);
  await bus.close();
  while (await server.connections() > 0);
});

integrationTest(
  "producers that heed congestion hold little while the broker stands still, and lose nothing",
  async () => {
    await using server = await startNatsServer();
    await using publisher = await connect(server.url);
    await using subscriber = await connect(server.url);
    const size = 16 * 1024;
    const count = 4000;
    let received = 0;
    const changes = new Changes();
    subscriber.subscribe("bulk", ({ data }) => {
      assert.equal(data.length, size);
      received++;
      changes.notify();
    });
    await subscriber.flush();
    let most = 0;
    let blocked = false;
    publisher.onDrain(() => {
      assert.ok(publisher.pendingBytes <= LOW_WATER_BYTES);
      assert.equal(publisher.congested, false);
      blocked = false;
      changes.notify();
    });
    const produce = async (): Promise<void> => {
      const message = payload(bytes(size));
      for (let i = 0; i < count; i++) {
        publisher.publish("bulk", message);
        most = Math.max(most, publisher.pendingBytes);
        if (publisher.congested) {
          blocked = true;
          changes.notify();
          await changes.until(() => !blocked);
        }
      }
    };
    server.pause();
    const produced = produce();
    await changes.until(() => blocked);
    assert.equal(publisher.connected, true);
    server.resume();
    await produced;
    await changes.until(() => received === count);
    assert.ok(most < HIGH_WATER_BYTES + size + 100, `${most} bytes pending`);
    assert.ok(most >= HIGH_WATER_BYTES, `only ${most} bytes pending`);
    await publisher.flush();
    assert.equal(publisher.pendingBytes, 0);
  },
);

integrationTest("control overtakes data that is still queued", async () => {
  await using server = await startNatsServer();
  await using publisher = await connect(server.url);
  await using subscriber = await connect(server.url);
  const inbox = new Inbox(subscriber, "lane.*");
  await subscriber.flush();
  server.pause();
  // More than the sockets in between can hold, so that megabytes are queued.
  const count = 2000;
  for (let i = 0; i < count; i++) {
    publisher.publish("lane.data", payload(bytes(16 * 1024)));
  }
  assert.ok(publisher.congested);
  publisher.publish("lane.control", payload("first"), { lane: "control" });
  publisher.publish("lane.control", payload("second"), { lane: "control" });
  server.resume();
  await inbox.until(count + 2);
  const order = inbox.messages.map(({ subject }) => subject);
  const at = order.indexOf("lane.control");
  assert.equal(order[at + 1], "lane.control");
  assert.ok(at < count / 2, `control came after ${at} of ${count}`);
  assert.equal(order.filter((s) => s === "lane.data").length, count);
});

integrationTest(
  "a broker killed and restarted is one down and one up, and subscriptions work again",
  async () => {
    await using server = await startNatsServer();
    await using bus = await connect(server.url);
    const log = new LinkLog(bus);
    const inbox = new Inbox(bus, "a.*");
    for (let round = 1; round <= 3; round++) {
      bus.publish("a.before", payload("x"));
      await bus.flush();
      await server.kill();
      await log.until(2 * round - 1);
      assert.equal(bus.connected, false);
      assert.equal(bus.publish("a.lost", payload("x")), false);
      assert.equal(bus.pendingBytes, 0);
      await server.restart();
      await log.until(2 * round);
      assert.equal(bus.connected, true);
      assert.equal(bus.publish("a.after", payload("x")), true);
      await bus.flush();
      assert.equal(bus.stats().reconnects, round);
    }
    assert.deepEqual(
      log.types,
      ["down", "up", "down", "up", "down", "up"],
    );
    assert.deepEqual(
      inbox.messages.map(({ subject }) => subject),
      ["a.before", "a.after", "a.before", "a.after", "a.before", "a.after"],
    );
  },
);

integrationTest(
  "a broker that stands still is noticed, and found again",
  async () => {
    await using server = await startNatsServer();
    await using bus = await connect(server.url, {
      pingInterval: 500,
      dialTimeout: 500,
    });
    const log = new LinkLog(bus);
    server.pause();
    await log.until(1);
    assert.deepEqual(log.events, [{
      type: "down",
      reason: `NATS at 127.0.0.1:${server.port}: it answers no pings`,
    }]);
    server.resume();
    await log.until(2);
    assert.equal(log.types[1], "up");
  },
);

integrationTest(
  "a broker that stands still amid bulk is noticed, and what is queued is dropped",
  async () => {
    await using server = await startNatsServer();
    await using bus = await connect(server.url, {
      pingInterval: 500,
      dialTimeout: 500,
    });
    const log = new LinkLog(bus);
    let drains = 0;
    bus.onDrain(() => {
      assert.equal(bus.congested, false);
      drains++;
    });
    server.pause();
    const message = payload(bytes(16 * 1024));
    // 55 MiB: more than the sockets in between can hold, so nothing drains.
    for (let i = 0; i < 3500; i++) bus.publish("bulk", message);
    assert.ok(bus.congested);
    await log.until(1);
    assert.equal(bus.pendingBytes, 0);
    assert.equal(bus.congested, false);
    server.resume();
    await log.until(2);
    await bus.flush();
    assert.deepEqual(log.types, ["down", "up"]);
    // So that whoever waits for room learns that there is nothing to wait for.
    assert.equal(drains, 1);
  },
);

integrationTest(
  "a broker that shuts down in order is lost like any other",
  async () => {
    await using server = await startNatsServer();
    await using bus = await connect(server.url);
    const log = new LinkLog(bus);
    await server.stop();
    await log.until(1);
    await server.restart();
    await log.until(2);
    assert.deepEqual(log.types, ["down", "up"]);
  },
);

integrationTest(
  "cuts anywhere in the stream never leave the link in doubt",
  async () => {
    await using server = await startNatsServer();
    await using relay = startFaultRelay({
      hostname: "127.0.0.1",
      port: server.port,
    });
    await using bus = await connect(relay.url, { random: () => 0 });
    const log = new LinkLog(bus);
    const inbox = new Inbox(bus, "echo.*");
    const chance = new ByteSource(11, 1000);
    for (let round = 1; round <= 40; round++) {
      const [a = 0, b = 0] = chance.next(2);
      // Early enough to hit the login of the next connection too.
      relay.cutAfter(1 + (a % 4 === 0 ? b * 200 : b * 3));
      while (bus.connected) {
        bus.publish("echo.data", payload(bytes(3000)));
        bus.publish("echo.control", payload("c"), { lane: "control" });
        await Promise.race([
          bus.flush().catch(() => {}),
          log.until(2 * round - 1),
        ]);
      }
      await log.until(2 * round);
      assert.equal(bus.connected, true);
    }
    await relay.resume();
    const before = inbox.messages.length;
    bus.publish("echo.data", payload("end"));
    await inbox.until(before + 1);
    assert.deepEqual(
      log.types,
      Array.from({ length: 80 }, (_, i) => i % 2 === 0 ? "down" : "up"),
    );
    for (const { subject, data } of inbox.messages) {
      assert.ok([1, 3, 3000].includes(data.length), subject);
    }
  },
);

integrationTest("another node of the cluster takes over", async () => {
  await using cluster = await startNatsCluster();
  const [first] = cluster.nodes;
  // It hears of the others from the first.
  await using bus = await connect(first.url);
  const log = new LinkLog(bus);
  const inbox = new Inbox(bus, "a");
  await bus.flush();
  await first.kill();
  await log.until(2);
  assert.deepEqual(log.types, ["down", "up"]);
  assert.notEqual(bus.server, `127.0.0.1:${first.port}`);
  bus.publish("a", payload("x"));
  await inbox.until(1);
});

integrationTest("the first server that answers is taken", async () => {
  await using dead = await startNatsServer();
  await using alive = await startNatsServer();
  await dead.kill();
  const failed: string[] = [];
  await using bus = await connectNats({
    servers: brokers(dead.url, alive.url),
    onAttemptFailed: ({ server, reason }) => failed.push(`${server} ${reason}`),
  });
  assert.equal(bus.server, `127.0.0.1:${alive.port}`);
  assert.equal(failed.length, 1);
  assert.match(failed[0] ?? "", /refused/i);
});

integrationTest("a first connection waits for its broker", async () => {
  await using server = await startNatsServer();
  await server.kill();
  const failed = Promise.withResolvers<void>();
  const connecting = connect(server.url, {
    onAttemptFailed: () => failed.resolve(),
  });
  await failed.promise;
  await server.restart();
  await using bus = await connecting;
  assert.equal(bus.connected, true);
});

integrationTest("subjects the broker denies are told by name", async () => {
  await using server = await startNatsServer({
    config: `authorization { users: [ { user: u, password: p, permissions: {
      publish: { deny: "no.pub" }, subscribe: { deny: "no.sub" } } } ] }`,
  });
  const refused = Promise.withResolvers<string>();
  await using bus = await connect(server.url, {
    credentials: { kind: "password", user: "u", password: new Secret("p") },
    onSubscriptionError: (subject) => refused.resolve(subject),
  });
  const log = new LinkLog(bus);
  const inbox = new Inbox(bus, "yes.*");
  bus.subscribe("no.sub", () => {});
  assert.equal(await refused.promise, "no.sub");
  // What is published to find that out is no event.
  assert.equal(await bus.mayPublish("no.pub", payload("x")), false);
  assert.equal(await bus.mayPublish("yes.other", payload("x")), true);
  bus.publish("no.pub", payload("x"));
  await inbox.until(1);
  await log.until(2);
  assert.deepEqual(log.events, [
    { type: "subscriptions" },
    {
      type: "denied",
      subject: "no.pub",
      reason: 'Permissions Violation for Publish to "no.pub"',
    },
  ]);
  assert.deepEqual(bus.refusedSubjects, ["no.sub"]);
  assert.ok(bus.connected);
});
