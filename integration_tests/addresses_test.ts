/** More than one address, server and way: names with several, groups that differ, and what a cluster tells. */
import assert from "node:assert/strict";
import { type Endpoint, formatAddress } from "./support/addresses.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import {
  BlackHole,
  hostsFile,
  UNSHARE,
  withHosts,
} from "./support/surroundings.ts";
import { soon, told } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { owned } from "./support/owned.ts";
import {
  type ClientRole,
  type Role,
  type RoleName,
  spawnRole,
  startClient,
  startServer,
  startTunnel,
} from "./support/roles.ts";
import { startEcho, startSilent, type Target } from "./support/targets.ts";
import { dial, readToEnd } from "./support/transfer.ts";

const ROLES = ["client", "server"] as const;

/** Makes namespaces with files of their own: takes root, so run it as root at least where releases are made. */
const NEEDS_ROOT = { ignore: UNSHARE === undefined };

/** Opens that are tried where one that is not asked of the other server always fails. */
const FEW_OPENS = { opens: 20, least: 18 };

/** The same where each takes a while. */
const SLOW_OPENS = { opens: 10, least: 8 };

/** The same where three tries at random would serve seven of eight. */
const MANY_OPENS = { opens: 60, least: 57 };

/** How soon a way that works must be found beside one that does not, in ms. */
const PROMPT = 3_000;

/** A name only the hosts files of these tests know. */
const NAME = "somewhere.test";

/**
 * Expects that connections are served. Of opens that the wrong one of two
 * servers got first, one in 64 is not asked of the other (docs/protocol.md).
 */
async function expectServed(
  client: ClientRole,
  { opens, least }: { readonly opens: number; readonly least: number },
): Promise<void> {
  let served = 0;
  for (let i = 0; i < opens; i++) {
    using conn = await dial(client.endpoint);
    try {
      await soon("it is served", roundTrip(conn), PROMPT);
      served++;
    } catch {
      // The client's log says why.
    }
  }
  assert.ok(served >= least, `${served} of ${opens}`);
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `localhost, however written, listens on both families: workers=${workers}`,
    async () => {
      await using tunnel = await startTunnel({
        clientArgs: [
          ...["--listen-addr", "localhost:0", "--workers", workers],
          ...["--status-addr", "LOCALHOST.:0"],
        ],
      });
      const port = Number(tunnel.address.split(":").at(-1));
      for (const hostname of ["127.0.0.1", "::1"]) {
        using conn = await dial({ hostname, port });
        await soon(`${hostname} is served`, roundTrip(conn));
        const address = await tunnel.client.statusAddress();
        const status = Number(address.split(":").at(-1));
        const shown = formatAddress({ hostname, port: status });
        const { ok, body } = await fetch(`http://${shown}/health`);
        await body?.cancel();
        assert.ok(ok);
      }
    },
  );
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `a name listens on all of its addresses that are this machine's: workers=${workers}`,
    async () => {
      await using cleanup = new AsyncDisposableStack();
      const nats = cleanup.use(await startNatsServer());
      const echo = cleanup.use(startEcho());
      cleanup.use(await startServer(nats.url));
      const ours = ["127.0.0.2", "127.0.0.3", "::1"];
      const lines = [...ours, "192.0.2.1"].map((ip) => `${ip} many`);
      const client = cleanup.use(
        await startClient(nats.url, {
          target: echo.address,
          through: withHosts(await hostsFile(cleanup, ...lines)),
          args: [
            ...["--listen-addr", "many:0", "--status-addr", "many:0"],
            ...["--workers", workers],
          ],
        }),
      );
      const port = Number(client.address.split(":").at(-1));
      const status = Number((await client.statusAddress()).split(":").at(-1));
      for (const hostname of ours) {
        using conn = await dial({ hostname, port });
        await soon(`${hostname} is served`, roundTrip(conn));
        const shown = formatAddress({ hostname, port: status });
        const { ok, body } = await fetch(`http://${shown}/health`);
        await body?.cancel();
        assert.ok(ok);
      }
    },
    NEEDS_ROOT,
  );
}

integrationTest(
  "every connection reaches a target whose name only one of two servers knows",
  async () => {
    await using stage = await startGroup([NAME], []);
    await expectServed(stage.client, FEW_OPENS);
  },
  NEEDS_ROOT,
);

integrationTest(
  "every connection reaches a target that refuses one of two servers",
  async () => {
    // The other finds another host by that name, on which nothing listens.
    await using stage = await startGroup([NAME], [`127.0.0.2 ${NAME}`]);
    await expectServed(stage.client, FEW_OPENS);
  },
  NEEDS_ROOT,
);

