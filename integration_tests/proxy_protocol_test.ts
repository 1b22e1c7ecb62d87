/** The PROXY protocol with those that speak it: HAProxy in front of a client, HAProxy and nginx behind a server. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { BufferPool } from "../lib/base/buffer_pool.ts";
import { systemClock } from "../lib/base/clock.ts";
import { isAddress } from "../lib/base/target.ts";
import { connectNats } from "../lib/nats/connection.ts";
import { dial as dialTarget } from "../lib/net/dial.ts";
import type { ProxyVersion } from "../lib/base/service.ts";
import { proxyHeader } from "../lib/wire/proxy_header.ts";
import { brokers } from "../tests/support/brokers.ts";
import { FakeClock } from "../tests/support/fake_clock.ts";
import { MemoryBroker } from "../tests/support/memory_bus.ts";
import { TestServer } from "../tests/support/shell_pair.ts";
import { type Endpoint, parseAddress } from "./support/addresses.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { findOptional, HAPROXY, NGINX } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { type Proxy, startHaproxy, startNginx } from "./support/proxies.ts";
import { type ClientRole, startClient, startTunnel } from "./support/roles.ts";
import { dial, readExactly, readToEnd, writeAll } from "./support/transfer.ts";
import { soon } from "./support/waits.ts";

const tools = await findOptional(HAPROXY, NGINX);
const WITH_TOOLS = { ignore: tools === undefined };

/** Where applications come from: not where anything else here does. */
const APPLICATION = "127.0.0.5";

/** How long tunnels may take to close that have ended, in ms. */
const CLOSE_MS = 10_000;

const REFUSED =
  "connections without a PROXY header are closed (--accept-proxy)";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function pathOf(command: string): string {
  const path = tools?.get(command);
  if (path === undefined) throw new Error(`${command} was not looked for`);
  return path;
}

/** An application at {@linkcode APPLICATION}. */
async function application(
  { hostname: host, port }: Endpoint,
): Promise<Socket> {
  const socket = connect({ host, port, localAddress: APPLICATION });
  await soon("it is connected", once(socket, "connect"));
  return socket;
}

