/** Opens where there is more than one server: on real processes. */
import assert from "node:assert/strict";
import { failedOpen, roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import {
  type ClientRole,
  ownSubjects,
  startClient,
  startServer,
  startTunnel,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial, readToEnd } from "./support/transfer.ts";
import { HeldPort } from "./support/addresses.ts";
import { soon } from "./support/waits.ts";

/** Whether a connection through `client` reaches the echo. */
async function echoes(client: ClientRole): Promise<boolean> {
  using conn = await dial(client.endpoint);
  return await roundTrip(conn).then(() => true, () => false);
}

integrationTest(
  "every connection reaches a target that only one of two servers may dial",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const subjects = ownSubjects();
    await using _may = await startServer(nats.url, { args: subjects });
    await using _mayNot = await startServer(nats.url, {
      args: [...subjects, "--allow-target", "127.0.0.1:1"],
    });
    await using client = await startClient(nats.url, {
      target: echo.address,
      args: subjects,
    });
    let reached = 0;
    for (let i = 0; i < 40; i++) if (await echoes(client)) reached++;
    // One open in 64 that the wrong one got first is not asked of the other.
    assert.ok(reached >= 38, `${reached} of 40`);
  },
);

integrationTest(
  "the most telling of several refusals is told",
  async () => {
    await using nats = await startNatsServer();
    const subjects = ownSubjects();
    using held = HeldPort.take();
    const target = `127.0.0.1:${held.port}`;
    await using _may = await startServer(nats.url, { args: subjects });
    await using _mayNot = await startServer(nats.url, {
      args: [...subjects, "--allow-target", "127.0.0.1:1"],
    });
    await using client = await startClient(nats.url, {
      target,
      args: subjects,
    });
    assert.equal((await failedOpen(client, client)).reason, "refused");
    for (let i = 0; i < 5; i++) {
      using conn = await dial(client.endpoint);
      assert.equal((await readToEnd(conn)).length, 0);
    }
    // Another cause is told at once, the same one now and then.
    assert.deepEqual(
      client.entries().filter(({ msg }) => msg === "open failed")
        .map(({ reason }) => reason),
      ["refused"],
    );
  },
);

integrationTest(
  "a server with another data prefix than the client says so, and the client where to look",
  async () => {
    await using tunnel = await startTunnel({
      clientArgs: ["--data-prefix", "edge.data"],
    });
    using conn = await dial(tunnel.endpoint);
    assert.equal((await readToEnd(conn)).length, 0);
    for (
      const [role, line, code, words] of [
        [
          tunnel.server,
          "open refused",
          "denied",
          /^the client has the data prefix "edge\.data", the server "[^"]+": give both the same --data-prefix$/,
        ],
        [
          tunnel.client,
          "open failed",
          "timeout",
          /another --data-prefix or this client asks too much$/,
        ],
      ] as const
    ) {
      const { reason, why } = await soon(
        line,
        role.entry(({ msg }) => msg === line),
      );
      assert.equal(reason, code);
      assert.match(String(why), words);
    }
  },
);
