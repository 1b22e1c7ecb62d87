/** Open tunnels live through what happens to NATS: not one byte is lost or comes twice. */
import assert from "node:assert/strict";
import { Arrivals, expectEcho, roundTrip } from "./support/chaos_flow.ts";
import { pause } from "./support/changes.ts";
import {
  DOWN,
  echoThroughKills,
  killBroker,
  QUICK,
  startStage,
  stopBroker,
  tunnelEnd,
  warm,
} from "./support/chaos_stage.ts";
import { ByteSource, digestOf } from "./support/hash.ts";
import { eventually } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { Sink, startSink, startSource, Target } from "./support/targets.ts";
import { dial, readEnding, receiveAll, sendAll } from "./support/transfer.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const ROLES = ["server", "client"] as const;

/** So long that nothing may wait for it. */
const NEVER = "1h";

integrationTest(
  "resume: broker killed three times during an echo, bytes the same",
  async () => {
    await using stage = await startStage();
    await echoThroughKills(stage, 48 * MIB);
  },
);

integrationTest(
  "resume: broker killed three times during a download, bytes and end the same",
  async () => {
    const size = 40 * MIB;
    await using target = startSource(2, size);
    await using stage = await startStage({ target: target.address });
    using conn = await dial(stage.endpoint);
    const arrivals = new Arrivals(conn);
    await killBroker(stage, arrivals, { size, down: DOWN });
    assert.ok(arrivals.bytes < size);
    assert.deepEqual(await arrivals.whole, digestOf(2, size));
    await conn.closeWrite();
    await target.whenOpenAtMost(0);
    await stage.whenIdle();
  },
);

integrationTest(
  "resume: broker killed during an upload and while its end is under way",
  async () => {
    const size = 24 * MIB;
    const reply = new ByteSource(4, 64 * KIB).rest();
    await using target = startSink(reply);
    await using stage = await startStage({ target: target.address });
    for (let round = 0; round < 2; round++) {
      using conn = await dial(stage.endpoint);
      const sending = sendAll(conn, new ByteSource(3, size));
      await stage.whenMetric("server", "sproxy_bytes_total", {
        label: "received",
        is: (bytes) => bytes > round * size + size / 3,
      });
      await stage.nats.restart();
      // The last bytes and the FIN are on their way, or just about to be.
      await sending;
      await stage.nats.restart();
      assert.deepEqual(await target.digest(round), digestOf(3, size));
      assert.deepEqual(await receiveAll(conn), digestOf(4, reply.length));
    }
    await stage.whenIdle();
  },
);

integrationTest(
  "resume: 40 tunnels at once, the broker stopped in order and restarted",
  async () => {
    const size = MIB;
    await using stage = await startStage();
    const before = await warm(stage);
    const conns = await Promise.all(
      Array.from({ length: 40 }, () => dial(stage.endpoint)),
    );
    for (const conn of conns) await roundTrip(conn);
    const echoes = conns.map((conn, seed) => expectEcho(conn, { seed, size }));
    await stage.nats.stop();
    await stage.nats.restart();
    await Promise.all(echoes);
    for (const conn of conns) conn.close();
    await stage.expectNoLeaks(before);
  },
);

for (const side of ROLES) {
  integrationTest(
    `resume: the ${side} cut off as a slow consumer goes on where it was`,
    async () => {
      const size = 512 * KIB;
      const stopped = Promise.withResolvers<void>();
      await using target = side === "client"
        ? new Target(async (conn) => {
          await stopped.promise;
          await sendAll(conn, new ByteSource(8, size));
          await receiveAll(conn);
        })
        : startSink();
      await using stage = await startStage({
        target: target.address,
        nats: { config: `max_pending: 1MB\nwrite_deadline: "500ms"` },
      });
      // Together their first windows are more than the kernel takes for a stopped reader.
      const conns = await Promise.all(
        Array.from({ length: 96 }, () => dial(stage.endpoint)),
      );
      await stage.whenMetric("server", "sproxy_tunnels_open", {
        is: (open) => open === conns.length,
      });
      stage.role(side).process.pause();
      stopped.resolve();
      const moving = conns.map((conn) =>
        side === "client"
          ? conn.closeWrite()
          : sendAll(conn, new ByteSource(8, size))
      );
      await eventually(
        async () => await stage.nats.slowConsumers() > 0,
        () => "no slow consumer was cut",
      );
      stage.role(side).process.resume();
      await Promise.all(moving);
      for (const conn of conns) {
        const whole = digestOf(8, side === "client" ? size : 0);
        assert.deepEqual(await receiveAll(conn), whole);
        conn.close();
      }
      if (target instanceof Sink) {
        for (const digest of target.digests) {
          assert.deepEqual(digest, digestOf(8, size));
        }
        assert.equal(target.digests.length, conns.length);
      }
      await stage.whenIdle();
    },
  );
}

/** In which order the two streams end. */
const ORDERS = [
  "application first",
  "target first",
  "both at once",
  "application before the tunnel is open",
] as const;

