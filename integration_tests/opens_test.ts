/** Opens where there is more than one server: on real processes. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import {
  type ClientRole,
  ownSubjects,
  type Role,
  startClient,
  startServer,
  startTunnel,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial, readToEnd } from "./support/transfer.ts";
import { HeldPort } from "./support/addresses.ts";
import { eventually, soon } from "./support/waits.ts";

/** Whether a connection through `client` reaches the echo. */
async function echoes(client: ClientRole): Promise<boolean> {
  using conn = await dial(client.endpoint);
  return await roundTrip(conn).then(() => true, () => false);
}

/** Whether a server has refused an open, so that the client knows it. */
function hasRefused(server: Role): boolean {
  return server.entries().some(({ msg }) => msg === "open refused");
}

integrationTest(
  "every connection reaches a target that only one of two servers may dial",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const subjects = ownSubjects();
    await using _may = await startServer(nats.url, { args: subjects });
    await using mayNot = await startServer(nats.url, {
      args: [...subjects, "--allow-target", "127.0.0.1:1"],
    });
    await using client = await startClient(nats.url, {
      target: echo.address,
      args: subjects,
    });
    // An open that the wrong one gets is asked for until the other has it, once both are known.
    await eventually(
      async () => await echoes(client) && hasRefused(mayNot),
      () => "not both servers were asked",
    );
    let reached = 0;
    for (let i = 0; i < 40; i++) if (await echoes(client)) reached++;
    assert.equal(reached, 40);
  },
);

integrationTest(
  "the most telling of several refusals is told",
  async () => {
    await using nats = await startNatsServer();
    const subjects = ownSubjects();
    using held = HeldPort.take();
    const target = `127.0.0.1:${held.port}`;
    await using may = await startServer(nats.url, { args: subjects });
    await using mayNot = await startServer(nats.url, {
      args: [...subjects, "--allow-target", "127.0.0.1:1"],
    });
    await using client = await startClient(nats.url, {
      target,
      args: subjects,
    });
    const fails = async (): Promise<void> => {
      using conn = await dial(client.endpoint);
      assert.equal((await readToEnd(conn)).length, 0);
    };
    // An open is asked for until both have refused it, once both are known.
    await eventually(async () => {
      await fails();
      return hasRefused(may) && hasRefused(mayNot);
    }, () => "not both servers were asked");
    const since = client.process.mark();
    for (let i = 0; i < 6; i++) await fails();
    // What repeats is told now and then, and at the end.
    await client.process.stop();
    const told = client.entries(since).filter(({ msg }) =>
      msg === "open failed"
    );
    assert.ok(told.length > 0);
    for (const entry of told) {
      assert.equal(entry.reason, "refused", JSON.stringify(entry));
    }
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