/** The answer to a request of it for a page, and the port that it came from. */
async function page(
  endpoint: Endpoint,
): Promise<{ readonly body: string; readonly port: number }> {
  const socket = await application(endpoint);
  const { localPort = 0 } = socket;
  socket.end("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const pieces: Uint8Array[] = [];
  socket.on("data", (piece: Uint8Array) => pieces.push(piece));
  await soon("it is answered", once(socket, "close"));
  const text = pieces.map((piece) => decoder.decode(piece)).join("");
  assert.match(text, /^HTTP\/1.1 200 /);
  return { body: text.split("\r\n\r\n")[1] ?? "", port: localPort };
}

for (
  const [name, words] of [
    ["version 1", "send-proxy"],
    ["version 2", "send-proxy-v2"],
    [
      "version 2, with a checksum and an ID",
      "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ],
  ] as const
) {
  integrationTest(
    `HAProxy in front of a client tells it who connects: ${name}`,
    async () => {
      await using folder = await Folder.make();
      await using tunnel = await startTunnel({
        clientArgs: ["--accept-proxy", "--allow-from", "127.0.0.1"],
      });
      const { client, echo } = tunnel;
      await using haproxy = await startHaproxy(
        pathOf("haproxy"),
        folder,
        (port) =>
          `listen in
  mode tcp
  bind 127.0.0.1:${port}
  unique-id-format %ci-%cp
  server tunnel ${client.address} ${words}`,
      );
      const socket = await application(haproxy.endpoint);
      const sent = crypto.getRandomValues(new Uint8Array(60_000));
      const heard: Uint8Array[] = [];
      socket.on("data", (piece: Uint8Array) => heard.push(piece.slice()));
      const closed = once(socket, "close");
      const { localPort } = socket;
      // Half-closed: what the echo says comes back after it.
      socket.end(sent);
      await soon("all is back", closed);
      assert.deepEqual(
        new Uint8Array(await new Blob(heard as BlobPart[]).arrayBuffer()),
        sent,
      );
      const peer = `${APPLICATION}:${localPort}`;
      await client.entry((entry) =>
        entry.msg === "tunnel closed" && entry.peer === peer
      );
      assert.equal(echo.accepted, 1);
    },
    WITH_TOOLS,
  );
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `HAProxy brings five hundred connections at once, and not one is taken for a stranger: workers=${workers}`,
    async () => {
      await using folder = await Folder.make();
      await using tunnel = await startTunnel({
        clientArgs: ["--accept-proxy", "--workers", workers],
      });
      const { client } = tunnel;
      await using haproxy = await startHaproxy(
        pathOf("haproxy"),
        folder,
        (port) =>
          `listen in
  mode tcp
  bind 127.0.0.1:${port}
  server tunnel ${client.address} send-proxy-v2`,
      );
      const one = async (at: number): Promise<void> => {
        using conn = await dial(haproxy.endpoint);
        const said = encoder.encode(`number ${at}`);
        await writeAll(conn, said);
        assert.deepEqual(await readExactly(conn, said.length), said);
      };
      await Promise.all(Array.from({ length: 500 }, (_, at) => one(at)));
      assert.ok(!client.entries().some(({ msg }) => msg === REFUSED));
    },
    WITH_TOOLS,
  );
}

integrationTest(
  "without a header nobody gets in, and the header counts at forwards, Unix sockets and front-ends alike",
  async () => {
    await using folder = await Folder.make();
    const path = folder.at("db.sock");
    await using tunnel = await startTunnel({
      env: { HOME: folder.path },
      clientArgs: [
        ...["--accept-proxy", "--allow-from", "127.0.0.1"],
        ...["-D", "127.0.0.1:0", "-L", `${path}:127.0.0.1:9`],
      ],
    });
    const { client, echo } = tunnel;
    for (
      const [said, why] of [
        ["GET / HTTP/1.1\r\n\r\n", /^it begins with HTTP, and not with/],
        ["PROXY TCP4 1.1.1.1 1.1.1.1 1 70000\r\n", /^its line is not underst/],
        ["\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", /^it is to have 65551 bytes/],
      ] as const
    ) {
      await using other = await startClient(tunnel.natsUrl, {
        target: echo.address,
        args: ["--accept-proxy"],
      });
      using conn = await dial(other.endpoint);
      await writeAll(
        conn,
        Uint8Array.from(said, (char) => char.charCodeAt(0)),
      );
      assert.equal(await readsNothing(conn), true, said);
      const entry = await other.entry(({ msg }) => msg === REFUSED);
      assert.match(String(entry.why), why);
      const { hostname, port } = conn.localAddr;
      assert.equal(entry.peer, `${hostname}:${port}`);
    }
    // The real other end is judged, whatever the header says.
    const elsewhere = await application(client.endpoint);
    elsewhere.on("error", () => {});
    elsewhere.write("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nx");
    await soon("it is closed", once(elsewhere, "close"));
    const header = proxyHeader("v1", {
      source: { host: "192.0.2.7", port: 7 },
      destination: { host: "192.0.2.1", port: 80 },
    });
    // Byte by byte, and then the application's.
    using slow = await dial(client.endpoint);
    for (const byte of header) await writeAll(slow, Uint8Array.of(byte));
    await writeAll(slow, encoder.encode("hello"));
    assert.equal(decoder.decode(await readExactly(slow, 5)), "hello");
    await slow.closeWrite();
    assert.equal((await readToEnd(slow)).length, 0);
    await client.entry(({ msg, peer }) =>
      msg === "tunnel closed" && peer === "192.0.2.7:7"
    );
    // SOCKS behind a header, all in one piece.
    const { address } = await client.entry(({ msg, forward }) =>
      msg === "listening" && forward === "socks"
    );
    using socks = await dial(parseAddress(String(address)));
    const { hostname, port } = echo.endpoint;
    await writeAll(
      socks,
      Uint8Array.of(
        ...[...header, 5, 1, 0, 5, 1, 0, 1],
        ...[...hostname.split(".").map(Number), port >> 8, port & 255],
        ...encoder.encode("early"),
      ),
    );
    const answer = await readExactly(socks, 2 + 10 + 5);
    assert.equal(decoder.decode(answer.subarray(12)), "early");
    // A Unix socket, to a target that is not there.
    using unix = await Deno.connect({ transport: "unix", path });
    await unix.write(header);
    assert.equal(await readsNothing(unix), true);
    await client.entry(({ msg, peer, target }) =>
      msg === "open failed" && peer === "192.0.2.7:7" &&
      target === "127.0.0.1:9"
    );
  },
);

/** Whether a connection ends, in whatever way, without a byte. */
async function readsNothing(conn: Deno.Conn): Promise<boolean> {
  try {
    return await soon("it ends", conn.read(new Uint8Array(1))) === null;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) return true;
    throw error;
  }
}