integrationTest(
  "every connection reaches a target that swallows everything for one of two servers",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    await using stage = await startGroup([NAME], [`127.0.0.2 ${NAME}`]);
    const { port } = stage.echo.endpoint;
    cleanup.use(await BlackHole.open({ hostname: "127.0.0.2", port }));
    await expectServed(stage.client, SLOW_OPENS);
  },
  NEEDS_ROOT,
);

/** Two servers with hosts files of their own, and a client for the target by its name. */
async function startGroup(
  ...names: readonly (readonly string[])[]
): Promise<
  AsyncDisposable & { readonly client: ClientRole; readonly echo: Target }
> {
  await using cleanup = new AsyncDisposableStack();
  const nats = cleanup.use(await startNatsServer());
  const echo = cleanup.use(startEcho());
  for (const lines of names) {
    const whole = lines.map((line) =>
      line === NAME ? `127.0.0.1 ${NAME}` : line
    );
    const through = withHosts(await hostsFile(cleanup, ...whole));
    const args = ["--dial-timeout", "500ms"];
    cleanup.use(await startServer(nats.url, { through, args }));
  }
  const client = cleanup.use(
    await startClient(nats.url, {
      target: `${NAME}:${echo.endpoint.port}`,
    }),
  );
  return owned(cleanup, { client, echo });
}

for (const flag of ["--max-tunnels", "--max-tunnels-per-client"]) {
  integrationTest(
    `every connection is served where one of two servers has reached its ${flag}`,
    async () => {
      await using nats = await startNatsServer();
      await using echo = startEcho();
      await using full = await startServer(nats.url, { args: [flag, "1"] });
      await using client = await startClient(nats.url, {
        target: echo.address,
      });
      using first = await dial(client.endpoint);
      await roundTrip(first);
      await using _other = await startServer(nats.url);
      await expectServed(client, MANY_OPENS);
      await told(full, "open refused");
    },
  );
}

for (
  const [what, rule] of [
    ["", undefined],
    [" where a rule has that zone", "[::1%1]:*"],
    [" where a rule has none", "[::1]:*"],
    [" where a rule for networks has that zone", "[::%1/64]:*"],
  ] as const
) {
  integrationTest(
    `a target may be written with a zone, and is reached${what}`,
    async () => {
      await using echo = startEcho({ hostname: "::1" });
      // Interface 1 is the loopback of every Linux.
      await using tunnel = await startTunnel({
        target: `[::1%1]:${echo.endpoint.port}`,
        serverArgs: rule === undefined ? [] : ["--allow-target", rule],
      });
      using conn = await dial(tunnel.endpoint);
      await soon("it is served", roundTrip(conn));
    },
  );
}

integrationTest(
  "a rule with a zone covers no other one, and none left out",
  async () => {
    await using echo = startEcho({ hostname: "::1" });
    const { port } = echo.endpoint;
    for (const target of [`[::1%1]:${port}`, `[::1]:${port}`]) {
      await using tunnel = await startTunnel({
        target,
        serverArgs: ["--allow-target", `[::1%2]:${port}`],
      });
      using conn = await dial(tunnel.endpoint);
      assert.equal((await readToEnd(conn)).length, 0);
      const { reason } = await tunnel.client.entry(({ msg }) =>
        msg === "open failed"
      );
      assert.equal(reason, "denied");
    }
    assert.equal(echo.accepted, 0);
  },
);

for (const workers of ["1", "2"]) {
  integrationTest(
    `connections and status are there at an address with a zone: workers=${workers}`,
    async () => {
      await using tunnel = await startTunnel({
        clientArgs: [
          ...["--listen-addr", "[::1%1]:0", "--workers", workers],
          ...["--status-addr", "[::1%1]:0"],
        ],
      });
      assert.match(tunnel.address, /^\[::1%1\]:\d+$/);
      using conn = await dial(tunnel.endpoint);
      await soon("it is served", roundTrip(conn));
      const status = await tunnel.client.statusAddress();
      assert.match(status, /^\[::1%1\]:\d+$/);
      const { ok, body } = await fetch(
        `http://${status.replace("%1", "")}/health`,
      );
      await body?.cancel();
      assert.ok(ok);
    },
  );
}

