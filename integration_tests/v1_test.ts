/**
 * Our programs with the Go original's: its client against our server, our
 * client against its server, its races included. The original is played by
 * `support/v1_peer.ts`.
 */
import assert from "node:assert/strict";
import { freePort } from "./support/addresses.ts";
import { pause } from "./support/changes.ts";
import { tunnelEnd } from "./support/chaos_stage.ts";
import { ByteSource, digestOf } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { RawNats } from "./support/raw_nats.ts";
import { connectRedis } from "./support/redis_client.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import {
  type LogEntry,
  type Role,
  startClient,
  startServer,
} from "./support/roles.ts";
import {
  startEcho,
  startSink,
  startSource,
  Target,
} from "./support/targets.ts";
import {
  close,
  dial,
  readEnding,
  readExactly,
  receiveAll,
  sendAll,
  writeAll,
} from "./support/transfer.ts";
import { oldClient, oldServer } from "./support/v1_pair.ts";
import { V1Client, V1Server } from "./support/v1_peer.ts";
import { told } from "./support/waits.ts";

const MB = 1_000_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Whether a line warns of a peer that speaks version 1. */
function isWarning({ level, msg }: LogEntry): boolean {
  return level === "warn" && msg.includes("speaks version 1");
}

/** Waits until a role has said so often that a peer speaks version 1, and expects it no more often. */
async function expectWarnings(role: Role, count: number): Promise<void> {
  assert.equal((await told(role, isWarning, { count })).length, count);
}

/** Sends `text`, and expects `answer`. */
async function converse(
  conn: Deno.TcpConn,
  text: string,
  answer: string,
): Promise<void> {
  await writeAll(conn, encoder.encode(text));
  const bytes = await readExactly(conn, encoder.encode(answer).length);
  assert.equal(decoder.decode(bytes), answer);
}

/** A target that takes `length` bytes and answers with their SHA-256 in hex. */
function startHasher(length: number): Target {
  return new Target(async (conn) => {
    const { sha256 } = await receiveAll(conn, { length });
    await writeAll(conn, encoder.encode(sha256));
    await receiveAll(conn);
  });
}

/** PING, SET and GET on each of 100 new connections. */
async function useRedis(
  endpoint: { readonly hostname: string; readonly port: number },
): Promise<void> {
  // One after the other; their ends, of which an original server says nothing,
  // overlap.
  await using connections = new AsyncDisposableStack();
  for (let i = 0; i < 100; i++) {
    const connection = await connectRedis(endpoint);
    const { redis } = connection;
    assert.equal(await redis.ping(), "PONG");
    assert.equal(await redis.set("key", `value ${i}`), "OK");
    assert.equal(await redis.get("key"), `value ${i}`);
    redis.disconnect();
    connections.defer(() => connection.whenEnded());
  }
}

integrationTest(
  "v1: the original's own pair loses what comes before it listens",
  async () => {
    // If it did not, the tests below would show nothing.
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await V1Server.start(nats.url, {
      subscribeDelay: 100,
    });
    await using client = await V1Client.start(nats.url, {
      target: echo.address,
    });
    using conn = await dial(client.endpoint);
    await writeAll(conn, encoder.encode("lost"));
    await echo.whenAccepted(1);
    await pause(300);
    await converse(conn, "kept", "kept");
  },
);

integrationTest(
  "v1: Redis on each of 100 new connections, original client and our server",
  async () => {
    await using redis = await startOwnRedis();
    await using pair = await oldClient({ target: redis.address });
    await useRedis(pair.client.endpoint);
    assert.deepEqual(pair.client.losses, { messages: 0, bytes: 0 });
    assert.equal(new Set(pair.client.ids).size, 100);
    await expectWarnings(pair.server, 1);
  },
);

integrationTest(
  "v1: Redis on each of 100 new connections, our client and original server",
  async () => {
    await using redis = await startOwnRedis();
    await using pair = await oldServer({ target: redis.address });
    await useRedis(pair.client.endpoint);
    assert.equal(pair.server.dropped, 0);
    assert.equal(pair.server.accepted, 100);
    await expectWarnings(pair.client, 1);
  },
);

