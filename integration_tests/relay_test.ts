/** What TCP promises, through the tunnel: bytes, ends and failures. */
import assert from "node:assert/strict";
import { formatAddress, freePort } from "./support/addresses.ts";
import { ByteSource, digestOf } from "./support/hash.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startBroker } from "./support/nats_server.ts";
import { owned } from "./support/owned.ts";
import {
  type ClientRole,
  ownSubjects,
  startClient,
  startServer,
  startTunnel,
  type Tunnel,
} from "./support/roles.ts";
import {
  startEcho,
  startSink,
  startSource,
  startStalled,
  Target,
} from "./support/targets.ts";
import {
  dial,
  isDisconnect,
  readEnding,
  readExactly,
  readToEnd,
  receiveAll,
  sendAll,
  writeAll,
} from "./support/transfer.ts";

const MIB = 1024 * 1024;
const HELLO = new TextEncoder().encode("hello");

/** More than any window at its start, so that both sides have to wait. */
const BEYOND_WINDOW = 3 * MIB;

/** Far more than a tunnel may hold in all its buffers and the kernel's. */
const ENDLESS = 512 * MIB;

/** Far less than that, and more than a tunnel holds (`--window` is 1 MiB there). */
const HELD_AT_MOST = 48 * MIB;

/** Connects, and expects the connection to end without a byte. */
async function expectRefusal(
  client: ClientRole,
  reason: string,
): Promise<void> {
  const mark = client.process.mark();
  using conn = await dial(client.endpoint);
  assert.equal((await readEnding(conn)).bytes, 0);
  // One line says why, at a level that is shown by default.
  await client.entry((entry) => JSON.stringify(entry).includes(reason), {
    since: mark,
  });
}

/** A tunnel with small windows to `target`, and a client of the same server that leads to an echo. */
async function startNeighbours(target: Target): Promise<
  AsyncDisposable & { readonly tunnel: Tunnel; readonly neighbour: ClientRole }
> {
  await using stack = new AsyncDisposableStack();
  const args = ["--window", "1MiB"];
  const tunnel = stack.use(
    await startTunnel({
      target: target.address,
      clientArgs: args,
      serverArgs: args,
    }),
  );
  const neighbour = stack.use(
    await startClient(tunnel.natsUrl, {
      target: tunnel.echo.address,
      args: tunnel.subjects,
    }),
  );
  return owned(stack, { tunnel, neighbour });
}

integrationTest("relay: 100 MiB echoed have the same SHA-256", async () => {
  const size = 100 * MIB;
  await using tunnel = await startTunnel();
  using conn = await dial(tunnel.endpoint);
  const [sent, received] = await Promise.all([
    sendAll(conn, new ByteSource(100, size)),
    receiveAll(conn),
  ]);
  assert.deepEqual(received, sent);
  assert.deepEqual(sent, digestOf(100, size));
});

integrationTest(
  "relay: 300 connections to a target that speaks first lose nothing",
  async () => {
    const banner = new ByteSource(300, 5000).rest();
    await using target = startEcho({ banner });
    await using tunnel = await startTunnel({ target: target.address });
    await Promise.all(Array.from({ length: 300 }, async (_, n) => {
      using conn = await dial(tunnel.endpoint);
      assert.deepEqual(await readExactly(conn, banner.length), banner);
      const text = new TextEncoder().encode(`connection ${n}`);
      await writeAll(conn, text);
      await conn.closeWrite();
      assert.deepEqual(await readToEnd(conn), text);
    }));
    assert.equal(target.accepted, 300);
  },
);

integrationTest(
  "relay: 1,000 new connections in a row work, each of them",
  async () => {
    await using tunnel = await startTunnel();
    for (let i = 0; i < 1000; i++) {
      using conn = await dial(tunnel.endpoint);
      const text = new TextEncoder().encode(`connection ${i}`);
      await writeAll(conn, text);
      await conn.closeWrite();
      assert.deepEqual(await readToEnd(conn), text);
    }
    assert.equal(tunnel.echo.accepted, 1000);
    await tunnel.echo.whenOpenAtMost(0);
  },
);

