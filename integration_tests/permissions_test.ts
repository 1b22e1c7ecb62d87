/** What the broker forbids: subscriptions and publishes, from the start and in between, and given back. */
import assert from "node:assert/strict";
import { expectTunnel, failedOpen, roundTrip } from "./support/chaos_flow.ts";
import { freePort } from "./support/addresses.ts";
import { metricValue } from "./support/chaos_stage.ts";
import { comes, soon, told, whenReady } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { RawNats } from "./support/raw_nats.ts";
import {
  clientRules,
  loginAs,
  type Rules,
  rulesConfig,
  SERVER_RULES,
  urlAs,
} from "./support/nats_users.ts";
import {
  type ClientRole,
  launchRole,
  type LogEntry,
  type Role,
  type RoleName,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho, type Target } from "./support/targets.ts";
import { V1Server } from "./support/v1_peer.ts";
import { dial, readToEnd } from "./support/transfer.ts";

const ROLES = ["client", "server"] as const;

/** A role asks NATS again at the latest after 30 s (docs/operations.md); how long it waited before depends on what it had to say meanwhile. */
const ASKED_AGAIN = 35_000;

/** How soon an open fails that nobody can answer, once the server knows, in ms. */
const AT_ONCE = 4_000;

/** What the documents say that each role needs. */
const NEEDED: Readonly<Record<RoleName, Required<Rules>>> = {
  client: clientRules("edge7"),
  server: SERVER_RULES,
};

/** The same, and a user that may do all. */
const ALL: Readonly<Record<string, Rules>> = { ...NEEDED, other: {} };

/** A subject that no role uses. */
const ELSEWHERE = ["elsewhere.>"];

/** What a role needs less one of its subjects, and what is below that. */
function without(role: RoleName, what: keyof Rules, subject: string): string {
  const needed = NEEDED[role];
  const left = needed[what].filter((one) =>
    one !== subject && one !== `${subject}.*`
  );
  assert.ok(left.length < needed[what].length);
  const list = left.length > 0 ? left : ELSEWHERE;
  return rulesConfig({ ...ALL, [role]: { ...needed, [what]: list } });
}

/** A broker with rules, both roles and a target. */
interface Fenced extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly echo: Target;
  readonly server: Role;
  readonly client: ClientRole;
}

const CLIENT_ARGS = [
  ...["--client-id", "edge7", "--status-addr", "127.0.0.1:0"],
];

/** Starts all of it, with these rules or those that the documents name. */
async function startFenced(config = rulesConfig(ALL)): Promise<Fenced> {
  await using cleanup = new AsyncDisposableStack();
  const nats = cleanup.use(await startNatsServer({ config }));
  const echo = cleanup.use(startEcho());
  const server = cleanup.use(
    await startServer(nats.url, { env: loginAs("server") }),
  );
  const client = cleanup.use(
    await startClient(nats.url, {
      env: loginAs("client"),
      target: echo.address,
      args: CLIENT_ARGS,
    }),
  );
  const owner = cleanup.move();
  return {
    nats,
    echo,
    server,
    client,
    [Symbol.asyncDispose]: () => owner.disposeAsync(),
  };
}

/** How often a role has connected to NATS again. */
async function reconnects(role: Role): Promise<number> {
  const { text } = await role.status("/metrics");
  return metricValue(text, "sproxy_nats_reconnects_total");
}

/** Lines that each connection may have of its own. */
const OF_ONE_CONNECTION = ["open failed", "open refused", "tunnel closed"];

/** Waits until the log of a role complains of `subject`, or subjects that begin so, and expects that of none twice but with a count. */
async function expectSaidOnce(role: Role, subject: string): Promise<void> {
  const said = await told(
    role,
    ({ level, msg, count, ...rest }) =>
      /warn|error/.test(level) && !OF_ONE_CONNECTION.includes(msg) &&
      count === undefined &&
      JSON.stringify([msg, rest]).includes(subject),
  );
  const subjects = said.map((entry) => JSON.stringify(entry.subject));
  assert.deepEqual(subjects, [...new Set(subjects)]);
}

integrationTest(
  "the permissions that the documents name are enough",
  async () => {
    await using stage = await startFenced();
    await expectTunnel(stage.client);
    for (const role of ROLES) await whenReady(stage[role], 200);
  },
);

for (const pattern of ["proxy.request", "proxy.request.*"]) {
  integrationTest(
    `a server that may not subscribe to ${pattern} is ready, and serves those that ask on the other`,
    async () => {
      const { subscribe, ...server } = NEEDED.server;
      await using stage = await startFenced(rulesConfig({
        ...ALL,
        client: {
          ...NEEDED.client,
          publish: ["proxy.request", ...NEEDED.client.publish],
        },
        server: {
          ...server,
          subscribe: subscribe.filter((one) => one !== pattern),
        },
      }));
      await whenReady(stage.server, 200);
      await expectTunnel(stage.client);
    },
  );
}

