/** What changes while processes run: credentials, certificates, permissions, limits. On a real broker. */
import assert from "node:assert/strict";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import {
  type LogEntry,
  ownSubjects,
  Role,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import {
  dial,
  readExactly,
  readToEnd,
  receiveAll,
  sendAll,
  writeAll,
} from "./support/transfer.ts";
import { ByteSource } from "./support/hash.ts";

const MESSAGE = new TextEncoder().encode("still here");

/** Two nkeys made for these tests: the old one and the new one. */
const OLD = {
  id: "UAEVWP4WLLT372M6U6Z6UGKJOASLWSSNZ72AK3QPHHVW2BP4GDUTYWC2",
  seed: "SUANPIDF6T64MO2T5KEIH52M7VU63EDB3GGXCF7WEP2LSYGJYDX6ZMB63E",
};

/** A broker's configuration that lets one user in, by name. */
function onlyUser(name: string): string {
  return `authorization { users: [ { user: ${name}, password: pw } ] }`;
}

async function expectEcho(conn: Deno.TcpConn): Promise<void> {
  await writeAll(conn, MESSAGE);
  assert.deepEqual(await readExactly(conn, MESSAGE.length), MESSAGE);
}

integrationTest(
  "credentials that were rotated are read at the next connect, and tunnels go on",
  async () => {
    const directory = await Deno.makeTempDir({ prefix: "rotation-" });
    const file = `${directory}/nkey`;
    try {
      // Written on Windows: a byte order mark and CRLF.
      await Deno.writeTextFile(file, `\uFEFF${OLD.seed}\r\n`);
      const nkeys = `authorization { users: [ { nkey: ${OLD.id} } ] }`;
      await using nats = await startNatsServer({ config: nkeys });
      await using echo = startEcho();
      const options = {
        args: ["--nats-nkey", file],
        env: { HOME: directory },
        target: echo.address,
      };
      await using _server = await startServer(nats.url, options);
      await using client = await startClient(nats.url, options);
      using conn = await dial(client.endpoint);
      await expectEcho(conn);
      // Half written: the next attempts fail, and say why.
      await Deno.writeTextFile(file, OLD.seed.slice(0, 20));
      const mark = client.process.mark();
      await nats.kill();
      await nats.restart();
      const failed = await client.entry(
        ({ msg, why }) =>
          msg === "cannot connect to NATS" && /nkey seed/.test(String(why)),
        { since: mark },
      );
      assert.ok(!JSON.stringify(failed).includes(OLD.seed.slice(0, 20)));
      await Deno.remove(file);
      await client.entry(
        ({ msg, why }) =>
          msg === "cannot connect to NATS" &&
          /--nats-nkey.*no such file/i.test(String(why)),
        { since: mark },
      );
      await Deno.writeTextFile(file, OLD.seed);
      await expectEcho(conn);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
);

/** The start of an account's configuration with a limit on payloads. */
function limitedAccount(maxPayload: number): string {
  return `accounts { A { limits { max_payload: ${maxPayload} },
    users: [ { user: a, password: pw } ] } }`;
}

integrationTest(
  "an account that takes less than its broker is no reason to connect again",
  async () => {
    await using nats = await startNatsServer({ config: limitedAccount(8192) });
    await using echo = startEcho();
    const url = nats.url.replace("nats://", "nats://a:pw@");
    const subjects = ownSubjects();
    await using server = await startServer(url, { args: subjects });
    await using client = await startClient(url, {
      target: echo.address,
      args: subjects,
    });
    using conn = await dial(client.endpoint);
    const [got, sent] = await Promise.all([
      receiveAll(conn),
      sendAll(conn, new ByteSource(7, 3 << 20)),
    ]);
    assert.deepEqual(got, sent);
    for (const role of [server, client]) {
      const lost = role.entries().filter(({ msg }) => /lost|cannot/.test(msg));
      assert.deepEqual(lost, []);
    }
  },
);

/** A user that may not do what `denied` says, as nats-server's `permissions`. */
function permissions(denied: string): string {
  return `authorization { users: [ { user: u, password: pw, permissions: {
    publish: { deny: [${denied}] } } } ] }`;
}

async function ready(role: Role): Promise<{ status: number; text: string }> {
  return await role.status("/ready");
}

integrationTest(
  "a subscription that the broker refuses keeps a server from being ready until it is allowed",
  async () => {
    const refusing = `authorization { users: [ { user: u, password: pw,
      permissions: { subscribe: { deny: ["proxy.request"] } } } ] }`;
    await using nats = await startNatsServer({ config: refusing });
    await using echo = startEcho();
    const url = nats.url.replace("nats://", "nats://u:pw@");
    await using server = new Role(
      await spawnRole("server", {
        args: [
          ...["--nats-url", url, "--listen-addr", "127.0.0.1:0"],
          ...["--log-format", "json"],
        ],
      }),
    );
    const { subject } = await server.entry(({ msg }) =>
      msg === "NATS refuses a subscription"
    );
    assert.equal(subject, "proxy.request");
    const { status, text } = await ready(server);
    assert.equal(status, 503);
    assert.match(text, /refuses the subscription to proxy\.request/);
    const isReady = ({ msg }: LogEntry): boolean => msg === "ready";
    assert.ok(!server.entries().some(isReady), "it says that it is ready");
    await nats.reload(onlyUser("u"));
    await server.entry(isReady);
    assert.equal((await ready(server)).status, 200);
    await using client = await startClient(url, { target: echo.address });
    using conn = await dial(client.endpoint);
    await expectEcho(conn);
  },
);

integrationTest(
  "a client that may not ask says so at once, and is not ready",
  async () => {
    await using nats = await startNatsServer({
      config: permissions(`"proxy.request"`),
    });
    const url = nats.url.replace("nats://", "nats://u:pw@");
    await using client = await startClient(url, {
      target: "127.0.0.1:1",
      args: ["--status-addr", "127.0.0.1:0"],
    });
    assert.equal((await ready(client)).status, 200);
    for (let i = 0; i < 3; i++) {
      const since = client.process.mark();
      using conn = await dial(client.endpoint);
      assert.equal((await readToEnd(conn)).length, 0);
      const { reason, why, ms } = await client.entry(
        ({ msg }) => msg === "open failed",
        { since },
      );
      assert.equal(reason, "denied");
      assert.match(String(why), /NATS refuses .*proxy\.request/);
      assert.ok(Number(ms) < 2_000, `${ms} ms`);
    }
    const { status, text } = await ready(client);
    assert.equal(status, 503);
    assert.match(text, /refuses what is published to proxy\.request/);
    assert.equal(
      client.entries().filter(({ msg }) => /refuses our messages/.test(msg))
        .length,
      1,
      "one line for a subject and minute",
    );
  },
);

integrationTest(
  "tunnels whose frames the broker refuses end with denied, at both ends",
  async () => {
    await using nats = await startNatsServer({
      config: permissions(`"p.data.to_client.*.*.*"`),
    });
    await using echo = startEcho();
    const url = nats.url.replace("nats://", "nats://u:pw@");
    // Answers to opens are on such subjects, too: the client may not hear any.
    await using server = await startServer(url);
    await using client = await startClient(url, {
      target: echo.address,
      args: ["--open-timeout", "1s"],
    });
    using conn = await dial(client.endpoint);
    assert.equal((await readToEnd(conn)).length, 0);
    await server.entry(({ msg, subject }) =>
      /refuses our messages/.test(msg) &&
      /^p\.data\.to_client/.test(String(subject))
    );
    const ended = await server.entry(({ msg }) => msg === "tunnel closed");
    assert.equal(ended.reason, "denied");
    assert.match(String(ended.why), /NATS refuses .*p\.data\.to_client/);
  },
);
