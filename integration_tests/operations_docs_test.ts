/** The leaf node and the super-cluster of docs/operations.md, run as they are printed, and what is said of a cut link. */
import assert from "node:assert/strict";
import { requireTool } from "../tools/find_or_install.ts";
import { freePort } from "./support/addresses.ts";
import { expectTunnel, failedOpen, roundTrip } from "./support/chaos_flow.ts";
import { startFaultRelay } from "./support/fault_relay.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type Process, spawn } from "./support/processes.ts";
import { RawNats } from "./support/raw_nats.ts";
import {
  PROJECT,
  type Role,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";
import { comes, whenReady } from "./support/waits.ts";

/** The blocks that a section prints, by the name of a file or the program of a command. */
async function printed(title: string): Promise<(name: string) => string> {
  const text = await Deno.readTextFile(new URL("docs/operations.md", PROJECT));
  const section = text.split(/^## /m).find((part) => part.startsWith(title));
  const blocks = [...section?.matchAll(/^```\w+\n(.*?)^```$/gms) ?? []]
    .map(([, block = ""]) => block);
  return (name) => {
    const found = blocks.find((block) =>
      block.startsWith(`# ${name}\n`) || block.includes(`${name} --`)
    );
    assert.ok(found, `${title} does not print ${name}`);
    return found;
  };
}

/** The flags of a printed command behind the one that says where NATS is. */
function flagsOf(command: string): string[] {
  const words = command.trim().split(/\s+/);
  const at = words.indexOf("--nats-url");
  assert.ok(at > 0, command);
  return words.slice(at + 2);
}

/** Starts a broker with the file of this name and text. */
async function startBroker(
  folder: Folder,
  options: {
    readonly name: string;
    readonly text: string;
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<Process> {
  const { name, text, env = {} } = options;
  const path = await folder.write(name, text);
  const command = await requireTool("nats-server");
  return spawn(command, { name, args: ["-c", path], env });
}

/** Where clients connect to a broker. */
async function urlOf(broker: Process): Promise<string> {
  const line = await broker.waitForLine((line) =>
    line.includes("Listening for client connections on")
  );
  return `nats://${line.split(" ").at(-1)}`;
}

/** Tunnels that a server has opened so far. */
async function opened(server: Role): Promise<number> {
  const { text } = await server.status("/metrics");
  return Number(/^sproxy_tunnels_opened_total (\d+)$/m.exec(text)?.[1]);
}

/** Expects that of what is published at the site only what goes to clients comes to the hub. */
async function expectFence(
  urls: { readonly site: string; readonly hub: string },
): Promise<void> {
  await using site = await RawNats.connect(urls.site);
  await using hub = await RawNats.connect(
    urls.hub.replace("//", "//client:one@"),
  );
  const heard: string[] = [];
  using _all = hub.subscribe(">", ({ subject }) => void heard.push(subject));
  await hub.flush();
  await comes(async () => {
    for (const subject of ["orders", "p.data.to_server.x"]) {
      site.publish(subject, "x");
    }
    site.publish("p.data.to_client.x", "last");
    await Promise.all([site.flush(), hub.flush()]);
    return heard.includes("p.data.to_client.x")
      ? undefined
      : "nothing crosses the link";
  });
  // The tunnel's own, from the client, come from nowhere else.
  for (const subject of ["orders", "p.data.to_server.x"]) {
    assert.ok(!heard.includes(subject), subject);
  }
}

integrationTest(
  "operations: a server behind a leaf node; the link is cut for a moment, and for longer than --peer-timeout",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(await Folder.make());
    const echo = cleanup.use(startEcho());
    const block = await printed("Leaf nodes");
    const leafPort = freePort();
    const link = cleanup.use(
      startFaultRelay({ hostname: "127.0.0.1", port: leafPort }),
    );
    const hub = cleanup.use(
      await startBroker(folder, {
        name: "hub.conf",
        text: block("hub.conf")
          .replace("0.0.0.0:4222", "127.0.0.1:-1")
          // It tells leaf nodes where to connect, which would lead around the relay.
          .replace(
            "listen: 0.0.0.0:7422",
            `listen: "127.0.0.1:${leafPort}", advertise: "${link.address}"`,
          ),
        env: { CLIENT_PASSWORD: "one", SITE_PASSWORD: "two" },
      }),
    );
    const leaf = cleanup.use(
      await startBroker(folder, {
        name: "leaf.conf",
        text: block("leaf.conf").replace(/:4222$/m, ":-1"),
        env: { LEAF_URL: `nats-leaf://site:two@${link.address}` },
      }),
    );
    const quick = ["--peer-timeout", "3s", "--peer-ping-interval", "500ms"];
    const server = cleanup.use(
      await startServer(await urlOf(leaf), {
        args: [
          ...flagsOf(
            block("nats-proxy-server").replace("10.0.0.7:5432", echo.address),
          ),
          ...quick,
        ],
      }),
    );
    const [, listen = "", target = ""] = /^(\d+):(.*)$/.exec(
      flagsOf(block("nats-proxy-client")).at(-1) ?? "",
    ) ?? [];
    assert.equal(`${listen}:${target}`, "5432:svc:db");
    const hubUrl = await urlOf(hub);
    const client = cleanup.use(
      await startClient(hubUrl, {
        target: "reserved:1",
        args: ["-L", `0:${target}`, ...quick, "--status-addr", "127.0.0.1:0"],
        env: { NATS_USER: "client", NATS_PASSWORD: "one" },
      }),
    );
    // The client's own place comes first; the printed forward is its second.
    const { address } = await client.entry(({ msg, target }) =>
      msg === "listening" && target === "svc:db"
    );
    const [, port] = /:(\d+)$/.exec(String(address)) ?? [];
    const endpoint = { hostname: "127.0.0.1", port: Number(port) };
    // The leaf node is there, and has told the hub of the server.
    await comes(async () => {
      try {
        using conn = await dial(endpoint);
        await roundTrip(conn);
        return undefined;
      } catch (error) {
        return `no tunnel yet: ${error}`;
      }
    });
    using conn = await dial(endpoint);
    await roundTrip(conn);

    await expectFence({ site: await urlOf(leaf), hub: hubUrl });

    link.cut();
    await roundTrip(conn);

    await link.refuse();
    const since = hub.mark();
    link.cut();
    // An open that goes into the link at that moment times out instead.
    await hub.waitForLine(
      (line) => line.includes("Leafnode connection closed"),
      { since },
    );
    const { reason } = await failedOpen(client, { endpoint });
    assert.equal(reason, "no-server");
    for (const role of [client, server]) {
      await role.entry(({ msg, reason }) =>
        msg === "tunnel closed" && reason === "peer-gone"
      );
    }
    await whenReady(server, 200);
    await whenReady(client, 503, { matching: /no server/ });
  },
);

integrationTest(
  "operations: two clusters joined by gateways; the near server has all opens, the far one when it has gone",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(await Folder.make());
    const echo = cleanup.use(startEcho());
    const block = await printed("Super-clusters");
    const gateways = { east: freePort(), west: freePort() };
    const start = async (name: "east" | "west"): Promise<string> => {
      const text = block(`${name}.conf`)
        .replace("0.0.0.0:4222", "127.0.0.1:-1")
        .replace("0.0.0.0:7222", `127.0.0.1:${gateways[name]}`)
        .replace(
          /(east|west)\.example\.com:7222/,
          (_, other: "east" | "west") => `127.0.0.1:${gateways[other]}`,
        );
      const broker = await startBroker(folder, { name: `${name}.conf`, text });
      return await urlOf(cleanup.use(broker));
    };
    const [east, west] = [await start("east"), await start("west")];
    const far = cleanup.use(await startServer(west));
    const client = cleanup.use(
      await startClient(east, { target: echo.address }),
    );
    await comes(async () => {
      try {
        await expectTunnel(client);
        return undefined;
      } catch (error) {
        return `no tunnel through the gateway yet: ${error}`;
      }
    });
    const before = await opened(far);
    {
      await using near = await startServer(east);
      for (let i = 0; i < 10; i++) await expectTunnel(client);
      assert.deepEqual([await opened(near), await opened(far)], [10, before]);
      assert.equal((await near.process.stop()).code, 0);
    }
    await expectTunnel(client);
    assert.equal(await opened(far), before + 1);
  },
);
