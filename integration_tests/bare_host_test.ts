/** Both roles without HOME, as a user without rights, on a root that nobody may write. */
import assert from "node:assert/strict";
import { parseAddress } from "./support/addresses.ts";
import { hasBareHost, NOBODY, spawnBare } from "./support/bare_host.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { PROJECT, Role } from "./support/roles.ts";
import { run } from "./support/processes.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";

/** A pair of keys; the secret is root's, and its group may read it, as systemd and Kubernetes hand out secrets. */
async function makeKey(folder: Folder, name: string): Promise<string> {
  const path = folder.at(name);
  const { status, output } = await run(Deno.execPath(), {
    args: ["run", "-A", "server.ts", "key", "generate", "--out", path],
    cwd: PROJECT.pathname,
  });
  assert.equal(status.code, 0, output);
  await Deno.chown(path, 0, NOBODY);
  await Deno.chmod(path, 0o440);
  const [key = ""] = /\bX[A-Z2-7]{55}\b/.exec(output) ?? [];
  return key;
}

integrationTest(
  "bare host: both roles start, seal, carry and stop without HOME, rights or a place to write",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(await Folder.make());
    await Deno.chmod(folder.path, 0o755);
    const nats = cleanup.use(await startNatsServer());
    const echo = cleanup.use(startEcho());
    const [serverKey, clientKey] = [
      await makeKey(folder, "server.key"),
      await makeKey(folder, "client.key"),
    ];
    const start = async (
      role: "server" | "client",
      ...args: string[]
    ): Promise<Role> => {
      const process = await spawnBare(role, {
        args: [
          ...["--nats-url", nats.url, "--log-format", "json"],
          ...["--secret-key", folder.at(`${role}.key`), ...args],
        ],
        secrets: folder.path,
      });
      return cleanup.use(new Role(process));
    };
    const server = await start(
      "server",
      ...["--listen-addr", "127.0.0.1:0", "--client-key", clientKey],
      ...["--workers", "2"],
    );
    await server.entry(({ msg }) => msg === "workers started");
    const client = await start(
      "client",
      ...["-L", `127.0.0.1:0:${echo.address}`, "--server-key", serverKey],
    );
    const { address } = await client.entry(({ msg }) => msg === "listening");
    using conn = await dial(parseAddress(String(address)));
    await roundTrip(conn);
    conn[Symbol.dispose]();
    for (const role of [client, server]) {
      role.process.signal("SIGTERM");
      assert.equal((await role.process.status).code, 0);
      const levels = new Set(role.entries().map(({ level }) => level));
      assert.deepEqual([...levels].filter((level) => level === "error"), []);
    }
  },
  { ignore: !await hasBareHost() },
);