integrationTest(
  "v1: an original client uploads and downloads 20 MB",
  async () => {
    await using sink = startSink();
    await using up = await oldClient({ target: sink.address });
    using sending = await dial(up.client.endpoint);
    await sendAll(sending, new ByteSource(1, 20 * MB));
    // Its close message is what ends the target's connection.
    assert.deepEqual(await sink.digest(0), digestOf(1, 20 * MB));

    await using source = startSource(2, 20 * MB);
    await using client = await V1Client.start(up.nats.url, {
      target: source.address,
    });
    using receiving = await dial(client.endpoint);
    const received = await receiveAll(receiving, { length: 20 * MB });
    assert.deepEqual(received, digestOf(2, 20 * MB));
    assert.deepEqual(client.losses, { messages: 0, bytes: 0 });
  },
);

integrationTest("v1: an original server takes and gives 20 MB", async () => {
  await using hasher = startHasher(20 * MB);
  await using pair = await oldServer({ target: hasher.address });
  using sending = await dial(pair.client.endpoint);
  await sendAll(sending, new ByteSource(3, 20 * MB), { finish: false });
  const { sha256 } = digestOf(3, 20 * MB);
  await converse(sending, "", sha256);
  assert.equal(pair.server.dropped, 0);

  // A target that speaks first may do so before anybody can listen: the
  // original's client would lose it, too.
  await using source = new Target(async (conn) => {
    await readExactly(conn, 3);
    await sendAll(conn, new ByteSource(4, 20 * MB));
    await receiveAll(conn);
  });
  await using client = await startClient(pair.nats.url, {
    target: source.address,
  });
  using receiving = await dial(client.endpoint);
  await writeAll(receiving, encoder.encode("go!"));
  const received = await receiveAll(receiving, { length: 20 * MB });
  assert.deepEqual(received, digestOf(4, 20 * MB));
});

integrationTest(
  "v1: an original client that listens late gets what the target said first",
  async () => {
    const banner = encoder.encode("220 at your service\r\n");
    await using target = startEcho({ banner });
    await using pair = await oldClient({
      target: target.address,
      subscribeDelay: 300,
    });
    for (let i = 0; i < 5; i++) {
      using conn = await dial(pair.client.endpoint);
      await converse(conn, "", decoder.decode(banner));
      await converse(conn, "HELO\r\n", "HELO\r\n");
    }
  },
);

integrationTest(
  "v1: an original server that listens late gets what the application said first",
  async () => {
    await using echo = startEcho();
    await using pair = await oldServer({
      target: echo.address,
      subscribeDelay: 300,
    });
    for (let i = 0; i < 5; i++) {
      using conn = await dial(pair.client.endpoint);
      const bytes = new ByteSource(i, 200_000).rest();
      const writing = writeAll(conn, bytes);
      assert.deepEqual(await readExactly(conn, bytes.length), bytes);
      await writing;
    }
    assert.equal(pair.server.dropped, 0);
  },
);

integrationTest(
  "v1: 5,000 small writes in a row overflow no queue of the original",
  async () => {
    await using echo = startEcho();
    await using old = await oldServer({ target: echo.address });
    await using redisless = await oldClient({ target: echo.address });
    for (const endpoint of [old.client.endpoint, redisless.client.endpoint]) {
      using conn = await dial(endpoint);
      const bytes = new ByteSource(9, 5_000 * 10).rest();
      const writing = (async () => {
        for (let at = 0; at < bytes.length; at += 10) {
          await writeAll(conn, bytes.subarray(at, at + 10));
        }
      })();
      assert.deepEqual(await readExactly(conn, bytes.length), bytes);
      await writing;
    }
    assert.equal(old.server.dropped, 0);
    assert.deepEqual(redisless.client.losses, { messages: 0, bytes: 0 });
  },
);

integrationTest(
  "v1: what an original client sent before it closed arrives, though it listens no more",
  async () => {
    // A target that talks all the time, and reads slowly at first.
    const digest = Promise.withResolvers<unknown>();
    await using target = new Target(async (conn) => {
      let talking = true;
      const talk = (async () => {
        while (talking) {
          await writeAll(conn, encoder.encode("news\n"));
          await pause(5);
        }
      })();
      await pause(200);
      digest.resolve(await receiveAll(conn));
      talking = false;
      await talk;
    });
    await using pair = await oldClient({
      target: target.address,
      closeDelay: 300,
    });
    using conn = await dial(pair.client.endpoint);
    await sendAll(conn, new ByteSource(5, 5 * MB));
    assert.deepEqual(await digest.promise, digestOf(5, 5 * MB));
    await tunnelEnd(pair.server, { reason: "ok" });
  },
);