for (
  const [name, subject, started] of [
    ["server", "proxy.request", "ready"],
    ["server", "p.data.to_server.>", "ready"],
    ["client", "p.data.to_client.edge7.>", "listening"],
  ] as const
) {
  const prefix = subject.replace(/\.>$/, "");

  integrationTest(
    `a ${name} that may not subscribe to ${subject} is not "${started}", and is as soon as it may, without a new connection`,
    async () => {
      await using nats = await startNatsServer({
        config: without(name, "subscribe", subject),
      });
      // Without one a client is not ready.
      await using _server = name === "client"
        ? await startServer(nats.url, { env: loginAs("other") })
        : undefined;
      await using role = await launchRole(name, nats.url, {
        env: loginAs(name),
        args: name === "client" ? CLIENT_ARGS : [],
      });
      const text = await whenReady(role, 503, { matching: /subscription/ });
      assert.ok(text.includes(prefix), text);
      const isStarted = ({ msg }: LogEntry): boolean => msg === started;
      assert.ok(
        !role.entries().some(isStarted),
        `it says "${started}" without its subscription`,
      );
      await nats.reload(rulesConfig(ALL));
      await whenReady(role, 200, { limit: ASKED_AGAIN });
      await soon(`it says "${started}"`, role.entry(isStarted));
      assert.equal(await reconnects(role), 0);
    },
  );

  integrationTest(
    `a ${name} that loses the right to subscribe to ${subject} is not ready, and works again once it is given back, without a new connection`,
    async () => {
      await using stage = await startFenced();
      const { nats, client } = stage;
      const role = stage[name];
      await expectTunnel(client);
      await nats.reload(without(name, "subscribe", subject));
      const text = await whenReady(role, 503, { matching: /subscription/ });
      assert.ok(text.includes(prefix), text);
      await nats.reload(rulesConfig(ALL));
      await whenReady(role, 200, { limit: ASKED_AGAIN });
      await expectTunnel(client);
      assert.equal(await reconnects(role), 0);
    },
  );
}

integrationTest(
  "a client that may not subscribe to its data does not listen, so that nobody waits for it",
  async () => {
    await using nats = await startNatsServer({
      config: without("client", "subscribe", "p.data.to_client.edge7.>"),
    });
    const port = freePort();
    await using client = await launchRole("client", nats.url, {
      env: loginAs("client"),
      args: [...CLIENT_ARGS, "--listen-addr", `127.0.0.1:${port}`],
    });
    await whenReady(client, 503, { matching: /subscription/ });
    const endpoint = { hostname: "127.0.0.1", port };
    await assert.rejects(dial(endpoint), Deno.errors.ConnectionRefused);
  },
);

integrationTest(
  "a client that loses the right to subscribe to its data refuses connections at once, with the subject, and nothing is dialled for them",
  async () => {
    await using stage = await startFenced();
    const { nats, client, echo } = stage;
    await expectTunnel(client);
    const dialled = echo.accepted;
    await nats.reload(
      without("client", "subscribe", "p.data.to_client.edge7.>"),
    );
    await whenReady(client, 503, { matching: /subscription/ });
    using conn = await dial(client.endpoint);
    await soon("the connection ends", readToEnd(conn), AT_ONCE);
    const failed = await client.entry(({ msg }) => msg === "open failed");
    assert.equal(failed.reason, "denied", JSON.stringify(failed));
    assert.match(
      String(failed.why),
      /^NATS refuses the subscription to p\.data\.to_client\.edge7\.>$/,
    );
    assert.equal(echo.accepted, dialled, "a target is dialled for it");
  },
);

integrationTest(
  "a server that loses the right to subscribe to its data leaves opens to others, until it has it back",
  async () => {
    await using stage = await startFenced();
    const { nats, client, server } = stage;
    await expectTunnel(client);
    await nats.reload(without("server", "subscribe", "p.data.to_server.>"));
    await whenReady(server, 503, { matching: /subscription/ });
    {
      await using other = await startServer(nats.url, {
        env: loginAs("other"),
      });
      for (let i = 0; i < 8; i++) await expectTunnel(client);
      await other.process.stop();
    }
    const left = await told(server, "opens are left to other servers");
    assert.equal(left.length, 1);
    await nats.reload(rulesConfig(ALL));
    await whenReady(server, 200, { limit: ASKED_AGAIN });
    await expectTunnel(client);
  },
);

