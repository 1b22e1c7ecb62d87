/** `--workers`: several threads of a role behave as one program. */
import assert from "node:assert/strict";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { keyUsersConfig, makeKeyUser } from "./support/nats_users.ts";
import { run, spawn } from "./support/processes.ts";
import { startServer, startTunnel } from "./support/roles.ts";
import { dial, readExactly, writeAll } from "./support/transfer.ts";
import { whenReady } from "./support/waits.ts";

const CONNECTIONS = 120;

integrationTest(
  "workers: many connections through two workers a side, drained as one",
  async () => {
    const workers = ["--workers", "2", "--log-format", "json"];
    await using tunnel = await startTunnel({
      clientArgs: workers,
      serverArgs: workers,
    });
    await Promise.all(
      Array.from({ length: CONNECTIONS }, async (_, index) => {
        using conn = await dial(tunnel.endpoint);
        const message = new TextEncoder().encode(`connection ${index}`);
        await writeAll(conn, message);
        assert.deepEqual(await readExactly(conn, message.length), message);
      }),
    );
    // Each connection is one tunnel on each side, in whichever worker.
    for (const role of [tunnel.client, tunnel.server]) {
      assert.equal((await role.process.stop()).code, 0);
      const closed = role.process.lines.filter((line) =>
        line.includes("tunnel closed")
      );
      assert.equal(closed.length, CONNECTIONS);
      assert.ok(closed.every((line) => line.includes('"reason":"ok"')));
    }
  },
);

integrationTest(
  "workers: a key that comes by a pipe, as of <(command), logs all of them in",
  async () => {
    await using folder = await Folder.make();
    const user = makeKeyUser();
    const seed = await folder.write("seed", user.seed);
    const pipe = folder.at("pipe");
    await run("mkfifo", { args: [pipe] });
    // It can be read once; then this process ends.
    await using writer = spawn("sh", { args: ["-c", `cat ${seed} > ${pipe}`] });
    await using nats = await startNatsServer({ config: keyUsersConfig(user) });
    await using server = await startServer(nats.url, {
      env: { HOME: folder.path },
      args: ["--nats-nkey", pipe, "--workers", "2"],
    });
    await whenReady(server, 200, { matching: /"ready":2/ });
    assert.equal((await writer.status).code, 0);
  },
);
