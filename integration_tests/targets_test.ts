/** What a server dials and what not: names that change, metadata, denied targets. */
import assert from "node:assert/strict";
import { expectTunnel, failedOpen } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { Hostile } from "./support/hostile.ts";
import { integrationTest } from "./support/integration_test.ts";
import { NameServer, SILENT } from "./support/name_server.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { owned } from "./support/owned.ts";
import { RawNats } from "./support/raw_nats.ts";
import { type ClientRole, startClient, startServer } from "./support/roles.ts";
import { UNSHARE, withHosts } from "./support/surroundings.ts";
import { startEcho, type Target } from "./support/targets.ts";
import { soon } from "./support/waits.ts";

/** Names that are asked for at once: more than the runtime looks up. */
const MANY_NAMES = 200;

/** Makes namespaces with files of their own: takes root. */
const NEEDS_ROOT = { ignore: UNSHARE === undefined };

/** Expects that a connection is refused, and gives the words. */
async function expectDenied(client: ClientRole): Promise<string> {
  const { reason, why } = await failedOpen(client, client);
  assert.equal(reason, "denied", String(why));
  return String(why);
}

/** A server that asks a name server of the test's own, and a client for a name. */
interface Named extends AsyncDisposable {
  readonly url: string;
  readonly client: ClientRole;
  readonly echo: Target;
  readonly names: NameServer;
}

/** Starts one; the name has `addresses` one after the other, at each look-up the next. */
async function startNamed(
  addresses: readonly string[],
  argsFor: (port: number) => readonly string[],
): Promise<Named> {
  await using cleanup = new AsyncDisposableStack();
  const nats = cleanup.use(await startNatsServer());
  const echo = cleanup.use(startEcho());
  const folder = cleanup.use(await Folder.make());
  const rest = [...addresses];
  const names = cleanup.use(NameServer.start(() => rest.shift() ?? "0.0.0.0"));
  const { port } = echo.endpoint;
  cleanup.use(
    await startServer(nats.url, {
      args: argsFor(port),
      through: names.through(folder.path),
    }),
  );
  const client = cleanup.use(
    await startClient(nats.url, { target: `a.rebind.test:${port}` }),
  );
  return owned(cleanup, { url: nats.url, client, echo, names });
}

integrationTest(
  "a name that changes its address is looked up once for each open, and judged each time",
  async () => {
    const addresses = ["127.0.0.1", "169.254.169.254", "127.0.0.1", "0.0.0.0"];
    await using stage = await startNamed(addresses, () => []);
    await expectTunnel(stage.client);
    assert.equal(stage.names.asked, 1);
    assert.match(
      await expectDenied(stage.client),
      /\(169\.254\.169\.254\) is a link-local address/,
    );
    assert.equal(stage.names.asked, 2);
    await expectTunnel(stage.client);
    assert.match(
      await expectDenied(stage.client),
      /\(0\.0\.0\.0\) is an unspecified address/,
    );
    assert.equal(stage.names.asked, 4);
    assert.equal(stage.echo.accepted, 2);
  },
  NEEDS_ROOT,
);

integrationTest(
  "what is dialled is the address that was judged, not the one that the name has next",
  async () => {
    const addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.1"];
    await using stage = await startNamed(addresses, (port) => [
      ...["--allow-target", `127.0.0.1:${port}`],
    ]);
    const { port } = stage.echo.endpoint;
    await using trap = startEcho({ hostname: "127.0.0.2", port });
    await expectTunnel(stage.client);
    assert.match(await expectDenied(stage.client), /is not an allowed target/);
    await expectTunnel(stage.client);
    assert.deepEqual([trap.accepted, stage.names.asked], [0, 3]);
  },
  NEEDS_ROOT,
);

integrationTest(
  "attack: names that nobody answers, looked up for one client, hold up no name of another",
  async () => {
    await using stage = await startNamed(["127.0.0.1"], () => []);
    const { url, names, client } = stage;
    await using hostile = await Hostile.connect(url, "hostile");
    for (let i = 0; i < MANY_NAMES; i++) {
      hostile.ask({ target: `x${i}${SILENT}:80` });
    }
    // As many as one client may have, at least.
    await soon("names are looked up", names.passedOver(14));
    await expectTunnel(client);
    assert.equal(names.asked, 1);
  },
  NEEDS_ROOT,
);

integrationTest(
  "a name that no rule can allow is not looked up",
  async () => {
    await using stage = await startNamed(["127.0.0.1"], () => [
      ...["--allow-target", "*:*", "--deny-target", "*.rebind.test:*"],
    ]);
    assert.match(
      await expectDenied(stage.client),
      /is denied by \*\.rebind\.test:\* \(--deny-target\)/,
    );
    assert.equal(stage.names.asked, 0);
  },
  NEEDS_ROOT,
);

