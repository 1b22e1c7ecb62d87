/** The main job: a real Redis client and a real Redis, through real processes. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ByteSource, sha256 } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { connectRedis, type RedisConnection } from "./support/redis_client.ts";
import { startRedisTunnel } from "./support/redis_tunnel.ts";

const MIB = 1024 * 1024;

/** A prefix for keys: a Redis given by the environment may be shared. */
function keys(): (name: string) => string {
  const id = crypto.randomUUID();
  return (name) => `${id}:${name}`;
}

/** Waits until Redis says that a client is held up in `command`. */
async function whenBlocked(
  { redis }: RedisConnection,
  id: number,
): Promise<void> {
  // Each look is a round trip, so this is no busy loop; the test's limit ends it.
  for (;;) {
    const list = String(await redis.client("LIST", "ID", id));
    if (/ flags=b /.test(list)) return;
  }
}

integrationTest(
  "redis: PING, SET and GET 1,000 times in a row on one connection",
  async () => {
    await using tunnel = await startRedisTunnel();
    await using connection = await connectRedis(tunnel.endpoint);
    const { redis } = connection;
    const key = keys();
    for (let i = 0; i < 1000; i++) {
      assert.equal(await redis.ping(), "PONG");
      assert.equal(await redis.set(key("key"), `value ${i}`), "OK");
      assert.equal(await redis.get(key("key")), `value ${i}`);
    }
  },
);

integrationTest(
  "redis: PING, SET and GET on each of 300 new connections in a row",
  async () => {
    await using tunnel = await startRedisTunnel();
    const key = keys();
    for (let i = 0; i < 300; i++) {
      await using connection = await connectRedis(tunnel.endpoint);
      const { redis } = connection;
      assert.equal(await redis.ping(), "PONG");
      assert.equal(await redis.set(key("key"), `value ${i}`), "OK");
      assert.equal(await redis.get(key("key")), `value ${i}`);
    }
  },
);

integrationTest(
  "redis: a pipeline of 10,000 commands is answered in order",
  async () => {
    await using tunnel = await startRedisTunnel();
    await using connection = await connectRedis(tunnel.endpoint);
    const { redis } = connection;
    const key = keys();
    const pipeline = redis.pipeline();
    for (let i = 0; i < 5000; i++) {
      pipeline.incr(key("counter"));
      pipeline.echo(`number ${i}`);
    }
    const results = await pipeline.exec() ?? [];
    assert.equal(results.length, 10_000);
    for (let i = 0; i < 5000; i++) {
      assert.deepEqual(results[2 * i], [null, i + 1]);
      assert.deepEqual(results[2 * i + 1], [null, `number ${i}`]);
    }
  },
);

integrationTest(
  "redis: 5 subscribers get 1,000 messages each, in order",
  async () => {
    await using tunnel = await startRedisTunnel();
    await using publisher = await connectRedis(tunnel.endpoint);
    const channel = keys()("news");
    await using stack = new AsyncDisposableStack();
    const all: Promise<string[]>[] = [];
    for (let i = 0; i < 5; i++) {
      const { redis } = stack.use(await connectRedis(tunnel.endpoint));
      const { promise, resolve } = Promise.withResolvers<string[]>();
      const received: string[] = [];
      redis.on("message", (_channel: string, text: string) => {
        received.push(text);
        if (received.length === 1000) resolve(received);
      });
      await redis.subscribe(channel);
      all.push(promise);
    }
    const sent = Array.from({ length: 1000 }, (_, i) => `message ${i}`);
    await Promise.all(
      sent.map((text) => publisher.redis.publish(channel, text)),
    );
    for (const received of all) assert.deepEqual(await received, sent);
  },
);

integrationTest(
  "redis: a blocking pop waits until there is something",
  async () => {
    await using tunnel = await startRedisTunnel();
    await using waiter = await connectRedis(tunnel.endpoint);
    await using pusher = await connectRedis(tunnel.endpoint);
    const list = keys()("list");
    const id = await waiter.redis.client("ID");
    const popped = waiter.redis.blpop(list, 0);
    await whenBlocked(pusher, id);
    await pusher.redis.rpush(list, "at last");
    assert.deepEqual(await popped, [list, "at last"]);
  },
);

integrationTest("redis: a value of 64 MiB comes back as it was", async () => {
  await using tunnel = await startRedisTunnel();
  await using connection = await connectRedis(tunnel.endpoint);
  const { redis } = connection;
  const key = keys()("large");
  const value = new ByteSource(64, 64 * MIB).rest();
  const hash = sha256(value);
  assert.equal(await redis.set(key, Buffer.from(value.buffer)), "OK");
  const back = await redis.getBuffer(key);
  assert.ok(back);
  assert.equal(back.length, 64 * MIB);
  assert.equal(sha256(back), hash);
  await redis.del(key);
});

integrationTest(
  "redis: 200 connections at once get each its own answers",
  async () => {
    await using tunnel = await startRedisTunnel();
    await using stack = new AsyncDisposableStack();
    const key = keys();
    const connections = await Promise.all(
      Array.from({ length: 200 }, () => connectRedis(tunnel.endpoint)),
    );
    for (const connection of connections) stack.use(connection);
    // All are open now; Redis sees as many different clients.
    const ids = await Promise.all(
      connections.map(({ redis }) => redis.client("ID")),
    );
    assert.equal(new Set(ids).size, 200);
    await Promise.all(connections.map(async ({ redis }, n) => {
      const value = Buffer.from(new ByteSource(n, 1024 + n).rest());
      for (let i = 0; i < 10; i++) {
        await redis.set(key(`${n}`), value);
        assert.ok((await redis.getBuffer(key(`${n}`)))?.equals(value));
        await redis.incr(key("shared"));
      }
    }));
    assert.equal(await connections[0]?.redis.get(key("shared")), "2000");
  },
);

integrationTest(
  "redis: either side's end of a connection reaches the other",
  async () => {
    await using tunnel = await startRedisTunnel();
    await using watcher = await connectRedis(tunnel.endpoint);
    // Redis ends one: its client sees it.
    await using killed = await connectRedis(tunnel.endpoint);
    const killedId = await killed.redis.client("ID");
    await watcher.redis.client("KILL", "ID", killedId);
    await killed.whenEnded();
    // The application ends one: Redis sees it.
    const leaver = await connectRedis(tunnel.endpoint);
    const leaverId = await leaver.redis.client("ID");
    await leaver[Symbol.asyncDispose]();
    for (;;) {
      const list = String(await watcher.redis.client("LIST", "ID", leaverId));
      if (list.trim() === "") break;
    }
  },
);

integrationTest("redis: the JSON codec carries the same traffic", async () => {
  await using tunnel = await startRedisTunnel({
    clientArgs: ["--codec", "json"],
  });
  await using connection = await connectRedis(tunnel.endpoint);
  const { redis } = connection;
  const key = keys()("json");
  const value = Buffer.from(new ByteSource(5, 4 * MIB).rest());
  assert.equal(await redis.ping(), "PONG");
  await redis.set(key, value);
  assert.ok((await redis.getBuffer(key))?.equals(value));
  await redis.del(key);
});
