/** A WebSocket as a broker's socket, at the runtime's own server and at bad ones. */
import assert from "node:assert/strict";
import { dialBroker } from "../../lib/nats/dial.ts";
import type { BrokerSocket } from "../../lib/nats/socket.ts";
import { openWebSocket } from "../../lib/nats/websocket.ts";

/** Connects to a port of this machine. */
async function connect(port: number): Promise<BrokerSocket> {
  const { socket } = await dialBroker({
    hostname: "127.0.0.1",
    port,
    tls: undefined,
    signal: new AbortController().signal,
  });
  return socket;
}

/** Reads `count` bytes in reads of at most `size`. */
async function read(
  socket: BrokerSocket,
  count: number,
  size: number,
): Promise<Uint8Array> {
  const all = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const target = all.subarray(at, Math.min(count, at + size));
    const some = await socket.read(target);
    assert.ok(some !== null && some > 0);
    at += some;
  }
  return all;
}

Deno.test("openWebSocket() carries bytes both ways, whatever the other side makes of messages", async () => {
  const asked = Promise.withResolvers<{ host: string | null; url: URL }>();
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      asked.resolve({
        host: request.headers.get("host"),
        url: new URL(request.url),
      });
      const { response, socket } = Deno.upgradeWebSocket(request);
      socket.binaryType = "arraybuffer";
      socket.onmessage = ({ data }) => socket.send(data);
      return response;
    },
  );
  const { port } = server.addr;
  using plain = await connect(port);
  using socket = await openWebSocket(plain, {
    authority: "broker.test:80",
    path: "/nats?x=1",
  });
  const { host, url } = await asked.promise;
  assert.deepEqual(
    [host, url.pathname, url.search],
    ["broker.test:80", "/nats", "?x=1"],
  );
  const sent = crypto.getRandomValues(new Uint8Array(50_000));
  for (const size of [1, 125, 126, 127, 4096, 50_000]) {
    const part = sent.subarray(0, size);
    assert.equal(await socket.write(part), size);
    assert.deepEqual(await read(socket, size, 1000), part);
  }
  // More than one frame: the rest is written by whoever wrote the first part.
  const large = new Uint8Array(300_000).fill(7);
  assert.equal(await socket.write(large), 128 * 1024);
  assert.deepEqual(
    await read(socket, 128 * 1024, 70_000),
    large.subarray(0, 128 * 1024),
  );
});

/** A server of raw bytes: answers the first read with `answer`, then does `more`. */
function rawServer(
  answer: (request: string) => string | Promise<string>,
  more: (conn: Deno.TcpConn) => Promise<void> = () => Promise.resolve(),
): { readonly port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = (async () => {
    for await (const conn of listener) {
      using _conn = conn;
      const buffer = new Uint8Array(4096);
      const count = await conn.read(buffer) ?? 0;
      const text = new TextDecoder().decode(buffer.subarray(0, count));
      await conn.write(new TextEncoder().encode(await answer(text)));
      await more(conn);
    }
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose](): Promise<void> {
      listener.close();
      await served;
    },
  };
}

/** The answer that opens a WebSocket. */
async function rightAnswer(request: string, more = ""): Promise<string> {
  const [, key = ""] = /Sec-WebSocket-Key: (\S+)/.exec(request) ?? [];
  const hash = await crypto.subtle.digest(
    "SHA-1",
    new TextEncoder().encode(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`),
  );
  return "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n" +
    `connection: upgrade\r\n${more}sec-websocket-accept:${
      new Uint8Array(hash).toBase64()
    }\r\n\r\n`;
}

Deno.test("openWebSocket() answers pings with what they carry, and ends at a close", async () => {
  const pong = Promise.withResolvers<Uint8Array>();
  await using server = rawServer(rightAnswer, async (conn) => {
    // In one piece, behind a message that is read first.
    await conn.write(Uint8Array.of(0x82, 1, 65, 0x89, 2, 1, 2));
    const buffer = new Uint8Array(64);
    const count = await conn.read(buffer) ?? 0;
    pong.resolve(buffer.slice(0, count));
    await conn.write(Uint8Array.of(0x82, 1, 66, 0x88, 0, 0x82, 1, 67));
  });
  using socket = await openWebSocket(await connect(server.port), {
    authority: "a",
    path: "/",
  });
  const target = new Uint8Array(10);
  assert.equal(await socket.read(target), 1);
  assert.equal(target[0], 65);
  const [first, second, ...rest] = await pong.promise;
  assert.deepEqual([first, second], [0x8a, 0x82]);
  assert.deepEqual(
    rest.slice(4).map((byte, index) => byte ^ (rest[index] ?? 0)),
    [1, 2],
  );
  assert.equal(await socket.read(target), 1);
  assert.equal(target[0], 66);
  assert.equal(await socket.read(target), null);
});

Deno.test("openWebSocket() reads nothing into no room, and waits for nothing there", async () => {
  await using server = rawServer(rightAnswer);
  using plain = await connect(server.port);
  using socket = await openWebSocket({
    read: (target) => {
      // As the runtime's, but not for ever.
      assert.ok(target.length > 0, "it was read into no room");
      return plain.read(target);
    },
    write: (bytes) => plain.write(bytes),
    [Symbol.dispose]: () => plain[Symbol.dispose](),
  }, { authority: "a", path: "/" });
  assert.equal(await socket.read(new Uint8Array(0)), 0);
});

Deno.test("openWebSocket() says what is wrong with an answer that opens none", async () => {
  for (
    const [answer, problem] of [
      [
        "HTTP/1.1 404 Not Found\r\n\r\n",
        /^it opens no WebSocket: HTTP 404 Not/,
      ],
      ["HTTP/1.1 200 OK\r\n\r\n", /^it opens no WebSocket: HTTP 200 OK$/],
      ["HTTP/1.1 101 \r\n\r\n", /^it opens no WebSocket as we asked for it$/],
      [
        "HTTP/1.1 101 X\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n",
        /as we asked/,
      ],
      ['INFO {"server_id":"x"}\r\n', /perhaps with NATS: nats:\/\/ and tls/],
      ["SSH-2.0-x\r\n", /^it answers with no HTTP$/],
      ["HTTP/1.1 x\r\n\r\n", /^it answers with no HTTP$/],
      ["HTTP/1.1 101 X\r\n", /^it closed the connection instead of an answer$/],
      [`HTTP/1.1 101 ${"x".repeat(9000)}`, /^it answers with more than 8192/],
    ] as const
  ) {
    await using server = rawServer(() => answer);
    using socket = await connect(server.port);
    await assert.rejects(
      openWebSocket(socket, { authority: "a", path: "/" }),
      (error: unknown) => error instanceof Error && problem.test(error.message),
      answer.slice(0, 50),
    );
  }
  await using server = rawServer((request) =>
    rightAnswer(request, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
  );
  using socket = await connect(server.port);
  await assert.rejects(
    openWebSocket(socket, { authority: "a", path: "/" }),
    /as we asked for it/,
  );
});