integrationTest(
  "v1: our server notices that an original client is gone",
  async () => {
    await using echo = startEcho();
    await using pair = await oldClient({ target: echo.address });
    const conns = [];
    for (let i = 0; i < 3; i++) {
      const conn = await dial(pair.client.endpoint);
      conns.push(conn);
      await converse(conn, "hello", "hello");
    }
    await pair.client.stop();
    await echo.whenOpenAtMost(0);
    for (const conn of conns) close(conn);
    await tunnelEnd(pair.server, { reason: "peer-gone" });
  },
);

integrationTest(
  "v1: our client notices that an original server is gone",
  async () => {
    await using echo = startEcho();
    await using pair = await oldServer({ target: echo.address });
    using conn = await dial(pair.client.endpoint);
    await converse(conn, "hello", "hello");
    await pair.server.stop();
    await readEnding(conn);
    await tunnelEnd(pair.client, { reason: "peer-gone" });
    // And with nobody there at all, a new connection ends at once.
    using late = await dial(pair.client.endpoint);
    assert.deepEqual(await readEnding(late), { ending: "eof", bytes: 0 });
  },
);

integrationTest(
  "v1: the answer to an application that has ended its stream comes whole",
  async () => {
    // The original's server pays no heed to the close; the target answers late.
    await using target = new Target(async (conn) => {
      await readExactly(conn, 8);
      await pause(500);
      await writeAll(conn, encoder.encode("the answer"));
      await receiveAll(conn);
    });
    await using pair = await oldServer({ target: target.address });
    using conn = await dial(pair.client.endpoint);
    await writeAll(conn, encoder.encode("question"));
    await conn.closeWrite();
    const { ending, bytes } = await readEnding(conn);
    assert.deepEqual({ ending, bytes }, { ending: "eof", bytes: 10 });
    await tunnelEnd(pair.client, { reason: "ok" });
    assert.equal(pair.server.closes, 1);
  },
);

integrationTest(
  "v1: a dial that fails at the original server, silently, ends the connection",
  async () => {
    await using pair = await oldServer({
      target: "127.0.0.1:9",
      failDials: true,
      clientArgs: ["--open-timeout", "2s"],
    });
    using conn = await dial(pair.client.endpoint);
    await writeAll(conn, encoder.encode("anybody?"));
    await readEnding(conn);
    const closed = await pair.client.entry(({ msg }) =>
      msg === "tunnel closed"
    );
    assert.equal(closed.reason, "timeout");
    assert.match(String(closed.why), /did not listen within 2000 ms/);
  },
);

integrationTest(
  "v1: refusals of either server end the connection at once",
  async () => {
    await using ours = await oldClient({ target: `127.0.0.1:${freePort()}` });
    using one = await dial(ours.client.endpoint);
    assert.deepEqual(await readEnding(one), { ending: "eof", bytes: 0 });
    const refused = await ours.server.entry(({ msg }) =>
      msg === "open refused"
    );
    assert.equal(refused.reason, "refused");
    assert.deepEqual(ours.client.ids, []);

    await using theirs = await oldServer({ target: "no-such-host.invalid:1" });
    using two = await dial(theirs.client.endpoint);
    assert.deepEqual(await readEnding(two), { ending: "eof", bytes: 0 });
    const failed = await theirs.client.entry(({ msg }) =>
      msg === "open failed"
    );
    assert.equal(failed.reason, "no-such-host");
  },
);

