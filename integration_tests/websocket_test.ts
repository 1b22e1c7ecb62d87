/** NATS within WebSockets of real brokers: logins, outages, and byte for byte. */
import assert from "node:assert/strict";
import { Secret } from "../lib/base/credentials.ts";
import { connectNats } from "../lib/nats/connection.ts";
import type { NatsOptions } from "../lib/nats/options.ts";
import { brokers } from "../tests/support/brokers.ts";
import { RechunkRelay } from "../tests/support/rechunk_relay.ts";
import {
  CA,
  CLIENT,
  exercise,
  expectBackAfterRestart,
  firstFailure,
  TLS_FOLDER,
  tlsBlock,
} from "./support/broker_links.ts";
import { expectEcho, roundTrip } from "./support/chaos_flow.ts";
import {
  echoThroughKills,
  QUICK,
  startStage,
  stopBroker,
  warm,
} from "./support/chaos_stage.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { dial } from "./support/transfer.ts";

const MIB = 1024 * 1024;

/** Blocks of a `websocket` configuration. */
const PLAIN = "no_tls: true";
const SECURE = tlsBlock();

for (
  const [what, websocket, tls] of [
    ["ws://", PLAIN, undefined],
    ["wss://", SECURE, { ca: CA }],
    ["wss:// with a certificate of ours", tlsBlock("verify: true"), {
      ca: CA,
      ...CLIENT,
    }],
  ] as const
) {
  integrationTest(
    `${what}: bytes go both ways, also after a restart`,
    async () => {
      await using nats = await startNatsServer({ websocket });
      await using bus = await connectNats({
        servers: brokers(nats.websocketUrl),
        ...(tls && { tls }),
      });
      assert.equal(bus.server, `${nats.websocketUrl}/`);
      await exercise(bus);
      const { connections } = await nats.monitor("connz");
      assert.ok(Array.isArray(connections));
      assert.deepEqual(connections.map(({ kind, type }) => [kind, type]), [
        ["Client", "websocket"],
      ]);
      await expectBackAfterRestart(bus, nats);
    },
  );
}

integrationTest(
  "ws://: what INFO says of TLS is of the plain port",
  async () => {
    await using nats = await startNatsServer({
      websocket: PLAIN,
      config: tlsBlock(),
    });
    await using bus = await connectNats({
      servers: brokers(nats.websocketUrl),
    });
    await exercise(bus);
  },
);

integrationTest("ws://: frames in pieces of any size", async () => {
  await using nats = await startNatsServer({ websocket: PLAIN });
  await using relay = new RechunkRelay(nats.websocketPort, {
    nextSize: () => 1 + Math.floor(Math.random() * 3000),
  });
  await using bus = await connectNats({
    servers: brokers(`ws://127.0.0.1:${relay.port}`),
  });
  await exercise(bus);
});

integrationTest("ws://: a login is used, and a wrong one refused", async () => {
  await using nats = await startNatsServer({
    websocket: PLAIN,
    config: `authorization { token: "right" }`,
  });
  const login = (token: string): NatsOptions => ({
    servers: brokers(nats.websocketUrl),
    credentials: { kind: "token", token: new Secret(token) },
  });
  await using bus = await connectNats(login("right"));
  await exercise(bus);
  await assert.rejects(
    connectNats(login("wrong")),
    /refuses our login, .*: "Authorization Violation"/,
  );
});

integrationTest(
  "ws:// and nats:// side by side: what is there is taken",
  async () => {
    await using first = await startNatsServer({ websocket: PLAIN });
    await using second = await startNatsServer();
    await using bus = await connectNats({
      servers: brokers(first.websocketUrl, second.url),
    });
    assert.equal(bus.server, `${first.websocketUrl}/`);
    for (
      const [away, there] of [[first, second.url], [
        second,
        first.websocketUrl,
      ]] as const
    ) {
      const up = Promise.withResolvers<string>();
      bus.onLink((event) => event.type === "up" && up.resolve(event.server));
      await away.kill();
      assert.ok(`${there}/`.includes(await up.promise));
      await exercise(bus);
      await away.restart();
    }
  },
);

integrationTest(
  "ws://: the brokers that a cluster announces are dialled by their WebSockets",
  async () => {
    const cluster = { name: "web", routes: [] };
    await using first = await startNatsServer({ websocket: PLAIN, cluster });
    await using second = await startNatsServer({
      name: "nats-server 2",
      websocket: PLAIN,
      cluster: { ...cluster, routes: [first.clusterPort] },
    });
    await first.whenJoined(1);
    await using bus = await connectNats({
      servers: brokers(first.websocketUrl),
    });
    await exercise(bus);
    const up = Promise.withResolvers<string>();
    bus.onLink((event) => event.type === "up" && up.resolve(event.server));
    await first.kill();
    assert.equal(await up.promise, `${second.websocketUrl}/`);
    await exercise(bus);
  },
);

integrationTest(
  "ws:// and wss:// say what is wrong where they lead",
  async () => {
    await using nats = await startNatsServer({ websocket: PLAIN });
    await using secure = await startNatsServer({ websocket: SECURE });
    await using web = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response("no", { status: 404 }),
    );
    const options = { tls: { ca: CA } };
    assert.match(
      await firstFailure(`ws://127.0.0.1:${nats.port}`),
      /no HTTP, but perhaps with NATS/,
    );
    assert.match(
      await firstFailure(`ws://127.0.0.1:${web.addr.port}/nats`),
      /opens no WebSocket: HTTP 404 Not Found/,
    );
    assert.match(
      await firstFailure(secure.websocketUrl),
      /TLS failed: .*Issuer/,
    );
    assert.match(
      await firstFailure(`wss://127.0.0.1:${nats.websocketPort}`, options),
      /TLS failed: /,
    );
    assert.match(
      await firstFailure(`ws://127.0.0.1:${secure.websocketPort}`),
      /opens no WebSocket: HTTP 400|no HTTP/,
    );
    assert.match(
      await firstFailure(`wss://127.0.0.2:${secure.websocketPort}`, options),
      /TLS failed|refused/,
    );
    assert.match(
      await firstFailure(`nats://127.0.0.1:${nats.websocketPort}`, {
        dialTimeout: 300,
      }),
      /no answer within|begin with INFO|closed/,
    );
  },
);

/** Both roles over a WebSocket, without and with TLS. */
const STAGES = [
  { what: "ws://", nats: { websocket: PLAIN }, args: [] },
  {
    what: "wss://",
    nats: { websocket: SECURE },
    args: ["--nats-tls-ca", `${TLS_FOLDER}ca.pem`],
  },
] as const;

for (const { what, ...options } of STAGES) {
  integrationTest(
    `${what}: broker killed three times during an echo, bytes the same`,
    async () => {
      await using stage = await startStage({ ...options, overWebSocket: true });
      await echoThroughKills(stage, 32 * MIB);
    },
  );
}

integrationTest(
  "ws://: 40 tunnels at once, the broker stopped in order and restarted",
  async () => {
    const size = MIB;
    await using stage = await startStage({ ...STAGES[0], overWebSocket: true });
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

integrationTest(
  "ws://: broker stopped (SIGSTOP) until both sides have given its connection up",
  async () => {
    await using stage = await startStage({
      ...STAGES[0],
      args: QUICK,
      overWebSocket: true,
    });
    await stage.expectEcho({
      seed: 10,
      size: 16 * MIB,
      meanwhile: (arrivals) => stopBroker(stage, arrivals),
    });
  },
);
