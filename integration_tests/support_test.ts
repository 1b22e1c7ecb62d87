/** The harness itself: what other tests rely on. */
import assert from "node:assert/strict";
import {
  formatAddress,
  freePort,
  HeldPort,
  parseAddress,
} from "./support/addresses.ts";
import { Changes, within } from "./support/changes.ts";
import { ByteSource, digestOf, sha256 } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsCluster, startNatsServer } from "./support/nats_server.ts";
import { openFiles } from "./support/proc_stats.ts";
import { run, spawn } from "./support/processes.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import { sideBySide } from "./support/side_by_side.ts";
import { startEcho, startSource, startStalled } from "./support/targets.ts";
import {
  dial,
  readExactly,
  readToEnd,
  receiveAll,
  sendAll,
  writeAll,
} from "./support/transfer.ts";

const HELLO = new TextEncoder().encode("hello");

Deno.test("ByteSource gives the same bytes however they are cut", () => {
  const length = 200_003;
  const whole = new ByteSource(7, length).rest();
  const source = new ByteSource(7, length);
  const pieces = new Uint8Array(length);
  for (let at = 0, size = 1; at < length; size = size * 3 % 70_001) {
    const piece = source.next(size);
    pieces.set(piece, at);
    at += piece.length;
  }
  assert.equal(source.next().length, 0);
  assert.equal(sha256(pieces), sha256(whole));
  assert.deepEqual(digestOf(7, length), {
    bytes: length,
    sha256: sha256(whole),
  });
  assert.notEqual(sha256(new ByteSource(8, length).rest()), sha256(whole));
});

Deno.test("parseAddress() undoes formatAddress()", () => {
  for (const text of ["127.0.0.1:80", "[::1]:443", "redis:6379"]) {
    assert.equal(formatAddress(parseAddress(text)), text);
  }
  assert.throws(() => parseAddress("::1:443"), TypeError);
});

Deno.test("a port that is held is nobody else's, whether or not it is listened at", () => {
  using held = HeldPort.take();
  using others = new DisposableStack();
  const ports = Array.from(
    { length: 200 },
    () => others.use(HeldPort.take()).port,
  );
  assert.equal(new Set([held.port, ...ports]).size, 201);
  assert.ok(!ports.concat(freePort()).includes(held.port));
  // It is free for whom it is held.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: held.port });
  assert.equal(listener.addr.port, held.port);
});

Deno.test("a port that was let go is not handed out again soon", () => {
  const ports = Array.from({ length: 400 }, () => freePort());
  assert.equal(new Set(ports).size, 400);
});

Deno.test("sideBySide() runs all at once, waits for each, and names those that failed", async () => {
  const met = Promise.withResolvers<void>();
  const ended: string[] = [];
  const parts = {
    "the first": async () => {
      await met.promise;
      throw new Error("no first");
    },
    "the second": () => Promise.reject(new Error("no second")),
    "the third": async () => {
      met.resolve();
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
      ended.push("the third");
    },
  };
  const error = await sideBySide(parts).catch((error: unknown) => error);
  assert.ok(error instanceof AggregateError);
  assert.match(error.message, /^failed: (?=.*the first)(?=.*the second)/);
  assert.doesNotMatch(error.message, /third/);
  assert.equal(error.errors.length, 2);
  assert.deepEqual(ended, ["the third"]);
  await sideBySide({ good: () => Promise.resolve() });
});