integrationTest(
  "a client that may not hear a version 1 server ends its tunnel, with the subject, and is ready for others",
  async () => {
    const publish = ["proxy.request", "p.data.to_server.>"];
    await using nats = await startNatsServer({
      config: rulesConfig({ ...ALL, client: { ...NEEDED.client, publish } }),
    });
    await using echo = startEcho();
    await using _old = await V1Server.start(urlAs("other", nats.url), {});
    await using client = await startClient(nats.url, {
      env: loginAs("client"),
      target: echo.address,
      args: CLIENT_ARGS,
    });
    using conn = await dial(client.endpoint);
    await soon("the connection ends", readToEnd(conn), AT_ONCE);
    const closed = await client.entry(({ msg }) => msg === "tunnel closed");
    assert.equal(closed.reason, "denied", JSON.stringify(closed));
    assert.match(
      String(closed.why),
      /^NATS refuses the subscription to p\.data\.to_client\.\w+$/,
    );
    await whenReady(client, 200);
  },
);

integrationTest(
  'a server whose subscriptions are more than NATS lets it have is not "ready", and is once it may have them',
  async () => {
    await using nats = await startNatsServer({
      config: "max_subscriptions: 1",
    });
    await using server = await launchRole("server", nats.url);
    const text = await whenReady(server, 503, { matching: /subscription/ });
    assert.match(text, /proxy\.request/);
    // It is not ready as of the first; NATS refuses both.
    const refused = await told(server, "NATS refuses a subscription", {
      count: 2,
    });
    assert.deepEqual(refused.map(({ subject }) => subject).toSorted(), [
      "proxy.request",
      "proxy.request.*",
    ]);
    assert.ok(!server.entries().some(({ msg }) => msg === "ready"));
    await nats.restart({ config: "max_subscriptions: 3" });
    await whenReady(server, 200, { limit: ASKED_AGAIN });
    assert.equal((await told(server, "ready")).length, 1);
  },
);

integrationTest(
  "a server that is ready names the request subject that it hears",
  async () => {
    const { subscribe, ...rules } = NEEDED.server;
    const heard = subscribe.filter((one) => one !== "proxy.request");
    await using stage = await startFenced(
      rulesConfig({ ...ALL, server: { ...rules, subscribe: heard } }),
    );
    const ready = await stage.server.entry(({ msg }) => msg === "ready");
    assert.equal(ready.request, "proxy.request.*");
  },
);

integrationTest(
  "a client that may not publish opens is told at once, says so once, and is not ready until it may",
  async () => {
    const subject = "proxy.request.edge7";
    await using stage = await startFenced(
      without("client", "publish", subject),
    );
    const { client, nats, echo } = stage;
    const failed = await failedOpen(client, client);
    assert.equal(failed.reason, "denied", JSON.stringify(failed));
    assert.ok(String(failed.why).includes(subject), String(failed.why));
    for (let i = 0; i < 4; i++) {
      using conn = await dial(client.endpoint);
      assert.equal((await readToEnd(conn)).length, 0);
    }
    assert.equal(echo.accepted, 0);
    await expectSaidOnce(client, subject);
    const text = await whenReady(client, 503);
    assert.ok(text.includes(subject), text);
    await nats.reload(rulesConfig(ALL));
    await comes(async () => {
      using conn = await dial(client.endpoint);
      return await roundTrip(conn).then(() => undefined, String);
    });
    await whenReady(client, 200);
  },
);

for (
  const [name, other, subject] of [
    ["client", "server", "p.data.to_server.edge7.>"],
    ["server", "client", "p.data.to_client.>"],
  ] as const
) {
  const prefix = subject.replace(/\.>$/, "");

  integrationTest(
    `tunnels whose ${name} loses the right to publish their data end at once, as "denied", with the subject, and it is not ready until it may`,
    async () => {
      await using stage = await startFenced();
      const { nats, client, echo } = stage;
      const role = stage[name];
      const conns: Deno.TcpConn[] = [];
      using all = new DisposableStack();
      for (let i = 0; i < 3; i++) {
        const conn = all.use(await dial(client.endpoint));
        await roundTrip(conn);
        conns.push(conn);
      }
      await nats.reload(without(name, "publish", subject));
      const ends = conns.map((conn) => roundTrip(conn).catch(() => {}));
      const ended = await soon(
        `the ${name} ends a tunnel`,
        role.entry(({ msg }) => msg === "tunnel closed"),
        30_000,
      );
      assert.equal(ended.reason, "denied", JSON.stringify(ended));
      assert.ok(String(ended.why).includes(prefix), JSON.stringify(ended));
      if (name === "client") {
        await soon("the applications are told", Promise.all(ends), 30_000);
      } else await soon("the target is told", echo.whenOpenAtMost(0), 30_000);
      await expectSaidOnce(role, prefix);
      const text = await whenReady(role, 503);
      assert.ok(text.includes(subject), text);
      const dialled = echo.accepted;
      using late = await dial(client.endpoint);
      await soon("one more ends at once", readToEnd(late), AT_ONCE);
      assert.equal(echo.accepted, dialled, "a target is dialled for it");
      await nats.reload(rulesConfig(ALL));
      await comes(async () => {
        using conn = await dial(client.endpoint);
        return await roundTrip(conn).then(() => undefined, String);
      });
      for (const one of [name, other]) await whenReady(stage[one], 200);
    },
  );
}

