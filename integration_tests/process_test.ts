/** Each of the four parties killed, stopped and restarted while tunnels are busy. */
import assert from "node:assert/strict";
import { Arrivals, roundTrip } from "./support/chaos_flow.ts";
import { pause } from "./support/changes.ts";
import {
  QUICK,
  type Stage,
  startStage,
  tunnelEnd,
  warm,
} from "./support/chaos_stage.ts";
import { ByteSource } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import { type RoleName, startServer } from "./support/roles.ts";
import {
  dial,
  isDisconnect,
  readEnding,
  readExactly,
  sendAll,
  writeAll,
} from "./support/transfer.ts";

const MIB = 1024 * 1024;
const ROLES = ["server", "client"] as const;

/** A dead peer is noticed by its absence alone: the resume time is out of the question. */
const SHORT_PEER_TIME = [
  "--peer-ping-interval",
  "100ms",
  "--peer-timeout",
  "300ms",
  "--resume-timeout",
  "1h",
];

/** Keeps a connection busy until it is cut off; never rejects for that. */
async function flood(conn: Deno.Conn): Promise<void> {
  try {
    await sendAll(conn, new ByteSource(1, Number.MAX_SAFE_INTEGER));
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

/** Three busy connections and three idle ones, all in use. */
async function load(
  stage: Stage,
): Promise<
  AsyncDisposable & {
    readonly idle: readonly Deno.TcpConn[];
    readonly busy: readonly Arrivals[];
  }
> {
  const conns = await Promise.all(
    Array.from({ length: 6 }, () => dial(stage.endpoint)),
  );
  for (const conn of conns) await roundTrip(conn);
  const busy = conns.slice(3).map((conn) => new Arrivals(conn));
  const floods = conns.slice(3).map(flood);
  for (const arrivals of busy) await arrivals.reached(MIB);
  return {
    idle: conns.slice(0, 3),
    busy,
    async [Symbol.asyncDispose](): Promise<void> {
      for (const conn of conns) conn[Symbol.dispose]();
      await Promise.all(floods);
      await Promise.allSettled(busy.map(({ whole }) => whole));
    },
  };
}

integrationTest(
  "process: kill -9 of the client under load ends the target's connections and the server's tunnels",
  async () => {
    await using stage = await startStage({
      args: SHORT_PEER_TIME,
    });
    await warm(stage);
    const mark = stage.server.process.mark();
    await using _load = await load(stage);
    await stage.client.process.kill();
    await stage.echo.whenOpenAtMost(0);
    await tunnelEnd(stage.server, { reason: "peer-gone", since: mark });
    await stage.whenRidOfTunnels("server");
    await stage.restart("client");
    await stage.expectServing();
  },
);

integrationTest(
  "process: kill -9 of the server under load ends the applications' connections; the next server serves",
  async () => {
    await using stage = await startStage({
      args: SHORT_PEER_TIME,
    });
    await warm(stage);
    const mark = stage.client.process.mark();
    {
      await using running = await load(stage);
      await stage.server.process.kill();
      for (const conn of running.idle) {
        assert.equal((await readEnding(conn)).bytes, 0);
      }
      for (const { whole } of running.busy) await Promise.allSettled([whole]);
    }
    await tunnelEnd(stage.client, { reason: "peer-gone", since: mark });
    await stage.whenRidOfTunnels("client");
    await stage.restart("server");
    await stage.expectServing();
  },
);

integrationTest(
  "process: with a second server, opens go on the moment the first is killed",
  async () => {
    await using stage = await startStage({
      args: SHORT_PEER_TIME,
    });
    await using _second = await startServer(stage.nats.url);
    await stage.server.process.kill();
    for (let i = 0; i < 20; i++) {
      await stage.expectServing();
    }
  },
);

for (const side of ROLES) {
  integrationTest(
    `process: the ${side} stopped (SIGSTOP) for a while under load is a pause`,
    async () => {
      await using stage = await startStage({
        args: QUICK,
      });
      const before = await warm(stage);
      {
        using beside = await dial(stage.endpoint);
        await roundTrip(beside);
        await stage.expectEcho({
          seed: 1,
          size: 24 * MIB,
          meanwhile: async (arrivals) => {
            await arrivals.reached(MIB);
            const { process } = stage.role(side);
            process.pause();
            // Long enough for its pings, and those to it, to stay unanswered.
            await pause(1_500);
            process.resume();
          },
        });
        await roundTrip(beside);
      }
      await stage.expectNoLeaks(before);
    },
  );

  integrationTest(
    `process: the ${side} stopped for longer than the resume time is given up, and works again after`,
    async () => {
      await using stage = await startStage({
        args: [...QUICK, "--resume-timeout", "700ms", "--peer-timeout", "1h"],
      });
      const before = await warm(stage);
      const other: RoleName = side === "client" ? "server" : "client";
      const mark = stage.role(other).process.mark();
      const conn = await dial(stage.endpoint);
      await roundTrip(conn);
      stage.role(side).process.pause();
      await tunnelEnd(stage.role(other), { reason: "peer-gone", since: mark });
      stage.role(side).process.resume();
      // What it still had of the tunnel goes too, as soon as it looks.
      assert.equal((await readEnding(conn)).bytes, 0);
      await stage.echo.whenOpenAtMost(0);
      conn.close();
      await stage.expectServing();
      await stage.expectNoLeaks(before);
    },
  );
}

integrationTest(
  "process: the target stopped is a pause; killed, the application's connection ends",
  async () => {
    await using redis = await startOwnRedis();
    await using stage = await startStage({ target: redis.address });
    const ping = new TextEncoder().encode("PING\r\n");
    const pong = new TextEncoder().encode("+PONG\r\n");
    {
      using conn = await dial(stage.endpoint);
      await writeAll(conn, ping);
      assert.deepEqual(await readExactly(conn, pong.length), pong);
      redis.process.pause();
      for (let i = 0; i < 1_000; i++) await writeAll(conn, ping);
      redis.process.resume();
      for (let i = 0; i < 1_000; i++) {
        assert.deepEqual(await readExactly(conn, pong.length), pong);
      }
      await redis.process.kill();
      assert.equal((await readEnding(conn)).bytes, 0);
    }
    await stage.whenIdle();
    const mark = stage.client.process.mark();
    using late = await dial(stage.endpoint);
    assert.equal((await readEnding(late)).bytes, 0);
    await stage.client.entry(({ reason }) => reason === "refused", {
      since: mark,
    });
  },
);

integrationTest(
  "process: an application killed in mid-transfer ends its target's connection, no other",
  async () => {
    await using stage = await startStage();
    const before = await warm(stage);
    {
      using beside = await dial(stage.endpoint);
      await roundTrip(beside);
      const conn = await dial(stage.endpoint);
      const flooding = flood(conn);
      await stage.whenMetric("server", "sproxy_bytes_total", {
        label: `direction="received"`,
        is: (bytes) => bytes > 4 * MIB,
      });
      conn.close(); // with bytes unread: a reset, as from a process that was killed
      await flooding;
      await stage.echo.whenOpenAtMost(1);
      await roundTrip(beside);
    }
    await stage.expectNoLeaks(before);
  },
);

integrationTest(
  "process: broker, server and client each killed in turn, and what starts anew works",
  async () => {
    await using stage = await startStage({
      args: SHORT_PEER_TIME,
    });
    const before = await warm(stage);
    for (const party of ["server", "broker", "client"] as const) {
      await using _load = await load(stage);
      if (party === "broker") await stage.nats.restart();
      else await stage.restart(party);
      await stage.expectServing();
    }
    await stage.echo.whenOpenAtMost(0);
    await stage.expectNoLeaks(before);
  },
);

integrationTest(
  "a connection is called by role, host and process ID in the broker's monitoring, or as --nats-name says",
  async () => {
    await using nats = await startNatsServer();
    await using server = await startServer(nats.url);
    await using _named = await startServer(nats.url, {
      args: ["--nats-name", "edge 7"],
    });
    const { connections } = await nats.monitor("connz");
    assert.ok(Array.isArray(connections));
    assert.deepEqual(connections.map(({ name }) => name).toSorted(), [
      "edge 7",
      `tcp-sproxy server ${Deno.hostname()} pid ${server.process.pid}`,
    ]);
  },
);