integrationTest(
  "relay: the application ends first; the answer to its EOF arrives",
  async () => {
    const reply = new ByteSource(12, BEYOND_WINDOW).rest();
    await using target = startSink(reply);
    await using tunnel = await startTunnel({ target: target.address });
    using conn = await dial(tunnel.endpoint);
    const sent = await sendAll(conn, new ByteSource(11, BEYOND_WINDOW));
    assert.deepEqual(await target.digest(0), sent);
    assert.deepEqual(await receiveAll(conn), digestOf(12, BEYOND_WINDOW));
    await target.whenOpenAtMost(0);
  },
);

integrationTest(
  "relay: the target ends first; it still gets what follows",
  async () => {
    const got = Promise.withResolvers<unknown>();
    await using target = new Target(async (conn) => {
      await sendAll(conn, new ByteSource(21, BEYOND_WINDOW));
      got.resolve(await receiveAll(conn));
    });
    await using tunnel = await startTunnel({ target: target.address });
    using conn = await dial(tunnel.endpoint);
    // To its EOF, before anything is sent the other way.
    assert.deepEqual(await receiveAll(conn), digestOf(21, BEYOND_WINDOW));
    const sent = await sendAll(conn, new ByteSource(22, BEYOND_WINDOW));
    assert.deepEqual(await got.promise, sent);
  },
);

integrationTest("relay: both sides send and end at the same time", async () => {
  const got = Promise.withResolvers<unknown>();
  await using target = new Target(async (conn) => {
    const [, received] = await Promise.all([
      sendAll(conn, new ByteSource(31, BEYOND_WINDOW)),
      receiveAll(conn),
    ]);
    got.resolve(received);
  });
  await using tunnel = await startTunnel({ target: target.address });
  using conn = await dial(tunnel.endpoint);
  const [sent, received] = await Promise.all([
    sendAll(conn, new ByteSource(32, BEYOND_WINDOW)),
    receiveAll(conn),
  ]);
  assert.deepEqual(received, digestOf(31, BEYOND_WINDOW));
  assert.deepEqual(await got.promise, sent);
});

integrationTest(
  "relay: bytes and EOF sent before the tunnel is open are not lost",
  async () => {
    await using target = startSink(HELLO);
    await using tunnel = await startTunnel({ target: target.address });
    for (const size of [0, 1, 100_000]) {
      using conn = await dial(tunnel.endpoint);
      await sendAll(conn, new ByteSource(size, size));
      assert.deepEqual(await readToEnd(conn), HELLO);
    }
    assert.deepEqual(
      target.digests,
      [0, 1, 100_000].map((size) => digestOf(size, size)),
    );
  },
);

integrationTest(
  "relay: an application that goes away while opening leaves nothing",
  async () => {
    await using tunnel = await startTunnel();
    for (let i = 0; i < 50; i++) (await dial(tunnel.endpoint)).close();
    // The next one works, and then the target has none of the others left.
    using conn = await dial(tunnel.endpoint);
    await roundTrip(conn);
    await tunnel.echo.whenOpenAtMost(1);
  },
);

integrationTest(
  "relay: a target that is cut off cuts the application off",
  async () => {
    await using target = new Target(async (conn) => {
      await readExactly(conn, 5);
      // Closing with bytes unread is a reset to the kernel.
    });
    await using tunnel = await startTunnel({ target: target.address });
    using conn = await dial(tunnel.endpoint);
    await writeAll(conn, new ByteSource(1, 1000).rest());
    assert.equal((await readEnding(conn)).bytes, 0);
    await target.whenOpenAtMost(0);
  },
);

integrationTest(
  "relay: a stopped reader costs a window, and its neighbours nothing",
  async () => {
    await using target = startStalled();
    await using beside = await startNeighbours(target);
    const { tunnel, neighbour } = beside;
    using stalled = await dial(tunnel.endpoint);
    const source = new ByteSource(7, ENDLESS);
    const sending = sendAll(stalled, source).catch((error) => {
      if (!isDisconnect(error)) throw error;
    });
    await target.whenAccepted(1);
    using conn = await dial(neighbour.endpoint);
    for (let i = 0; i < 1000; i++) await roundTrip(conn);
    assert.ok(
      source.offset < HELD_AT_MOST,
      `${source.offset} bytes were taken for a reader that takes none`,
    );
    stalled.close();
    await sending;
  },
);

