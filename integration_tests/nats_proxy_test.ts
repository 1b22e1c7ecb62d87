/** Brokers that only a proxy leads to: ours in many moods, and real ones where they are installed. */
import assert from "node:assert/strict";
import { parseProxyUrl } from "../lib/config/proxy_url.ts";
import { connectNats } from "../lib/nats/connection.ts";
import type { NatsOptions } from "../lib/nats/options.ts";
import { brokers } from "../tests/support/brokers.ts";
import { type Endpoint, formatAddress, freePort } from "./support/addresses.ts";
import {
  CA,
  CLIENT,
  exercise,
  expectBackAfterRestart,
  firstFailure,
  tlsBlock,
} from "./support/broker_links.ts";
import { expectEcho } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { NatsProxy } from "./support/nats_proxy.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { locateAll } from "./support/optional_tools.ts";
import { spawn } from "./support/processes.ts";
import { startClient, startServer } from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";
import { eventually } from "./support/waits.ts";

const MIB = 1024 * 1024;

/** A broker that nobody but the proxy knows. */
const BROKER = "broker.test:4222";

const KINDS = ["socks5", "http"] as const;

for (const kind of KINDS) {
  integrationTest(
    `${kind}: a tunnel whose roles reach NATS by a proxy, which alone knows the broker's name`,
    async () => {
      await using nats = await startNatsServer();
      await using proxy = new NatsProxy({
        leads: { [BROKER]: nats.port },
        login: "ann:pass:word",
      });
      await using echo = startEcho();
      const url = `nats://${BROKER}`;
      const env = { NATS_PROXY: `${kind}://ann:pass%3Aword@${proxy.address}` };
      await using server = await startServer(url, { env });
      await using client = await startClient(url, {
        env,
        target: echo.address,
      });
      using conn = await dial(client.endpoint);
      await expectEcho(conn, {
        seed: 1,
        size: 16 * MIB,
        meanwhile: async (arrivals) => {
          await arrivals.reached(4 * MIB);
          await nats.restart();
        },
      });
      assert.deepEqual(new Set(proxy.asked), new Set([BROKER]));
      const connected = await client.entry(({ msg }) =>
        msg === "connected to NATS"
      );
      assert.equal(connected.proxy, proxy.address);
      for (const { process } of [server, client]) {
        assert.ok(!process.lines.join("\n").includes("word"));
      }
    },
  );

  for (
    const [what, url, websocket, tls] of [
      ["TLS", "tls://localhost:1", undefined, { ca: CA }],
      ["TLS with a certificate of ours", "tls://localhost:1", undefined, {
        ca: CA,
        ...CLIENT,
      }],
      ["a WebSocket", "ws://localhost:1", "no_tls: true", undefined],
      ["a WebSocket within TLS", "wss://localhost:1", tlsBlock(), { ca: CA }],
    ] as const
  ) {
    integrationTest(`${kind}: ${what} through a proxy`, async () => {
      await using nats = await startNatsServer(
        websocket === undefined ? { config: tlsBlock() } : { websocket },
      );
      const port = websocket === undefined ? nats.port : nats.websocketPort;
      await using proxy = new NatsProxy({ leads: { "localhost:1": port } });
      await using bus = await connectNats({
        servers: brokers(url),
        proxy: parseProxyUrl(`${kind}://${proxy.address}`),
        ...(tls && { tls }),
      });
      await exercise(bus);
    });
  }

  integrationTest(
    `${kind}: what is wrong with a proxy, or beyond it, is told with its name`,
    async () => {
      await using proxy = new NatsProxy({ leads: {}, login: "ann:right" });
      const at = proxy.address;
      for (
        const [login, problem] of [
          ["", "it wants a user and a password: give them in its URL"],
          ["ann:wrong@", "it refuses our user and password"],
          [
            "ann:right@",
            kind === "http"
              ? "it does not connect us: HTTP 403 Forbidden"
              : "it does not connect us: its rules do not allow it",
          ],
        ] as const
      ) {
        assert.equal(
          await firstFailure(`nats://${BROKER}`, {
            proxy: parseProxyUrl(`${kind}://${login}${at}`),
          }),
          `the proxy ${at}: ${problem}`,
        );
      }
      assert.deepEqual(proxy.asked, [BROKER]);
      assert.match(
        await firstFailure(`nats://${BROKER}`, {
          proxy: parseProxyUrl(`${kind}://127.0.0.1:${freePort()}`),
        }),
        /^the proxy 127\.0\.0\.1:\d+: .*refused/,
      );
    },
  );

  for (
    const [what, answer, problem] of [
      ["garbage", "garbage\r\n", /answers with no (SOCKS 5|HTTP)$/],
      ["nothing", "", /closed the connection instead of an answer$/],
      ["half an answer", kind === "http" ? "HTTP/1.1 2" : "\x05", /closed/],
    ] as const
  ) {
    integrationTest(
      `${kind}: a proxy that answers ${what} is refused`,
      async () => {
        await using proxy = new NatsProxy({
          leads: {},
          answer: new TextEncoder().encode(answer),
        });
        assert.match(
          await firstFailure(`nats://${BROKER}`, {
            proxy: parseProxyUrl(`${kind}://${proxy.address}`),
          }),
          problem,
        );
      },
    );
  }
}