Deno.test("Changes.until() ends with the signal's reason", async () => {
  const controller = new AbortController();
  const changes = new Changes();
  const waiting = changes.until(() => false, controller);
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

Deno.test("within() gives up what hangs, after a last look at it", async () => {
  const events: string[] = [];
  await assert.rejects(
    within(1, async (signal) => {
      signal.addEventListener("abort", () => events.push("aborted"));
      await new Promise(() => {});
    }, { onHang: () => Promise.resolve(void events.push("looked at")) }),
    /did not end within 0.001 s/,
  );
  assert.deepEqual(events, ["looked at", "aborted"]);
  assert.equal(await within(60_000, () => Promise.resolve(7)), 7);
});

integrationTest(
  "spawn() gives lines, status and an end by signal",
  async () => {
    await using process = spawn("sh", {
      args: ["-c", "echo one; echo two >&2; exec sleep 1000"],
    });
    assert.equal(await process.waitForLine((line) => line === "two"), "two");
    assert.equal(await process.waitForLine((line) => line === "one"), "one");
    assert.ok(await openFiles(process.pid) >= 3);
    process.pause();
    const late = process.waitForLine((line) => line === "three", {
      since: process.mark(),
    });
    const status = await process.kill();
    assert.equal(status.signal, "SIGKILL");
    await assert.rejects(late, /sh ended unexpectedly \(signal SIGKILL\)/);
    process.killNow(); // Nothing happens.
  },
);

integrationTest("run() gives exit code and output", async () => {
  const { status, output } = await run("sh", {
    args: ["-c", "echo x; exit 3"],
  });
  assert.equal(status.code, 3);
  assert.equal(output, "x");
});

integrationTest(
  "startNatsServer() restarts on the same port after a kill",
  async () => {
    await using nats = await startNatsServer({ maxPayload: 4096 });
    assert.equal(await nats.slowConsumers(), 0);
    assert.equal(await nats.subscriptions(), 0);
    const { port } = nats;
    const greeting = async (): Promise<string> => {
      using conn = await dial({ hostname: "127.0.0.1", port });
      return new TextDecoder().decode(await readExactly(conn, 5));
    };
    assert.equal(await greeting(), "INFO ");
    const { pid } = nats.process;
    await nats.kill();
    await assert.rejects(greeting(), Deno.errors.ConnectionRefused);
    await nats.restart();
    assert.equal(nats.port, port);
    assert.notEqual(nats.process.pid, pid);
    assert.equal(await greeting(), "INFO ");
    assert.equal((await nats.monitor("varz")).max_payload, 4096);
  },
);

integrationTest("subscriptions() counts what clients hold", async () => {
  await using nats = await startNatsServer();
  using conn = await dial({ hostname: "127.0.0.1", port: nats.port });
  const command = 'CONNECT {"verbose":false}\r\nSUB a 1\r\nSUB b 2\r\nPING\r\n';
  await writeAll(conn, new TextEncoder().encode(command));
  let seen = "";
  while (!seen.includes("PONG")) {
    seen += new TextDecoder().decode(await readExactly(conn, 1));
  }
  assert.equal(await nats.subscriptions(), 2);
  assert.equal(await nats.connections(), 1);
});

integrationTest(
  "startNatsCluster() joins three nodes, which rejoin after a restart",
  async () => {
    await using cluster = await startNatsCluster();
    assert.equal(cluster.url.split(",").length, 3);
    for (const node of cluster.nodes) assert.equal(await node.peers(), 2);
    const [first] = cluster.nodes;
    await first.restart();
    for (const node of cluster.nodes) await node.whenJoined(2);
  },
);

integrationTest("startOwnRedis() answers", async () => {
  await using redis = await startOwnRedis();
  using conn = await dial(parseAddress(redis.address));
  await writeAll(conn, new TextEncoder().encode("PING\r\n"));
  assert.equal(
    new TextDecoder().decode(await readExactly(conn, 7)),
    "+PONG\r\n",
  );
});

integrationTest("the targets do what they are named for", async () => {
  await using echo = startEcho({ hostname: "::1" });
  using a = await dial(parseAddress(echo.address));
  const [sent, received] = await Promise.all([
    sendAll(a, new ByteSource(1, 1_000_000)),
    receiveAll(a),
  ]);
  assert.deepEqual(received, sent);

  await using banner = startEcho({ banner: HELLO });
  using b = await dial(banner.endpoint);
  assert.deepEqual(await readExactly(b, 5), HELLO);
  await writeAll(b, HELLO);
  await b.closeWrite();
  assert.deepEqual(await readToEnd(b), HELLO);

  await using source = startSource(3, 500_000);
  using c = await dial(source.endpoint);
  assert.deepEqual(await receiveAll(c), digestOf(3, 500_000));

  await using stalled = startStalled();
  using d = await dial(stalled.endpoint);
  await sendAll(d, new ByteSource(4, 1000));
  await stalled.whenAccepted(1);
  assert.equal(stalled.open, 1);
  stalled.release();
  assert.equal((await readToEnd(d)).length, 0);
});