integrationTest(
  "v1: --refuse-v1 turns the original away, on either side",
  async () => {
    await using echo = startEcho();
    await using ours = await oldClient({
      target: echo.address,
      serverArgs: ["--refuse-v1"],
    });
    // It is not answered: where it listens is only its own word.
    using _one = await dial(ours.client.endpoint);
    const refused = await ours.server.entry(({ msg }) =>
      msg === "open refused"
    );
    assert.equal(refused.reason, "version");
    assert.equal(echo.accepted, 0);
    assert.ok(!ours.server.entries().some(isWarning));

    // A server of ours beside one of the original: the client waits for ours.
    await using both = await oldServer({
      target: echo.address,
      clientArgs: ["--refuse-v1"],
    });
    using two = await dial(both.client.endpoint);
    assert.deepEqual(await readEnding(two), { ending: "eof", bytes: 0 });
    const failed = await both.client.entry(({ msg }) => msg === "open failed");
    assert.equal(failed.reason, "version");
    await using _server = await startServer(both.nats.url);
    using three = await dial(both.client.endpoint);
    await converse(three, "version 2", "version 2");
    assert.ok(!both.client.entries().some(isWarning));
  },
);

integrationTest(
  "v1: original and new ones together, each gets its own answers",
  async () => {
    await using echo = startEcho();
    await using stack = new AsyncDisposableStack();
    const pair = stack.use(await oldClient({ target: echo.address }));
    const { url } = pair.nats;
    const { endpoint: native } = stack.use(
      await startClient(url, { target: echo.address }),
    );
    const endpoints = [pair.client.endpoint, native];
    for (let i = 0; i < 4; i++) {
      const { endpoint } = stack.use(
        await V1Client.start(url, { target: echo.address }),
      );
      endpoints.push(endpoint);
    }
    await Promise.all(endpoints.map(async (endpoint, client) => {
      await Promise.all(Array.from({ length: 10 }, async (_, n) => {
        using conn = await dial(endpoint);
        const bytes = new ByteSource(client * 100 + n, 20_000 + n).rest();
        const writing = writeAll(conn, bytes);
        assert.deepEqual(await readExactly(conn, bytes.length), bytes);
        await writing;
      }));
    }));
    // Five old clients, and each was named once.
    await expectWarnings(pair.server, 5);
    await echo.whenOpenAtMost(0);
  },
);

integrationTest(
  "v1: hostile messages end their own tunnel and no other",
  async () => {
    await using echo = startEcho();
    await using pair = await oldClient({ target: echo.address });
    await using third = await RawNats.connect(pair.nats.url);
    using victim = await dial(pair.client.endpoint);
    await converse(victim, "hello", "hello");
    const payloads = [
      "",
      "{",
      "[]",
      "null",
      '"text"',
      '{"Data":7}',
      '{"Data":"*"}',
      '{"Metadata":"close"}',
      '{"Metadata":{"type":7}}',
      "\u0000".repeat(100),
      JSON.stringify({ Data: "A".repeat(997) }),
    ];
    for (const payload of payloads) {
      using conn = await dial(pair.client.endpoint);
      await converse(conn, "hello", "hello");
      const id = pair.client.ids.at(-1) ?? "";
      third.publish(`p.data.to_server.${id}`, payload);
      await echo.whenOpenAtMost(1);
    }
    // Half-formed, but good enough for the original: so it is for us.
    const id = pair.client.ids[0] ?? "";
    for (
      const payload of [
        "{}",
        '{"ID":"other","Data":null}',
        '{"Data":"","Metadata":{}}',
        '{"Extra":[1],"Metadata":{"type":"open"}}',
      ]
    ) third.publish(`p.data.to_server.${id}`, payload);
    await third.flush();
    await converse(victim, "unharmed", "unharmed");

    const requests: [Record<string, string>, string][] = [
      [{}, ""],
      [{}, "junk"],
      [{ remote_host: "127.0.0.1" }, "{}"],
      [{ remote_host: "127.0.0.1", remote_port: "0" }, "{}"],
      [{ remote_host: "127.0.0.1", remote_port: "65536" }, "{}"],
      [{ remote_host: "127.0.0.1", remote_port: "http" }, "{}"],
      [{ remote_host: "a b", remote_port: "1" }, "{}"],
      [{ Remote_Host: "", remote_port: "1" }, "[]"],
    ];
    for (const [headers, body] of requests) {
      const { data } = await third.request("proxy.request", body, { headers });
      const reply = JSON.parse(decoder.decode(data));
      assert.deepEqual(Object.keys(reply), ["ID", "Reply", "Data", "Metadata"]);
      assert.deepEqual(reply.Metadata, { error: "true" });
      assert.match(atob(reply.Data), / /);
    }
    await converse(victim, "still", "still");
  },
);
