/** Named services, sites and Unix sockets as targets, at real servers, on a real broker. */
import assert from "node:assert/strict";
import { requireTool } from "../tools/find_or_install.ts";
import type { Endpoint } from "./support/addresses.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { metricValue } from "./support/chaos_stage.ts";
import { Folder } from "./support/folder.ts";
import { Hostile } from "./support/hostile.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import {
  clientRules,
  loginAs,
  rulesConfig,
  SERVER_RULES,
} from "./support/nats_users.ts";
import { spawn } from "./support/processes.ts";
import { connectRedis } from "./support/redis_client.ts";
import { ClientRole, Role, spawnRole, startServer } from "./support/roles.ts";
import { startEcho, Target } from "./support/targets.ts";
import { dial, readToEnd, writeAll } from "./support/transfer.ts";
import { comes, soon, whenReady } from "./support/waits.ts";

/** What the log says of an open that came to nothing. */
interface Failure {
  readonly reason: string;
  readonly text: string;
}

/** Starts a client that listens at one place for this destination. */
async function startFor(
  nats: NatsServer,
  destination: string,
  { args = [], env = {} }: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<ClientRole> {
  const role = new Role(
    await spawnRole("client", {
      env,
      // deno-fmt-ignore
      args: [
        "--nats-url", nats.url, "--log-format", "json",
        "-L", `127.0.0.1:0:${destination}`, ...args,
      ],
    }),
  );
  const { address } = await role.entry(({ msg }) => msg === "listening");
  return new ClientRole(role.process, String(address));
}

/** Starts a server that has these flags, with this folder as its HOME. */
function serve(
  nats: NatsServer,
  args: readonly string[],
  { folder, env = {} }: {
    readonly folder?: Folder;
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<Role> {
  return startServer(nats.url, {
    args,
    env: { ...env, ...(folder && { HOME: folder.path }) },
  });
}

/** One tunnel that works. */
async function works(
  { endpoint }: { readonly endpoint: Endpoint },
): Promise<void> {
  using conn = await dial(endpoint);
  await soon("the tunnel works", roundTrip(conn));
}

/** Why a connection to a client gets no tunnel, as its log says. */
async function failure(client: ClientRole): Promise<Failure> {
  const mark = client.process.mark();
  using conn = await dial(client.endpoint);
  await soon("the connection ends", readToEnd(conn).catch(() => {}));
  const { reason, why } = await client.entry(
    ({ msg }) => msg === "open failed",
    { since: mark },
  );
  // Who says so goes before it.
  return {
    reason: String(reason),
    text: String(why).replace("the other end says: ", ""),
  };
}

/** The file of a server that offers `db` at this address, and looks often whether it is there. */
function checked(address: string): string {
  return `
server:
  services:
    - name: db
      target: ${address}
      check: { period: 100ms, timeout: 1s, failures: 2 }
`;
}

integrationTest(
  "two servers share a service; one whose target dies leaves it to the other, and comes back with it",
  async () => {
    await using nats = await startNatsServer();
    await using folder = await Folder.make();
    await using one = startEcho();
    const dying = startEcho();
    const { address, endpoint: { port } } = dying;
    await using cleanup = new AsyncDisposableStack();
    const configs = [
      await folder.write("1.yaml", checked(one.address)),
      await folder.write("2.yaml", checked(address)),
    ] as const;
    await using first = await serve(nats, ["--config", configs[0]], { folder });
    await using second = await serve(nats, ["--config", configs[1]], {
      folder,
    });
    for (const server of [first, second]) {
      await server.entry(({ msg }) => msg === "service offered");
    }
    await using client = await startFor(nats, "svc:db");
    // Checks connect, too, and are no tunnels.
    const opened = async (server: Role): Promise<number> => {
      const { text } = await server.status("/metrics");
      const name = "sproxy_service_tunnels_opened_total";
      return metricValue(text, name, 'service="db"');
    };
    const up = async (server: Role): Promise<number> => {
      const { text } = await server.status("/metrics");
      return metricValue(text, "sproxy_service_up", 'service="db"');
    };
    await comes(async () => {
      await works(client);
      return await opened(first) > 0 && await opened(second) > 0
        ? undefined
        : "one of the servers gets no tunnel";
    });

    let mark = second.process.mark();
    await dying[Symbol.asyncDispose]();
    const gone = await second.entry(
      ({ msg }) => msg.startsWith("service out of order"),
      { since: mark },
    );
    assert.match(String(gone.why), /connection refused/);
    assert.equal(await up(second), 0);
    assert.equal(await up(first), 1);
    const before = await opened(second);
    for (let count = 0; count < 20; count++) await works(client);
    assert.equal(await opened(second), before);

    mark = second.process.mark();
    cleanup.use(startEcho({ port }));
    await second.entry(({ msg }) => msg === "service offered", { since: mark });
    await comes(async () => {
      await works(client);
      return await opened(second) > before ? undefined : "it gets no tunnel";
    });
    await whenReady(second, 200);
  },
);

integrationTest(
  "an unknown service, and one that is out of order, are told at once, with the names that there are",
  async () => {
    await using nats = await startNatsServer();
    await using folder = await Folder.make();
    await using echo = startEcho();
    const closed = startEcho();
    const { address } = closed;
    await closed[Symbol.asyncDispose]();
    const config = await folder.write(
      "s.yaml",
      `${checked(address)}    - { name: web, target: "${echo.address}" }\n`,
    );
    await using _server = await serve(nats, ["--config", config], { folder });
    await using unknown = await startFor(nats, "svc:dbx");
    const started = performance.now();
    assert.deepEqual(await failure(unknown), {
      reason: "no-such-service",
      text: 'no service "dbx" is offered; there are: web',
    });
    assert.ok(performance.now() - started < 5_000);
    await using broken = await startFor(nats, "svc:db");
    const { reason, text } = await failure(broken);
    assert.equal(reason, "no-such-service");
    assert.match(
      text,
      /^the service "db" is out of order: Dial .*: connection refused$/,
    );
    await using web = await startFor(nats, "svc:web");
    await works(web);
  },
);

integrationTest(
  "where services are offered addresses are not, unless --allow-target says so",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const service = ["--service", `web=${echo.address}`];
    await using cleanup = new AsyncDisposableStack();
    const server = cleanup.use(await serve(nats, service));
    await server.entry(({ msg }) => msg.startsWith("only services may be"));
    const address = cleanup.use(await startFor(nats, echo.address));
    const { reason, text } = await failure(address);
    assert.equal(reason, "denied");
    assert.match(text, /is no service, and nothing else may be reached here/);
    await server[Symbol.asyncDispose]();
    await using _both = await serve(nats, [
      ...service,
      ...["--allow-target", "*:*"],
    ]);
    await works(address);
    await using web = await startFor(nats, "svc:web");
    await works(web);
    await using denying = await startNatsServer();
    await using _third = await serve(denying, [
      ...service,
      ...["--deny-target", "127.0.0.0/8:*"],
    ]);
    await using denied = await startFor(denying, "svc:web");
    assert.equal((await failure(denied)).reason, "denied");
  },
);

integrationTest(
  "a server with --site hears that site, and no other opens, of version 1 either",
  async () => {
    await using nats = await startNatsServer();
    await using edge = startEcho();
    await using central = startEcho();
    const args = (address: string) => ["--service", `db=${address}`];
    const any = ["--allow-target", "*:*"];
    await using berlin = await serve(nats, [
      ...args(edge.address),
      ...["--site", "berlin", ...any],
    ]);
    const ready = await berlin.entry(({ msg }) => msg === "ready");
    assert.equal(ready.request, "proxy.request.at.berlin.*");
    assert.equal(ready.site, "berlin");
    await using there = await startFor(nats, "svc:db@berlin");
    await works(there);
    await using byAddress = await startFor(nats, `${central.address}@berlin`);
    await works(byAddress);
    assert.deepEqual([edge.accepted, central.accepted], [1, 1]);
    for (
      const destination of ["svc:db", central.address, "svc:db@paris"]
    ) {
      await using client = await startFor(nats, destination);
      assert.equal((await failure(client)).reason, "no-server", destination);
    }
    await using hostile = await Hostile.connect(nats.url, "evil");
    const [message] = await Promise.all([
      hostile.raw.request("proxy.request", "{}"),
    ]);
    assert.equal(message.status, 503);
    await using _other = await serve(nats, args(central.address));
    await using here = await startFor(nats, "svc:db");
    await works(here);
    await works(there);
    assert.deepEqual([edge.accepted, central.accepted], [2, 2]);
  },
);

integrationTest(
  "permissions of the broker fence one service, at the client and at the server",
  async () => {
    await using nats = await startNatsServer({
      config: rulesConfig({
        client: {
          ...clientRules("edge7"),
          publish: [
            "proxy.request.svc.db.edge7",
            ...clientRules("edge7").publish.slice(1),
          ],
        },
        server: {
          ...SERVER_RULES,
          subscribe: ["proxy.request.svc.db.*", "p.data.to_server.>"],
        },
      }),
    });
    await using echo = startEcho();
    await using server = await serve(nats, [
      ...["--service", `db=${echo.address}`],
      ...["--service", `web=${echo.address}`],
    ], { env: loginAs("server") });
    await whenReady(server, 200);
    const refused = await server.entry(({ msg, subject }) =>
      msg === "NATS refuses a subscription" &&
      subject === "proxy.request.svc.web.*"
    );
    assert.equal(refused.level, "error");
    const edge = { env: loginAs("client"), args: ["--client-id", "edge7"] };
    {
      await using client = await startFor(nats, "svc:db", edge);
      await works(client);
    }
    for (const destination of ["svc:web", echo.address]) {
      await using client = await startFor(nats, destination, edge);
      const { reason } = await failure(client);
      assert.ok(["denied", "no-server"].includes(reason), reason);
    }
    assert.equal(echo.accepted, 1);
  },
);

integrationTest(
  "Redis on a Unix socket is a target, as a service and by its path if that is allowed",
  async () => {
    await using nats = await startNatsServer();
    await using folder = await Folder.make();
    const path = folder.at("redis.sock");
    await using redis = spawn(await requireTool("redis-server"), {
      name: "redis-server",
      // deno-fmt-ignore
      args: [
        "--port", "0", "--unixsocket", path, "--dir", folder.path,
        "--save", "", "--appendonly", "no", "--daemonize", "no",
      ],
    });
    await redis.waitForLine((line) => /eady to accept connections/.test(line));
    const service = ["--service", `redis=unix:${path}`];
    await using cleanup = new AsyncDisposableStack();
    const server = cleanup.use(await serve(nats, service, { folder }));
    {
      await using client = await startFor(nats, "svc:redis");
      await using connection = await connectRedis(client.endpoint);
      const value = "x".repeat(1 << 20);
      await connection.redis.set("key", value);
      assert.equal(await connection.redis.get("key"), value);
    }
    const tunnel = await server.entry(({ msg }) => msg === "tunnel closed");
    assert.equal(tunnel.target, "svc:redis");
    assert.equal(tunnel.peer, `unix:${path}`);
    await using direct = await startFor(nats, `unix:${path}`);
    assert.equal((await failure(direct)).reason, "denied");
    await server[Symbol.asyncDispose]();
    {
      await using _any = await serve(nats, ["--allow-target", "*:*"], {
        folder,
      });
      assert.equal((await failure(direct)).reason, "denied");
    }
    const allowed = ["--allow-target", `unix:${path}`];
    await using _exact = await serve(nats, allowed, { folder });
    await using connection = await connectRedis(direct.endpoint);
    assert.equal(await connection.redis.ping(), "PONG");
    await redis.kill();
    await soon("the tunnel ends", connection.whenEnded());
    const { reason, text } = await failure(direct);
    assert.equal(reason, "refused");
    assert.match(text, /^Dial unix:.*: connection refused$/);
  },
);

for (const workers of ["1", "2"]) {
  integrationTest(
    `a service with the PROXY protocol tells its target whose connection it has, and that a check is nobody's: workers=${workers}`,
    async () => {
      await using nats = await startNatsServer();
      await using folder = await Folder.make();
      const headers: string[] = [];
      await using target = new Target(async (conn) => {
        const text = new TextDecoder().decode(await readToEnd(conn));
        headers.push(text);
        await conn.closeWrite();
      });
      const config = await folder.write(
        "s.yaml",
        `${checked(target.address)}      proxy_protocol: v1\n`,
      );
      await using server = await serve(
        nats,
        ["--config", config, "--workers", workers],
        { folder },
      );
      await server.entry(({ msg }) => msg === "service offered");
      await using client = await startFor(nats, "svc:db");
      using conn = await dial(client.endpoint);
      await writeAll(conn, new TextEncoder().encode("hello"));
      await conn.closeWrite();
      await soon("the target has ended, too", readToEnd(conn));
      const { port } = conn.localAddr as Deno.NetAddr;
      const to = client.endpoint.port;
      const told = headers.find((text) => text.endsWith("hello"));
      assert.equal(
        told,
        `PROXY TCP4 127.0.0.1 127.0.0.1 ${port} ${to}\r\nhello`,
      );
      const checks = headers.filter((text) => text !== told);
      assert.ok(checks.length > 0);
      for (const text of checks) assert.equal(text, "PROXY UNKNOWN\r\n");
      await comes(async () => {
        const { text } = await server.status("/metrics");
        // Of the process it is there once all workers are.
        return text.includes('sproxy_service_up{service="db"} 1\n')
          ? undefined
          : "a worker does not offer it";
      });
    },
  );
}

integrationTest(
  "attack: opens with names and paths that are none, or on the subject of a service for something else, are refused, and dial nothing",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using server = await serve(nats, [
      ...[
        "--service",
        `db=${echo.address}`,
        "--service",
        `web=${echo.address}`,
      ],
      ...["--allow-target", "*:*"],
    ]);
    await using evil = await Hostile.connect(nats.url, "evil");
    const own = "proxy.request.svc.db.evil";
    const cases: readonly (readonly [
      target: string | undefined,
      subject: string,
      code: string,
    ])[] = [
      [undefined, own, "protocol"],
      ["svc:web", own, "protocol"],
      ["svc:db", "proxy.request.svc.web.evil", "protocol"],
      ["svc:db", "proxy.request.evil", "denied"],
      [`unix:/run/x`, own, "protocol"],
      [`unix:/run/x`, "proxy.request.evil", "denied"],
      [`svc:${"a".repeat(10_000)}`, own, "protocol"],
      ["svc:*", own, "protocol"],
      ["svc:>", own, "protocol"],
      ["svc:", own, "protocol"],
      ["svc:db@berlin", own, "protocol"],
      ["svc:toString", "proxy.request.evil", "no-such-service"],
      ["svc:__proto__", "proxy.request.evil", "no-such-service"],
      ["unix:/run/\x07x", own, "protocol"],
      ["unix:/run/x\u202e", "proxy.request.evil", "denied"],
      [`unix:/${"a".repeat(200)}`, own, "protocol"],
      ["unix:../x", own, "protocol"],
    ];
    for (const [named, subject, code] of cases) {
      const answer = await soon(
        `${named} on ${subject} is answered`,
        evil.open({
          target: echo.address,
          subject,
          ...(named !== undefined && { headers: { "sproxy-target": named } }),
        }),
      );
      assert.equal(answer.code, code, `${named} on ${subject}`);
    }
    assert.equal(echo.accepted, 0);
    const answer = await evil.open({
      target: echo.address,
      subject: own,
      headers: { "sproxy-target": "svc:db" },
    });
    assert.equal(answer.code, undefined);
    // Who says to be another on a service's subject is not answered at all.
    evil.ask({
      target: echo.address,
      client: "victim",
      subject: own,
      headers: { "sproxy-target": "svc:db" },
    });
    await comes(async () => {
      const { text } = await server.status("/metrics");
      return metricValue(text, "sproxy_messages_malformed_total") > 0
        ? undefined
        : "it is not dropped";
    });
    assert.equal(echo.accepted, 1);
    assert.ok(
      server.entries().every((entry) => !/\p{Cc}/u.test(JSON.stringify(entry))),
    );
  },
);

for (const workers of [1, 2]) {
  integrationTest(
    `services and rules for targets come, go and change at SIGHUP, and what is open stays: workers=${workers}`,
    async () => {
      await using nats = await startNatsServer();
      await using folder = await Folder.make();
      await using echo = startEcho();
      await using other = new Target(async (conn) => {
        await writeAll(conn, new TextEncoder().encode("other"));
        conn.close();
      });
      const path = folder.at("server.yaml");
      const write = (
        services: Readonly<Record<string, string>>,
        more: readonly string[] = [],
      ): Promise<void> =>
        Deno.writeTextFile(
          path,
          [
            "server:",
            ...more.map((line) => `  ${line}`),
            "  services:",
            ...Object.entries(services)
              .map(([name, target]) =>
                `    - { name: ${name}, target: "${target}" }`
              ),
          ].join("\n"),
        );
      await write({ db: echo.address, gone: echo.address });
      await using server = await serve(nats, [
        ...["--config", path, "--workers", String(workers)],
      ], { folder });
      const reload = async (
        msg: string,
      ): Promise<Readonly<Record<string, unknown>>> => {
        const since = server.process.mark();
        server.process.signal("SIGHUP");
        const said = (entry: { readonly msg: string }): boolean =>
          entry.msg.startsWith("SIGHUP: ") && entry.msg.includes(msg);
        return await soon(`it says: ${msg}`, server.entry(said, { since }));
      };
      await using db = await startFor(nats, "svc:db");
      await using gone = await startFor(nats, "svc:gone");
      await using late = await startFor(nats, "svc:late");
      await using address = await startFor(nats, echo.address);
      using kept = await dial(gone.endpoint);
      await soon("it is open before", roundTrip(kept));
      assert.equal((await failure(late)).reason, "no-such-service");

      await write({ db: other.address, late: echo.address });
      const change = await reload("services have changed");
      assert.deepEqual(
        [change.added, change.removed, change.changed, change.services],
        ["late", "gone", "db", 2],
      );
      await soon("it goes on", roundTrip(kept));
      assert.match((await failure(gone)).text, /there are: db, late$/);
      await works(late);
      using moved = await dial(db.endpoint);
      assert.equal(
        new TextDecoder().decode(
          await soon("it leads elsewhere", readToEnd(moved)),
        ),
        "other",
      );
      assert.equal((await failure(address)).reason, "denied");

      await write({ late: echo.address }, [`allow_target: "${echo.address}"`]);
      await reload("options have changed, and count from now on");
      await works(address);

      // What is wrong changes nothing.
      await write({ late: "nowhere", db: echo.address });
      const refused = await reload("cannot be used");
      assert.match(JSON.stringify(refused), /nowhere/);
      await works(late);
      assert.equal((await failure(db)).reason, "no-such-service");
      await soon("it still goes on", roundTrip(kept));
    },
  );
}
