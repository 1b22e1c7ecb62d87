/** `--workers`: several threads of a role behave as one program. */
import assert from "node:assert/strict";
import { integrationTest } from "./support/integration_test.ts";
import { startTunnel } from "./support/roles.ts";
import { dial, readExactly, writeAll } from "./support/transfer.ts";

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