integrationTest(
  "a proxy that hangs costs the time of a dial, and is ended with it",
  async () => {
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    await assert.rejects(
      connectNats({
        servers: brokers(`nats://${BROKER}`),
        proxy: parseProxyUrl(`socks5://127.0.0.1:${silent.addr.port}`),
        dialTimeout: 200,
        connectTimeout: 700,
      }),
      /NATS at broker\.test:4222: no answer within 0\.2 s/,
    );
  },
);

integrationTest(
  "the proxy of a context, and NATS_SOCKS_PROXY, are used; HTTPS_PROXY and ALL_PROXY are not",
  async () => {
    await using nats = await startNatsServer();
    await using proxy = new NatsProxy({ leads: { [BROKER]: nats.port } });
    await using home = await Folder.make();
    const url = `socks5://${proxy.address}`;
    const path = await home.write(
      "mine.json",
      JSON.stringify({ url: BROKER, socks_proxy: url }),
    );
    const env = { HOME: home.path };
    for (
      const options of [
        { args: ["--context", path], env },
        {
          args: ["--nats-url", BROKER],
          env: { ...env, NATS_SOCKS_PROXY: url },
        },
      ]
    ) {
      const before = proxy.asked.length;
      await using _server = await startServer(undefined, options);
      assert.equal(proxy.asked.length, before + 1);
    }
    // A port that nobody listens at.
    const dead = `http://127.0.0.1:${freePort()}`;
    await using server = await startServer(nats.url, {
      env: { HTTPS_PROXY: dead, HTTP_PROXY: dead, ALL_PROXY: dead },
    });
    assert.ok(!server.process.ended);
  },
);

const TINYPROXY = await locateAll("tinyproxy");
const MICROSOCKS = await locateAll("microsocks");

/** Waits until somebody listens there. */
async function whenListening(endpoint: Endpoint): Promise<void> {
  await eventually(
    () =>
      Deno.connect(endpoint).then(
        (conn) => {
          conn.close();
          return true;
        },
        () => false,
      ),
    () => `nobody listens at ${formatAddress(endpoint)}`,
  );
}

/** The bus of a broker by way of a real proxy works, also after a restart. */
async function expectThrough(
  proxy: string,
  options: Partial<NatsOptions> = {},
): Promise<void> {
  await using nats = await startNatsServer();
  await using bus = await connectNats({
    ...options,
    servers: brokers(`nats://localhost:${nats.port}`),
    proxy: parseProxyUrl(proxy),
    connectTimeout: 30_000,
  });
  await exercise(bus);
  await expectBackAfterRestart(bus, nats);
}

integrationTest("NATS by way of tinyproxy", async () => {
  await using home = await Folder.make();
  const port = freePort();
  const config = await home.write(
    "tinyproxy.conf",
    `Port ${port}\nListen 127.0.0.1\nBasicAuth ann secret\nTimeout 60\n`,
  );
  await using _proxy = spawn(TINYPROXY.get("tinyproxy") ?? "", {
    args: ["-d", "-c", config],
  });
  const endpoint = { hostname: "127.0.0.1", port };
  await whenListening(endpoint);
  await expectThrough(`http://ann:secret@127.0.0.1:${port}`);
  assert.match(
    await firstFailure("nats://localhost:1", {
      proxy: parseProxyUrl(`http://127.0.0.1:${port}`),
    }),
    /wants a user and a password/,
  );
}, { ignore: TINYPROXY.size === 0 });

integrationTest("NATS by way of microsocks", async () => {
  const port = freePort();
  await using _proxy = spawn(MICROSOCKS.get("microsocks") ?? "", {
    args: ["-i", "127.0.0.1", "-p", `${port}`, "-u", "ann", "-P", "secret"],
  });
  await whenListening({ hostname: "127.0.0.1", port });
  const url = `socks5h://ann:secret@127.0.0.1:${port}`;
  await expectThrough(url);
  assert.match(
    await firstFailure(`nats://localhost:${freePort()}`, {
      proxy: parseProxyUrl(url),
    }),
    /does not connect us: the connection was refused/,
  );
  assert.match(
    await firstFailure("nats://localhost:1", {
      proxy: parseProxyUrl(`socks5://127.0.0.1:${port}`),
    }),
    /wants a user and a password/,
  );
}, { ignore: MICROSOCKS.size === 0 });
