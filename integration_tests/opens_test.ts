/** Opens where there is more than one server, or somebody who is none: on real processes. */
import assert from "node:assert/strict";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { RawNats } from "./support/raw_nats.ts";
import {
  type ClientRole,
  ownSubjects,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial, readExactly, readToEnd, writeAll } from "./support/transfer.ts";

const MESSAGE = new TextEncoder().encode("is anybody there?");

/** Whether a connection through `client` reaches the echo. */
async function echoes(client: ClientRole): Promise<boolean> {
  using conn = await dial(client.endpoint);
  await writeAll(conn, MESSAGE);
  const [got] = await Promise.all([readExactly(conn, MESSAGE.length)])
    .catch(() => [undefined]);
  return got !== undefined && got.every((byte, at) => byte === MESSAGE[at]);
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
    const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const target = `127.0.0.1:${closed.addr.port}`;
    closed.close();
    await using _may = await startServer(nats.url, { args: subjects });
    await using _mayNot = await startServer(nats.url, {
      args: [...subjects, "--allow-target", "127.0.0.1:1"],
    });
    await using client = await startClient(nats.url, {
      target,
      args: subjects,
    });
    for (let i = 0; i < 6; i++) {
      const mark = client.process.mark();
      using conn = await dial(client.endpoint);
      assert.equal((await readToEnd(conn)).length, 0);
      const { reason } = await client.entry(
        ({ msg }) => msg === "open failed",
        {
          since: mark,
        },
      );
      assert.equal(reason, "refused");
    }
  },
);

integrationTest(
  "opens go through though a JetStream stream captures the request subject",
  async () => {
    await using nats = await startNatsServer({ config: "jetstream {}" });
    await using raw = await RawNats.connect(nats.url);
    const created = await raw.request(
      "$JS.API.STREAM.CREATE.CAPTURE",
      JSON.stringify({
        name: "CAPTURE",
        subjects: ["proxy.>"],
        storage: "memory",
      }),
    );
    assert.match(new TextDecoder().decode(created.data), /"CAPTURE"/);
    await using echo = startEcho();
    await using server = await startServer(nats.url);
    await using client = await startClient(nats.url, {
      target: echo.address,
      args: ["--open-timeout", "3s"],
    });
    for (let i = 0; i < 10; i++) {
      assert.ok(await echoes(client), `connection ${i}`);
    }
    await server.process.kill();
    using conn = await dial(client.endpoint);
    assert.equal((await readToEnd(conn)).length, 0);
    const { why } = await client.entry(({ msg }) => msg === "open failed");
    assert.match(
      String(why),
      /no server .*the JetStream stream "CAPTURE" captures/,
    );
  },
);