for (
  const url of [
    (port: number) => `nats://[::1%251]:${port}`,
    (port: number) => `[::1%1]:${port}`,
  ]
) {
  integrationTest(
    `a broker may be written as ${url(4222)}, and is reached`,
    async () => {
      await using nats = await startNatsServer({
        config: `listen: "[::1]:-1"`,
      });
      await using server = await startServer(url(nats.port));
      assert.ok(
        server.entries().some(({ msg }) => msg === "connected to NATS"),
      );
    },
  );
}

for (const address of ["[fe80::1%lo]:22", "[fe80::1%eth0.100]:22"]) {
  integrationTest(`${address} is an address`, async () => {
    await using nats = await startNatsServer();
    await using client = await startClient(nats.url, { target: address });
    using conn = await dial(client.endpoint);
    assert.equal((await readToEnd(conn)).length, 0);
    const { reason } = await client.entry(({ msg }) => msg === "open failed");
    assert.equal(reason, "no-server");
  });
}

for (
  const [flag, address] of [
    ["--remote-addr", "tcp://127.0.0.1:6379"],
    ["--remote-addr", "redis://127.0.0.1:6379"],
    ["--remote-addr", "redis://127.0.0.1:6379/0"],
    ["--listen-addr", "tcp://127.0.0.1:6380"],
    ["--status-addr", "http://127.0.0.1:8080"],
    ["--proxy-addr", "HTTP://127.0.0.1:8081/"],
  ] as const
) {
  integrationTest(
    `${flag} ${address} is told to go without a scheme`,
    async () => {
      await using client = await spawnRole("client", { args: [flag, address] });
      const { code } = await soon("it ends", client.status);
      assert.equal(code, 2);
      const text = client.lines.join("\n");
      assert.match(text, /scheme/i);
      assert.match(text, /host:port|127\.0\.0\.1:\d+/);
      assert.ok(text.includes(flag), text);
    },
  );
}

/** A broker of a cluster whose other members announce addresses that lead nowhere. */
interface Gossip extends AsyncDisposable {
  readonly nats: NatsServer;
  /** Where the others say they are. */
  readonly nowhere: readonly Target[];
}

async function startGossip(): Promise<Gossip> {
  await using cleanup = new AsyncDisposableStack();
  const cluster = { name: "gossip", routes: [] };
  const nats = cleanup.use(await startNatsServer({ cluster }));
  const nowhere: Target[] = [];
  for (let i = 0; i < 2; i++) {
    const silent = cleanup.use(startSilent());
    nowhere.push(silent);
    cleanup.use(
      await startNatsServer({
        name: `nats-server ${i}`,
        cluster: { ...cluster, routes: [nats.clusterPort] },
        config: `client_advertise: "${silent.address}"`,
      }),
    );
  }
  await nats.whenJoined(2);
  return owned(cleanup, { nats, nowhere });
}

/** The broker goes and comes back once the role has seen that it is gone. */
async function bounce(nats: NatsServer, role: Role): Promise<void> {
  const since = role.process.mark();
  await nats.kill();
  await role.entry(({ msg }) => msg === "connection to NATS lost", { since });
  await role.entry(({ msg }) => msg === "cannot connect to NATS", { since });
  await nats.restart();
}

for (const name of ROLES) {
  integrationTest(
    `a ${name} comes back to the broker it was given, though its cluster announces addresses that lead nowhere`,
    async () => {
      await using stage = await startGossip();
      const { nats } = stage;
      await using role = await start(name, nats.url);
      await bounce(nats, role);
      await soon(
        "it is back",
        role.entry(({ msg }) => msg === "connected to NATS again"),
        PROMPT,
      );
    },
  );

  integrationTest(
    `a ${name} does not dial what a cluster announces where it is told not to`,
    async () => {
      await using help = await spawnRole(name, { args: ["--help-all"] });
      await soon("the help is shown", help.status);
      const flag = /--nats-\S*(?:gossip|discover|announce|cluster)\S*/i
        .exec(help.lines.join("\n"))?.[0];
      assert.ok(
        flag !== undefined,
        "no option ignores what a cluster announces",
      );
      await using stage = await startGossip();
      const { nats, nowhere } = stage;
      await using role = await start(name, nats.url, [flag]);
      await bounce(nats, role);
      await soon(
        "it is back",
        role.entry(({ msg }) => msg === "connected to NATS again"),
        PROMPT,
      );
      for (const { accepted } of nowhere) assert.equal(accepted, 0);
    },
  );
}

