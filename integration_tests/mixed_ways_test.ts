/** Ten ways in of every kind in one client, under load: what they carry through a restart of the broker, and that none keeps another waiting. */
import assert from "node:assert/strict";
import { freePort, parseAddress } from "./support/addresses.ts";
import { expectEcho, meetingOf, roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { byConnect, bySocks } from "./support/front_dial.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { needs } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { residentBytes } from "./support/proc_stats.ts";
import { run, spawn } from "./support/processes.ts";
import { connectRedis } from "./support/redis_client.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import { type Role, startClient, startServer } from "./support/roles.ts";
import { startEcho, type Target } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";

/** Bytes there and back on each bulk connection: too many for a restart to come after them. */
const BULK_BYTES = 24_000_000;

/** Resident memory of such a client at rest, at most, in bytes: measured 75 to 80 MB. */
const MAX_RESIDENT = 100e6;

/** One client with ten places to listen at. */
interface Stage extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly client: Role;
  readonly folder: Folder;
  readonly echo: Target;
  /** Connects to the echo by each of the ways that lead there. */
  readonly ways: readonly (() => Promise<Deno.Conn>)[];
  /** Where the Redis is: a port, and a socket. */
  readonly redisPort: number;
  readonly redisSocket: string;
  /** An HTTP server by each of the ways: arguments of curl. */
  readonly curls: readonly (readonly string[])[];
}

async function startStage(): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const echo = cleanup.use(startEcho());
  const redis = cleanup.use(await startOwnRedis());
  const web = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => new Response(`got ${(await request.bytes()).length}`),
  );
  cleanup.defer(() => web.shutdown());
  const nats = cleanup.use(await startNatsServer());
  cleanup.use(await startServer(nats.url));
  const site = `127.0.0.1:${web.addr.port}`;
  const [tcp, alone, cache, page] = [
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ];
  const [socks, http] = [freePort(), freePort()];
  // deno-fmt-ignore
  const args = [
    "--listen-addr", `127.0.0.1:${alone}`,
    "-L", `${tcp}:${echo.address}`,
    "-L", `[::1]:0:${echo.address}`,
    "-L", `${folder.at("echo.sock")}:${echo.address}`,
    "-L", `${cache}:${redis.address}`,
    "-L", `${folder.at("redis.sock")}:${redis.address}`,
    "-L", `${page}:${site}`,
    "-D", String(socks), "-D", folder.at("socks.sock"),
    "--http-proxy", String(http),
  ];
  const client = cleanup.use(
    await startClient(nats.url, {
      target: echo.address,
      env: { HOME: folder.path },
      args: ["--status-addr", "127.0.0.1:0", ...args],
    }),
  );
  const six = await client.entry(({ msg, address }) =>
    msg === "listening" && String(address).startsWith("[::1]")
  );
  await client.entry(({ msg, forward }) =>
    msg === "listening" && forward === "http-proxy"
  );
  const path = folder.at("echo.sock");
  return owned(cleanup, {
    nats,
    client,
    folder,
    echo,
    ways: [
      () => dial({ hostname: "127.0.0.1", port: alone }),
      () => dial({ hostname: "127.0.0.1", port: tcp }),
      () => dial(parseAddress(String(six.address))),
      () => Deno.connect({ transport: "unix", path }),
      () => bySocks(`127.0.0.1:${socks}`, echo.address),
      () => byConnect(`127.0.0.1:${http}`, echo.address),
    ],
    redisPort: cache,
    redisSocket: folder.at("redis.sock"),
    curls: [
      [`http://127.0.0.1:${page}/`],
      ["-x", `socks5h://127.0.0.1:${socks}`, `http://${site}/`],
      // curl 7.84 and later takes a Unix socket for a proxy.
      [
        "-x",
        `socks5h://localhost${folder.at("socks.sock")}`,
        `http://${site}/`,
      ],
      ["-x", `http://127.0.0.1:${http}`, `http://${site}/`],
      ["-p", "-x", `http://127.0.0.1:${http}`, `http://${site}/`],
    ],
  });
}

/** A loop that goes on until it is stopped; how often it went round. */
async function around(
  stop: AbortSignal,
  once: (round: number) => Promise<void>,
): Promise<number> {
  let round = 0;
  while (!stop.aborted) await once(++round);
  return round;
}