for (const order of ORDERS) {
  integrationTest(
    `resume: half-close, ${order}, with full windows and the broker killed meanwhile`,
    async () => {
      const up = new ByteSource(21, 8 * MIB);
      const down = new ByteSource(22, 8 * MIB);
      const mayRead = Promise.withResolvers<void>();
      const arrived = Promise.withResolvers<unknown>();
      await using target = new Target(async (conn) => {
        const sending = order === "target first" || order === "both at once"
          ? sendAll(conn, down)
          : undefined;
        await mayRead.promise;
        arrived.resolve(await receiveAll(conn));
        await (sending ?? sendAll(conn, down));
      });
      await using stage = await startStage({ target: target.address });
      const early = order === "application before the tunnel is open";
      if (early) stage.server.process.pause();
      using conn = await dial(stage.endpoint);
      const sending = order === "target first" ? undefined : sendAll(conn, up);
      const [sender, receiver] = order === "target first"
        ? ["server", "client"] as const
        : ["client", "server"] as const;
      if (early) await stage.nats.restart();
      stage.server.process.resume();
      // Nobody reads: the sender waits for credit, and its peer holds what it
      // gave; half of a window at least, before it would give more.
      await stage.whenMetric(receiver, "sproxy_held_bytes", {
        label: `buffer="receive"`,
        is: (bytes) => bytes >= 128 * KIB,
      });
      await stage.nats.restart();
      assert.ok(await stage.metric(sender, "sproxy_tunnels_open") === 1);
      mayRead.resolve();
      const received = receiveAll(conn);
      if (order === "target first") {
        assert.deepEqual(await received, digestOf(22, down.length));
        await sendAll(conn, up);
      }
      await sending;
      assert.deepEqual(await arrived.promise, digestOf(21, up.length));
      assert.deepEqual(await received, digestOf(22, down.length));
      await stage.whenIdle();
      for (const side of ROLES) {
        await tunnelEnd(stage.role(side), { reason: "ok" });
      }
    },
  );
}

integrationTest(
  "resume: broker stopped (SIGSTOP) until both sides have given its connection up",
  async () => {
    await using stage = await startStage({
      args: QUICK,
    });
    const before = await warm(stage);
    await stage.expectEcho({
      seed: 10,
      size: 32 * MIB,
      meanwhile: (arrivals) => stopBroker(stage, arrivals),
    });
    await stage.expectNoLeaks(before);
  },
);

integrationTest(
  "resume: broker stopped for a moment: a pause, no connection lost",
  async () => {
    await using stage = await startStage();
    await stage.expectEcho({
      seed: 11,
      size: 24 * MIB,
      meanwhile: async (arrivals) => {
        await arrivals.reached(MIB);
        stage.nats.pause();
        await pause(500);
        stage.nats.resume();
      },
    });
    for (const side of ROLES) {
      const reconnects = await stage.metric(
        side,
        "sproxy_nats_reconnects_total",
      );
      assert.equal(reconnects, 0);
    }
  },
);

integrationTest(
  "resume: NATS away for longer than the resume time cuts both ends, with the reason",
  async () => {
    await using stage = await startStage({
      args: [...QUICK, "--resume-timeout", "700ms"],
    });
    const before = await warm(stage);
    const marks = ROLES.map((side) => stage.role(side).process.mark());
    using conn = await dial(stage.endpoint);
    await roundTrip(conn);
    await stage.nats.kill();
    assert.equal((await readEnding(conn)).bytes, 0);
    await stage.echo.whenOpenAtMost(0);
    for (const [i, side] of ROLES.entries()) {
      const role = stage.role(side);
      await tunnelEnd(role, { reason: "nats-down", since: marks[i] ?? 0 });
      await stage.whenMetric(side, "sproxy_tunnels_closed_total", {
        label: `reason="nats-down"`,
        is: (count) => count === 1,
      });
    }
    await stage.nats.restart();
    await stage.expectServing();
    await stage.expectNoLeaks(before);
  },
);

integrationTest(
  "resume: a client that restarted under its ID has its old tunnels ended at once",
  async () => {
    await using stage = await startStage({
      clientArgs: ["--client-id", "edge7"],
      // Only the word of the new client can be what ends them.
      args: ["--resume-timeout", NEVER, "--peer-timeout", NEVER],
    });
    const busy = await dial(stage.endpoint);
    const idle = await dial(stage.endpoint);
    for (const conn of [busy, idle]) await roundTrip(conn);
    // One has bytes on their way, the other nothing to say: only pings speak of it.
    await stage.whenMetric("server", "sproxy_held_bytes", {
      is: (bytes) => bytes === 0,
    });
    await busy.write(new Uint8Array(256 * KIB));
    await stage.restart("client");
    await stage.echo.whenOpenAtMost(0);
    for (const conn of [busy, idle]) conn.close();
    await tunnelEnd(stage.server, { reason: "unknown-tunnel" });
    await stage.expectServing();
  },
);