integrationTest(
  "a server that may not publish its answers dials once, is not ready, and leaves opens to others until it may",
  async () => {
    await using stage = await startFenced(
      without("server", "publish", "p.data.to_client.>"),
    );
    const { nats, echo, server, client } = stage;
    using first = await dial(client.endpoint);
    const text = await whenReady(server, 503, { limit: AT_ONCE });
    assert.ok(text.includes("p.data.to_client.>"), text);
    using second = await dial(client.endpoint);
    await soon("the second open fails", readToEnd(second), AT_ONCE);
    await soon("the first open fails", readToEnd(first), 15_000);
    assert.equal(echo.accepted, 1);
    await soon("its target is told", echo.whenOpenAtMost(0), AT_ONCE);
    await expectSaidOnce(server, "p.data.to_client");
    await using other = await startServer(nats.url, {
      env: loginAs("other"),
    });
    for (let i = 0; i < 8; i++) await expectTunnel(client);
    await other.process.stop();
    await nats.reload(rulesConfig(ALL));
    await whenReady(server, 200, { limit: ASKED_AGAIN });
    await expectTunnel(client);
    assert.equal(await reconnects(server), 0);
  },
);

/** A request with a number that was there before would be a repetition. */
let asked = 0;

/** Requests an open of `target` as nobody of ours would, for an answer on `reply`. */
function ask(
  raw: RawNats,
  options: {
    readonly target: string;
    readonly reply: string;
    readonly native: boolean;
  },
): string {
  const { reply, native } = options;
  const [remote_host = "", remote_port = ""] = options.target.split(":");
  asked++;
  const headers = {
    remote_host,
    remote_port,
    ...(native && {
      "sproxy-version": "2",
      "sproxy-client": "evil",
      "sproxy-tunnel": String(asked),
      "sproxy-window": "65536",
      "sproxy-codec": "binary",
    }),
  };
  const body = `{"ID":"","Reply":"","Data":null,"Metadata":null}`;
  raw.publish("proxy.request", body, { headers, reply });
  return native ? `p.data.to_client.evil.open.${asked}` : reply;
}

for (
  const [what, allowed] of [
    ["all clients but no inbox", "p.data.to_client.>"],
    ["only the client that it has answered", "p.data.to_client.edge7.>"],
  ] as const
) {
  integrationTest(
    `nobody can make a server unready by asking for answers that it may not give: it may answer ${what}`,
    async () => {
      await using stage = await startFenced(
        rulesConfig({
          ...ALL,
          server: { ...NEEDED.server, publish: [allowed] },
        }),
      );
      const { nats, echo, server, client } = stage;
      await expectTunnel(client);
      await using raw = await RawNats.connect(urlAs("other", nats.url));
      const natives = allowed === "p.data.to_client.>"
        ? [false]
        : [false, true];
      for (const native of natives) {
        const reply = "_INBOX.evil.1";
        const answer = ask(raw, { target: echo.address, reply, native });
        await soon(
          `the server is refused on ${answer}`,
          server.entry(({ subject }) => subject === answer),
        );
        await expectTunnel(client);
        await whenReady(server, 200, { limit: 1 });
      }
    },
  );
}

integrationTest(
  "a client that may not ask after others with its --client-id starts without, and a second one too",
  async () => {
    await using stage = await startFenced(
      without("client", "publish", "p.data.to_client.edge7.hold.>"),
    );
    const { client, nats, echo } = stage;
    await expectTunnel(client);
    await whenReady(client, 200);
    await told(
      client,
      ({ subject }) => subject === "p.data.to_client.edge7.hold.0",
    );
    assert.ok(!client.entries().some(({ level }) => /warn|error/.test(level)));
    await using _second = await startClient(nats.url, {
      env: loginAs("client"),
      target: echo.address,
      args: CLIENT_ARGS,
    });
  },
);