/** Starts a role with a status port; a client's target is of no matter. */
async function start(
  name: RoleName,
  natsUrl: string,
  args: readonly string[] = [],
): Promise<Role> {
  return name === "server"
    ? await startServer(natsUrl, { args })
    : await startClient(natsUrl, {
      target: "127.0.0.1:1",
      args: ["--status-addr", "127.0.0.1:0", ...args],
    });
}

/**
 * Expects that a server that is being started is ready soon: by its own log,
 * once it looks for a broker. How long its process takes to start says nothing
 * of that.
 */
async function expectUp(starting: Promise<Role>): Promise<void> {
  await using role = await starting;
  const at = (said: string): number =>
    Date.parse(
      String(role.entries().find(({ msg }) => msg === said)?.time),
    );
  const took = at("ready") - at("status listening");
  assert.ok(took <= PROMPT, `it took ${took} ms`);
}

integrationTest(
  "a broker that works is found at once beside one that is written first and says nothing",
  async () => {
    await using nats = await startNatsServer();
    await using silent = startSilent();
    await expectUp(startServer(`nats://${silent.address},${nats.url}`));
  },
);

integrationTest(
  "a broker that works is found soon beside nine that are written first and say nothing, which are left",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const nats = cleanup.use(await startNatsServer());
    const silent = Array.from(
      { length: 9 },
      () => cleanup.use(startSilent()),
    );
    const urls = [
      ...silent.map(({ address }) => `nats://${address}`),
      nats.url,
    ];
    const server = cleanup.use(
      await soon("it is ready", startServer(urls.join(",")), 2 * PROMPT),
    );
    for (const each of silent) {
      assert.equal(each.accepted, 1);
      await each.whenOpenAtMost(0);
    }
    assert.ok(server.entries().some(({ msg }) => msg === "connected to NATS"));
  },
);

integrationTest(
  "a broker that lets us in is found beside one that is written first and does not",
  async () => {
    await using strict = await startNatsServer({
      config: "authorization { user: a, password: b }",
    });
    await using nats = await startNatsServer();
    await expectUp(startServer(`${strict.url},${nats.url}`));
  },
);

/** What may be at an address beside which another one works. */
const DEAD_ENDS = {
  "swallows everything": (endpoint: Endpoint) => BlackHole.open(endpoint),
  "accepts and says nothing": (endpoint: Endpoint) =>
    Promise.resolve(startSilent(endpoint)),
};

/** The addresses of {@linkcode NAME}: resolvers order them as they like, so each is the dead end once. */
const ADDRESSES = [["127.0.0.1", "127.0.0.2"], [
  "127.0.0.2",
  "127.0.0.1",
]] as const;

/** What runs a role that knows {@linkcode NAME} by both addresses. */
async function knowingBoth(
  cleanup: AsyncDisposableStack,
): Promise<readonly string[]> {
  const lines = ADDRESSES.map(([address]) => `${address} ${NAME}`);
  return withHosts(await hostsFile(cleanup, ...lines));
}

for (const [dead, alive] of ADDRESSES) {
  for (const [what, open] of Object.entries(DEAD_ENDS)) {
    integrationTest(
      `a broker whose name has an address that ${what} is found by its other one, ${alive}`,
      async () => {
        await using cleanup = new AsyncDisposableStack();
        const nats = cleanup.use(
          await startNatsServer({ config: `listen: "${alive}:-1"` }),
        );
        cleanup.use(await open({ hostname: dead, port: nats.port }));
        const through = await knowingBoth(cleanup);
        await expectUp(startServer(`nats://${NAME}:${nats.port}`, { through }));
      },
      NEEDS_ROOT,
    );
  }

  for (const rules of [[], ["--allow-target", "127.0.0.0/8:*"]]) {
    integrationTest(
      `a target whose name has an address that swallows everything is reached by its other one, ${alive}, with ${
        rules.length === 0 ? "no" : "a"
      } rule`,
      async () => {
        await using cleanup = new AsyncDisposableStack();
        const nats = cleanup.use(await startNatsServer());
        const echo = cleanup.use(startEcho({ hostname: alive }));
        const { port } = echo.endpoint;
        cleanup.use(await BlackHole.open({ hostname: dead, port }));
        const through = await knowingBoth(cleanup);
        cleanup.use(await startServer(nats.url, { through, args: rules }));
        const client = cleanup.use(
          await startClient(nats.url, { target: `${NAME}:${port}` }),
        );
        using conn = await dial(client.endpoint);
        await soon("it is served", roundTrip(conn), PROMPT);
      },
      NEEDS_ROOT,
    );
  }
}