integrationTest(
  "ten ways in of every kind in one process: redis, curl and bulk go on through a restart of the broker, and new ones work",
  async () => {
    await using stage = await startStage();
    const { nats, client, folder, ways, curls, redisPort, redisSocket } = stage;
    const bytes = await residentBytes(client.process.pid);
    assert.ok(bytes < MAX_RESIDENT, `${bytes} bytes at rest`);
    const body = await folder.write("body", new Uint8Array(300_000));
    const curl = async (way: readonly string[]): Promise<void> => {
      const { output } = await run("curl", {
        // deno-fmt-ignore
        args: ["-sS", "--noproxy", "", "--max-time", "60", "--data-binary", `@${body}`, ...way],
      });
      assert.equal(output, "got 300000", way.join(" "));
    };
    const redisCli = async (...words: readonly string[]): Promise<string> =>
      (await run("redis-cli", { args: ["-s", redisSocket, ...words] })).output;

    const { meanwhile, met } = meetingOf(ways.length);
    const bulk = Promise.all(ways.map(async (open, seed) => {
      using conn = await open();
      await expectEcho(conn, { seed, size: BULK_BYTES, meanwhile });
    }));
    const over = new AbortController();
    await using counted = await connectRedis({
      hostname: "127.0.0.1",
      port: redisPort,
    });
    // Each count follows on the one before: none is lost, none comes twice.
    const counts = around(over.signal, async (round) => {
      assert.equal(await counted.redis.incr("count"), round);
    });
    // Requests that are under way or begin while there is no broker.
    const pages = Promise.all(
      curls.map((way) => around(over.signal, () => curl(way))),
    );
    await met;
    await nats.kill();
    await nats.restart();
    await bulk;
    over.abort();
    assert.equal(await redisCli("GET", "count"), String(await counts));
    for (const times of await pages) assert.ok(times > 0);
    for (const open of ways) {
      using conn = await open();
      await roundTrip(conn);
    }
    for (const way of curls) await curl(way);
    assert.equal(await redisCli("SET", "key", "value"), "OK");
    await counted[Symbol.asyncDispose]();
    const { code } = await client.process.stop();
    assert.equal(code, 0);
    assert.deepEqual(
      client.entries().filter(({ reason }) =>
        reason !== undefined && reason !== "ok"
      ),
      [],
    );
  },
  await needs("curl", "redis-cli"),
);

/** Round trips that are the least while a bulk stream goes on: measured 320 to 820. */
const LEAST_ROUNDS = 20;

/** Bytes of that stream. */
const STREAM_BYTES = 200_000_000;

/** Sends that many zeros to whoever connects; a process of its own, for this one is to be free for the answers. */
const SOURCE = `
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
console.log(listener.addr.port);
for await (const conn of listener) {
  const zeros = new Uint8Array(65_536);
  for (let left = ${STREAM_BYTES}; left > 0;) {
    left -= await conn.write(zeros.subarray(0, Math.min(left, zeros.length)));
  }
  conn.close();
}`;

integrationTest(
  "a bulk forward beside interactive ones in one process: they get answers all the while",
  async () => {
    await using source = spawn(Deno.execPath(), {
      name: "source",
      args: ["eval", SOURCE],
    });
    const port = await source.waitForLine((line) => /^\d+$/.test(line));
    await using redis = await startOwnRedis();
    await using nats = await startNatsServer();
    await using _server = await startServer(nats.url);
    const [bulk, cache] = [freePort(), freePort()];
    await using client = await startClient(nats.url, {
      target: redis.address,
      // deno-fmt-ignore
      args: ["-L", `${bulk}:127.0.0.1:${port}`, "-L", `${cache}:${redis.address}`],
    });
    await using one = await connectRedis(client.endpoint);
    await using another = await connectRedis({
      hostname: "127.0.0.1",
      port: cache,
    });
    const over = new AbortController();
    const hash = (from: string): string =>
      `set -o pipefail; head -c ${STREAM_BYTES + 1} ${from} | sha256sum`;
    const stream = run("bash", {
      name: "bulk",
      args: ["-c", hash(`</dev/tcp/127.0.0.1/${bulk}`)],
    }).finally(() => over.abort());
    const rounds = Promise.all(
      [one, another].map(({ redis }, n) =>
        around(over.signal, async (round) => {
          assert.equal(await redis.incr(`count ${n}`), round);
        })
      ),
    );
    const { output } = await stream;
    const wanted = await run("bash", {
      args: ["-c", hash(`<(head -c ${STREAM_BYTES} /dev/zero)`)],
    });
    assert.equal(output, wanted.output);
    for (const count of await rounds) {
      assert.ok(count >= LEAST_ROUNDS, `${count} round trips`);
    }
  },
);