for (
  const [what, name, rules, served] of [
    ["a domain's rule", "a.rebind.test", ["*.rebind.test:*"], false],
    ["its own rule", "a.rebind.test", ["a.rebind.test:*"], false],
    [
      "a rule for the address beside it",
      "a.rebind.test",
      ["*.rebind.test:*", "127.0.0.1:*"],
      true,
    ],
    ["a rule for every host", "a.rebind.test", ["*:*"], true],
    ["localhost and its own rule", "localhost", ["localhost:*"], true],
  ] as const
) {
  integrationTest(
    `a name that leads to the server itself is ${
      served ? "dialled" : "refused"
    }: ${what}`,
    async () => {
      await using nats = await startNatsServer();
      await using echo = startEcho();
      await using folder = await Folder.make();
      const hosts = await folder.write(
        "hosts",
        "127.0.0.1 localhost\n127.0.0.1 a.rebind.test\n",
      );
      await using _server = await startServer(nats.url, {
        args: rules.flatMap((rule) => ["--allow-target", rule]),
        through: withHosts(hosts),
      });
      await using client = await startClient(nats.url, {
        target: `${name}:${echo.endpoint.port}`,
      });
      if (served) await expectTunnel(client);
      else assert.match(await expectDenied(client), /is a loopback address/);
      assert.equal(echo.accepted, served ? 1 : 0);
    },
    NEEDS_ROOT,
  );
}

/** What a server answers to opens for `hosts`, told apart by its words. */
async function answers(
  nats: NatsServer,
  port: number,
  hosts: readonly string[],
): Promise<Map<string, string>> {
  await using raw = await RawNats.connect(nats.url);
  const told = new Map<string, string>();
  for (const host of hosts) {
    const { data } = await soon(
      `${host} is answered`,
      raw.request("proxy.request", "{}", {
        headers: { remote_host: host, remote_port: String(port) },
      }),
    );
    const { Data: words } = JSON.parse(new TextDecoder().decode(data));
    told.set(host, atob(words));
  }
  return told;
}

/** Cloud metadata, and this machine, as those write them who look for a way around. */
const AROUND: readonly (readonly [host: string, what: RegExp])[] = [
  ["169.254.169.254", /link-local/],
  ["169.254.169.254.", /link-local|ENOTFOUND/],
  ["2852039166", /link-local/],
  ["0xa9fea9fe", /link-local/],
  ["0xa9.0xfe.0xa9.0xfe", /link-local/],
  ["0251.0376.0251.0376", /link-local/],
  ["169.254.43518", /link-local/],
  ["::ffff:169.254.169.254", /link-local/],
  ["::ffff:a9fe:a9fe", /link-local/],
  ["::ffff:169.254.169.254%1", /link-local/],
  ["64:ff9b::a9fe:a9fe", /link-local/],
  ["2002:a9fe:a9fe::", /link-local/],
  ["fe80::a9fe:a9fe%lo", /link-local/],
  ["fd00:ec2::254", /metadata/],
  ["100.100.100.200", /metadata/],
  ["168.63.129.16", /metadata/],
  ["0.0.0.0", /unspecified/],
  ["0", /unspecified/],
  ["0x0", /unspecified/],
  ["::", /unspecified/],
  ["::ffff:0.0.0.0", /unspecified/],
  ["224.0.0.1", /multicast/],
  ["ff02::1%lo", /multicast/],
  ["255.255.255.255", /broadcast/],
];

for (const args of [[], ["--allow-target", "*:*,0.0.0.0/0:*,[::/0]:*"]]) {
  integrationTest(
    `metadata and unspecified addresses are not dialled, however they are written: ${args}`,
    async () => {
      await using nats = await startNatsServer();
      await using echo = startEcho();
      await using _server = await startServer(nats.url, { args });
      const { port } = echo.endpoint;
      const told = await answers(nats, port, AROUND.map(([host]) => host));
      for (const [host, what] of AROUND) {
        assert.match(told.get(host) ?? "", what, host);
      }
      assert.equal(echo.accepted, 0);
    },
  );
}

integrationTest(
  "a target that is denied is refused, whatever allows it and however it is written",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const { port } = echo.endpoint;
    await using _server = await startServer(nats.url, {
      args: [
        ...["--allow-target", `*:*,127.0.0.1:${port},localhost:${port}`],
        ...["--deny-target", "localhost.:*", "--deny-target", "127.0.0.0/8:*"],
      ],
    });
    const hosts = ["127.0.0.1", "127.1", "2130706433", "::ffff:127.0.0.1"];
    const told = await answers(nats, port, [...hosts, "localhost"]);
    for (const host of hosts) {
      const why = /is denied by 127\.0\.0\.0\/8:\* \(--deny-target\)/;
      assert.match(told.get(host) ?? "", why, host);
    }
    const byName = /is denied by localhost\.:\* \(--deny-target\)/;
    assert.match(told.get("localhost") ?? "", byName);
    assert.equal(echo.accepted, 0);
  },
);

integrationTest(
  "an address that a rule names is dialled: --allow-target 0.0.0.0:PORT",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const { port } = echo.endpoint;
    await using _server = await startServer(nats.url, {
      args: ["--allow-target", `0.0.0.0:${port}`],
    });
    const target = `0.0.0.0:${port}`;
    await using client = await startClient(nats.url, { target });
    await expectTunnel(client);
  },
);