integrationTest(
  "relay: an application that does not read stops the target",
  async () => {
    const source = new ByteSource(8, ENDLESS);
    await using target = new Target(async (conn) => {
      await sendAll(conn, source);
    });
    await using beside = await startNeighbours(target);
    const { tunnel, neighbour } = beside;
    using stalled = await dial(tunnel.endpoint);
    await target.whenAccepted(1);
    using conn = await dial(neighbour.endpoint);
    for (let i = 0; i < 1000; i++) await roundTrip(conn);
    assert.ok(source.offset < HELD_AT_MOST, `${source.offset} bytes were sent`);
    stalled.close();
    await target.whenOpenAtMost(0);
  },
);

integrationTest(
  "relay: a download of 50 MiB has the right SHA-256",
  async () => {
    await using target = startSource(50, 50 * MIB);
    await using tunnel = await startTunnel({ target: target.address });
    using conn = await dial(tunnel.endpoint);
    assert.deepEqual(await receiveAll(conn), digestOf(50, 50 * MIB));
    await conn.closeWrite();
    await target.whenOpenAtMost(0);
  },
);

integrationTest(
  "relay: refused, unresolvable and unreachable targets end the connection at once, by name",
  async () => {
    await using nats = await startBroker();
    const subjects = nats.shared ? ownSubjects() : [];
    await using _server = await startServer(nats.url, {
      args: [...subjects, "--allow-target", "*:*,224.0.0.1:80"],
    });
    const cases = [
      [`127.0.0.1:${freePort()}`, "refused"],
      ["no-such-host.invalid:80", "no-such-host"],
      // A multicast address: the kernel says so without sending anything.
      ["224.0.0.1:80", "unreachable"],
    ] as const;
    for (const [target, reason] of cases) {
      await using client = await startClient(nats.url, {
        target,
        args: subjects,
      });
      await expectRefusal(client, reason);
      // The process goes on and says it again.
      await expectRefusal(client, reason);
    }
  },
);

integrationTest(
  "relay: without a server the connection ends at once; with one the next works",
  async () => {
    await using nats = await startBroker();
    await using target = startEcho();
    const subjects = ownSubjects();
    await using client = await startClient(nats.url, {
      target: target.address,
      args: subjects,
    });
    await expectRefusal(client, "no-server");
    await using _server = await startServer(nats.url, { args: subjects });
    using conn = await dial(client.endpoint);
    await roundTrip(conn);
  },
);

integrationTest(
  "relay: a target the server does not allow is denied by name",
  async () => {
    await using tunnel = await startTunnel({
      serverArgs: ["--allow-target", "127.0.0.1:1"],
    });
    await expectRefusal(tunnel.client, "denied");
    assert.equal(tunnel.echo.accepted, 0);
  },
);

integrationTest(
  "relay: a target allowed by its network is reached by name, at whichever address answers",
  async () => {
    await using target = startEcho();
    const { port } = target.endpoint;
    await using tunnel = await startTunnel({
      target: formatAddress({ hostname: "localhost", port }),
      serverArgs: ["--allow-target", "[::1]:*,127.0.0.0/8:*"],
    });
    using conn = await dial(tunnel.endpoint);
    await roundTrip(conn);
  },
);

for (
  const [hostname, listen] of [
    ["::1", "[::1]:0"],
    ["localhost", "localhost:0"],
  ] as const
) {
  integrationTest(`relay: target and listener at ${hostname}`, async () => {
    await using target = startEcho({ hostname });
    const { port } = target.endpoint;
    await using tunnel = await startTunnel({
      target: formatAddress({ hostname, port }),
      clientArgs: ["--listen-addr", listen],
    });
    using conn = await dial(tunnel.endpoint);
    const [sent, received] = await Promise.all([
      sendAll(conn, new ByteSource(6, BEYOND_WINDOW)),
      receiveAll(conn),
    ]);
    assert.deepEqual(received, sent);
  });
}