/** A client, and a server whose targets are told. */
interface Stage extends AsyncDisposable {
  readonly folder: Folder;
  readonly nats: NatsServer;
  readonly client: ClientRole;
}

/** Starts both; the server is a part of this process, since none of its options asks for headers. */
async function startTelling(
  version: ProxyVersion,
  startTarget: (folder: Folder) => Promise<Proxy>,
  ...clientArgs: readonly string[]
): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const nats = cleanup.use(await startNatsServer());
  const target = cleanup.use(await startTarget(folder));
  const bus = await connectNats({
    servers: brokers(nats.url),
    pingInterval: 2_000,
    connectTimeout: 60_000,
  });
  cleanup.defer(() => bus.close());
  const pool = new BufferPool();
  const server = cleanup.use(
    new TestServer(new MemoryBroker(), new FakeClock(), {
      bus,
      clock: systemClock,
      token: "telling",
      dial: async (target, signal) => {
        if (!isAddress(target)) throw new Error("no address");
        return {
          socket: await dialTarget(target, { pool, signal }),
          proxyProtocol: version,
        };
      },
    }),
  );
  const client = cleanup.use(
    await startClient(nats.url, { target: target.address, args: clientArgs }),
  );
  // Connections of this process, which are to be closed in it.
  cleanup.defer(() =>
    server.egress.session.empty(AbortSignal.timeout(CLOSE_MS))
  );
  return owned(cleanup, { folder, nats, client });
}

for (const version of ["v1", "v2"] as const) {
  integrationTest(
    `nginx behind a server knows where the application is, by ${version}`,
    async () => {
      await using stage = await startTelling(
        version,
        (folder) => startNginx(pathOf("nginx"), folder),
      );
      const { endpoint } = stage.client;
      const { body, port } = await page(endpoint);
      assert.equal(
        body,
        `${APPLICATION} ${port} ${endpoint.hostname} ${endpoint.port}`,
      );
    },
    WITH_TOOLS,
  );
}

/** A HAProxy that reads headers and answers with what they say. */
function haproxyAnswering(folder: Folder): Promise<Proxy> {
  return startHaproxy(pathOf("haproxy"), folder, (port) =>
    `frontend in
  mode http
  bind 127.0.0.1:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[fc_pp_unique_id]"`);
}

integrationTest(
  "HAProxy behind a server knows where the application is, and the tunnel's ID",
  async () => {
    await using stage = await startTelling("v2", haproxyAnswering);
    const { client } = stage;
    const { body, port } = await page(client.endpoint);
    const [source, sourcePort, id] = body.split(" ");
    assert.deepEqual([source, sourcePort], [APPLICATION, String(port)]);
    const closed = await client.entry(({ msg }) => msg === "tunnel closed");
    assert.equal(id, closed.id);
  },
  WITH_TOOLS,
);

integrationTest(
  "all the way: HAProxy, client, NATS, server, nginx, and the address is that of the application",
  async () => {
    for (
      const [sent, told] of [["send-proxy", "v2"], [
        "send-proxy-v2",
        "v1",
      ]] as const
    ) {
      await using stage = await startTelling(
        told,
        (folder) => startNginx(pathOf("nginx"), folder),
        "--accept-proxy",
      );
      await using front = await startHaproxy(
        pathOf("haproxy"),
        stage.folder,
        (port) =>
          `listen in
  mode tcp
  bind 127.0.0.1:${port}
  server tunnel ${stage.client.address} ${sent}`,
      );
      const { body, port } = await page(front.endpoint);
      assert.equal(
        body,
        `${APPLICATION} ${port} 127.0.0.1 ${front.endpoint.port}`,
      );
    }
  },
  WITH_TOOLS,
);
