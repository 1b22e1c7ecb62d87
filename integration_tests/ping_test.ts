/** `ls`, `ping` and what /ready says of whether servers answer, with real brokers and processes. */
import assert from "node:assert/strict";
import { canTrace } from "../lib/tools/trace.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import {
  clientRules,
  loginAs,
  rulesConfig,
  SERVER_RULES,
} from "./support/nats_users.ts";
import type { Process } from "./support/processes.ts";
import {
  launchRole,
  type Role,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { soon, whenReady } from "./support/waits.ts";

/** Starts a tool of the client. */
async function begin(
  nats: NatsServer,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Process> {
  return await spawnRole("client", {
    env,
    args: ["--nats-url", nats.url, ...words],
  });
}

/** What it printed, and its exit code. */
async function tool(
  nats: NatsServer,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly text: string }> {
  await using process = await begin(nats, words, env);
  const { code } = await soon(`${words.join(" ")} ends`, process.status);
  return { code, text: process.lines.join("\n") };
}

/** What /ready says, as far as it is looked at here. */
async function readiness(
  role: Role,
  status: 200 | 503,
  matching?: RegExp,
): Promise<Readonly<Record<string, unknown>>> {
  return JSON.parse(
    await whenReady(role, status, { ...(matching && { matching }) }),
  );
}

integrationTest(
  "ls and ping tell which servers answer, what each offers and whether a target opens, and /ready follows",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const began = new Date().toISOString();
    await using client = await startClient(nats.url, {
      target: echo.address,
      args: ["--status-addr", "127.0.0.1:0"],
    });
    const none = await readiness(client, 503, /no server listens/);
    assert.ok(String(none.since) >= began);
    assert.deepEqual(none.details, { destinations: 1, answered: 0 });
    const [nothing, lost] = await Promise.all([
      tool(nats, ["ls"]),
      tool(nats, ["ping", "-c", "1"]),
    ]);
    assert.equal(nothing.code, 1);
    assert.match(nothing.text, /^note: no server listens on proxy\.request\./m);
    assert.equal(lost.code, 1);
    assert.match(lost.text, /^seq=1 no answer: no server listens on /m);
    assert.match(lost.text, /^1 asked, 0 answered, 100% lost$/m);

    await using server = await startServer(nats.url, {
      args: [
        ...["--service", `db=${echo.address}`, "--service", "web=127.0.0.1:1"],
        ...["--allow-target", "*:*", "--workers", "2"],
      ],
    });
    const ready = await readiness(client, 200);
    assert.match(String(ready.last_error), /no server listens/);
    const { details } = await readiness(server, 200, /"ready":2/);
    assert.deepEqual(
      (details as { each: { worker: number; services_up: number }[] }).each
        .map(({ worker, services_up }) => [worker, services_up]),
      [[1, 2], [2, 2]],
    );
    const [list, json, pings, service, missing, open, refused] = await Promise
      .all([
        tool(nats, ["ls"]),
        tool(nats, ["ls", "--json"]),
        tool(nats, ["ping", "-c", "3", "-i", "20ms"]),
        tool(nats, ["ping", "svc:db", "-c", "1", "--json"]),
        tool(nats, ["ping", "svc:nix@nowhere", "-c", "1"]),
        tool(nats, ["ping", "svc:db", "--open"]),
        tool(nats, ["ping", "svc:web", "--open"]),
      ]);
    assert.equal(list.code, 0, list.text);
    // One line for each worker.
    assert.match(
      list.text,
      /^ID +HOST +VERSION +TUNNELS +UP +RTT +SERVICES\n(\w{10} +\S+#[12] +\S+ +\d+\/\d+ +\S+ +[\d.]+ms +db, web(\n|$)){2}/,
    );
    const { servers } = JSON.parse(json.text);
    assert.equal(new Set(servers.map(({ id }: { id: string }) => id)).size, 2);
    for (const { pid, state } of servers) {
      assert.deepEqual([pid, state], [server.process.pid, "ready"]);
    }
    assert.equal(pings.code, 0, pings.text);
    assert.match(
      pings.text,
      /^PING servers by NATS at .*\n(seq=[123] time=[\d.]+ms from .*\n){3}\n3 asked, 3 answered, 0% lost, min\/avg\/max [\d.]+\/[\d.]+\/[\d.]+ ms$/,
    );
    const [answer = "", summary = ""] = service.text.split("\n");
    assert.equal(JSON.parse(answer).answered, true);
    assert.equal(JSON.parse(summary).lost, 0);
    assert.equal(missing.code, 1);
    assert.match(missing.text, /no server @nowhere listens on/);
    assert.equal(open.code, 0, open.text);
    assert.match(open.text, /^seq=1 time=[\d.]+ms svc:db is open$/m);
    assert.equal(echo.accepted, 1);
    assert.equal(refused.code, 1);
    assert.match(refused.text, /svc:web does not open: .*refused/);

    // Until a signal, which is its end in order.
    await using endless = await begin(nats, ["ping", "-i", "20ms"]);
    await endless.waitForLine((line) => line.startsWith("seq=5 "));
    endless.signal("SIGINT");
    assert.equal((await soon("it ends", endless.status)).code, 0);
    assert.match(endless.lines.at(-1) ?? "", /^\d+ asked, \d+ answered, 0%/);

    const traced = await tool(nats, ["ping", "--trace"]);
    assert.equal(traced.code, 0, traced.text);
    const { version } = await nats.monitor("varz");
    assert.match(
      traced.text,
      canTrace(String(version))
        ? /^ +0\.00ms {2}broker .*\n.* from client "tcp-sproxy client ping .*\n.* to client "tcp-sproxy server /m
        : /^NATS at \S+ has version \S+, which traces no messages: that begins with 2\.11$/m,
    );

    // The broker gone: told with why, and over by itself.
    await nats.kill();
    const down = await readiness(client, 503, /last_error":"NATS at /);
    assert.equal(down.reason, "not connected to NATS");
    await nats.restart();
    await readiness(client, 200);
  },
);

integrationTest(
  "without the permissions that ls takes all else works, and ls says which is missing; with them it lists",
  async () => {
    const { publish, ...rules } = clientRules("edge7");
    const client = { publish, ...rules };
    const config = (more: boolean): string =>
      rulesConfig({
        client: more
          ? { ...rules, publish: [...publish, "proxy.request.probe.edge7"] }
          : client,
        server: more
          ? {
            ...SERVER_RULES,
            subscribe: [...SERVER_RULES.subscribe, "proxy.request.probe.*"],
          }
          : SERVER_RULES,
      });
    for (const more of [false, true]) {
      await using nats = await startNatsServer({ config: config(more) });
      await using server = await launchRole("server", nats.url, {
        env: loginAs("server"),
      });
      await whenReady(server, 200);
      const words = ["ls", "--client-id", "edge7"];
      const list = await tool(nats, words, loginAs("client"));
      assert.equal(list.code, 0, list.text);
      assert.match(list.text, /^ID /);
      assert.equal(
        list.text.includes(
          "note: NATS refuses what is published to proxy.request.probe.edge7",
        ),
        !more,
      );
      const complaints = server.entries().filter(({ level }) =>
        /warn|error/.test(level)
      );
      assert.deepEqual(
        complaints.filter(({ msg }) => !msg.startsWith("dials any target")),
        [],
      );
    }
  },
);
