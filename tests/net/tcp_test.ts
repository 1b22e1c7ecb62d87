/** Real sockets on the loopback interface: dialling, listening, half-close, limits. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { RunError, TunnelError } from "../../lib/base/errors.ts";
import { closeSocket, type SocketListener } from "../../lib/net/socket.ts";
import { dial, lookUp, lookupProblem } from "../../lib/net/dial.ts";
import { Reserve } from "../../lib/net/descriptors.ts";
import { listen, occupy } from "../../lib/net/listen.ts";
import { SystemSocket } from "../../lib/net/system_socket.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FewDescriptors } from "../support/few_descriptors.ts";
import { turn } from "../support/memory_bus.ts";

const pool = new BufferPool();

/** A listener of ours on a port that the system chooses. */
function listenAny(
  options: Partial<Parameters<typeof listen>[1]> = {},
): SocketListener & { readonly port: number } {
  const listener = listen({ host: "127.0.0.1", port: 0 }, {
    pool,
    clock: new FakeClock(),
    onAcceptError: (message) => {
      throw new Error(message);
    },
    ...options,
  });
  return Object.assign(listener, {
    port: Number(listener.address.split(":").at(-1)),
  });
}

/** A connected pair: our socket and the application's plain connection. */
async function connected(): Promise<
  { ours: SystemSocket; theirs: Deno.TcpConn }
> {
  using listener = listenAny();
  const accepting = listener.accept()[Symbol.asyncIterator]();
  const [theirs, { value }] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.port }),
    accepting.next(),
  ]);
  assert.ok(value instanceof SystemSocket);
  return { ours: value, theirs };
}

async function readAll(conn: Deno.Conn): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    chunks.push(buffer.slice(0, count));
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

Deno.test("a connection knows both of its ends", async () => {
  const { ours, theirs } = await connected();
  const { localAddr, remoteAddr } = theirs;
  assert.deepEqual(ours.endpoints, {
    source: { host: "127.0.0.1", port: localAddr.port },
    destination: { host: "127.0.0.1", port: remoteAddr.port },
  });
  ours.close();
  theirs.close();
});

Deno.test("listen() yields connections, with the address of the other end", async () => {
  const { ours, theirs } = await connected();
  const { port } = theirs.localAddr;
  assert.equal(ours.remote, `127.0.0.1:${port}`);
  ours.close();
  assert.equal(await theirs.read(new Uint8Array(1)), null);
  theirs.close();
});

Deno.test("listen() closes what may not come in, and goes on", async () => {
  const asked: string[] = [];
  const refused: string[] = [];
  using listener = listenAny({
    admits: (host) => asked.push(host) > 1,
    onRefused: (remote) => void refused.push(remote),
  });
  const accepted = listener.accept()[Symbol.asyncIterator]().next();
  const { port } = listener;
  using first = await Deno.connect({ hostname: "127.0.0.1", port });
  assert.equal(await first.read(new Uint8Array(1)), null);
  using second = await Deno.connect({ hostname: "127.0.0.1", port });
  const { value } = await accepted;
  assert.equal(value?.remote, `127.0.0.1:${second.localAddr.port}`);
  value?.close();
  assert.deepEqual(asked, ["127.0.0.1", "127.0.0.1"]);
  assert.deepEqual(refused, [`127.0.0.1:${first.localAddr.port}`]);
});

Deno.test("listen() ends its iteration when it is disposed, also while it waits", async () => {
  const listener = listenAny();
  const waiting = listener.accept()[Symbol.asyncIterator]().next();
  listener[Symbol.dispose]();
  listener[Symbol.dispose]();
  assert.deepEqual(await waiting, { done: true, value: undefined });
});

Deno.test("listen() says in one line that a port is in use", () => {
  using listener = listenAny();
  assert.throws(
    () =>
      listen({ host: "127.0.0.1", port: listener.port }, {
        pool,
        clock: new FakeClock(),
        onAcceptError: () => {},
      }),
    (error) => {
      assert.ok(error instanceof RunError);
      assert.match(error.message, new RegExp(`127.0.0.1:${listener.port}`));
      assert.match(error.message, /in use/);
      return true;
    },
  );
});

Deno.test("listen() says in one line that an address is not ours", () => {
  assert.throws(
    () =>
      listen({ host: "192.0.2.1", port: 0 }, {
        pool,
        clock: new FakeClock(),
        onAcceptError: () => {},
      }),
    (error) =>
      error instanceof RunError &&
      error.message ===
        "Cannot listen on 192.0.2.1:0: this machine has no such address",
  );
});

Deno.test("listen() pauses longer and longer while descriptors are short", async () => {
  const clock = new FakeClock();
  const start = clock.now();
  const errors: [string, number][] = [];
  using _faulty = failingAccepts(
    [1, 2, 3, 4].map(() =>
      Object.assign(new Error("Too many open files"), { code: "EMFILE" })
    ),
  );
  using listener = listenAny({
    clock,
    onAcceptError: (message) =>
      void errors.push([message, clock.now() - start]),
  });
  const accepted = listener.accept()[Symbol.asyncIterator]().next();
  using theirs = await Deno.connect({
    hostname: "127.0.0.1",
    port: listener.port,
  });
  for (let ms = 0; ms < 150; ms++) await clock.advance(1, turn);
  const { value } = await accepted;
  assert.equal(value?.remote, `127.0.0.1:${theirs.localAddr.port}`);
  value?.close();
  assert.deepEqual(
    errors,
    [0, 10, 30, 70].map((at) => ["Too many open files", at]),
  );
});

Deno.test("listen() accepts none while the last descriptors are lent, and then goes on", async () => {
  const clock = new FakeClock();
  const errors: string[] = [];
  const source = new FewDescriptors(4);
  using reserve = new Reserve(4, source);
  const loan = reserve.lend();
  using listener = listenAny({
    clock,
    reserve,
    onAcceptError: (message) => void errors.push(message),
  });
  const accepted = listener.accept()[Symbol.asyncIterator]().next();
  using theirs = await Deno.connect({
    hostname: "127.0.0.1",
    port: listener.port,
  });
  await clock.advance(100, turn);
  assert.ok(errors.length > 2);
  assert.match(errors[0] ?? "", /^Too many open files: .* kept for NATS$/);
  loan[Symbol.dispose]();
  await clock.advance(1_000, turn);
  const { value } = await accepted;
  assert.equal(value?.remote, `127.0.0.1:${theirs.localAddr.port}`);
  value?.close();
});

Deno.test("dial() and lookUp() say what there is too little of, not that there is no such host", async () => {
  const source = new FewDescriptors(8);
  using reserve = new Reserve(4, source);
  source.exhaust();
  const { signal } = new AbortController();
  const host = "no-such-host.invalid";
  const limit = { code: "limit", message: /too many open files/ };
  await assert.rejects(lookUp(host, reserve), limit);
  using _loan = reserve.lend();
  await assert.rejects(
    dial({ host: "127.0.0.1", port: 1 }, { pool, signal, reserve }),
    limit,
  );
});

Deno.test("listen() takes the next connection at once after many that were reset before it came to them", async () => {
  let errors = 0;
  using listener = listenAny({ onAcceptError: () => void errors++ });
  const { port } = listener;
  const resets = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const socket = connectTcp({ host: "127.0.0.1", port });
      await once(socket, "connect");
      return socket;
    }),
  );
  await Promise.all(resets.map((socket) => {
    socket.resetAndDestroy();
    return once(socket, "close");
  }));
  using theirs = await Deno.connect({ hostname: "127.0.0.1", port });
  // The clock stands still: a pause would never end.
  for await (const socket of listener.accept()) {
    assert.equal(socket.remote, `127.0.0.1:${theirs.localAddr.port}`);
    closeSocket(socket);
    break;
  }
  assert.equal(errors, 40);
});

Deno.test("listen() at localhost is there on both address families, on one port", async () => {
  const clock = new FakeClock();
  const { onAcceptError } = { onAcceptError: assert.fail };
  const options = { pool, clock, onAcceptError };
  using listener = listen({ host: "localhost", port: 0 }, options);
  const [, text = ""] = /^localhost:(\d+)$/.exec(listener.address) ?? [];
  const port = Number(text);
  assert.throws(
    () => listen({ host: "localhost", port }, options),
    (error: unknown) =>
      error instanceof RunError &&
      /^Cannot listen on localhost:\d+: the port is in use/.test(error.message),
  );
  const accepting = listener.accept()[Symbol.asyncIterator]();
  for (const hostname of ["127.0.0.1", "::1"]) {
    using _theirs = await Deno.connect({ hostname, port });
    const { value } = await accepting.next();
    assert.match(value?.remote ?? "", /^(127\.0\.0\.1|\[::1\]):\d+$/);
    if (value !== undefined) closeSocket(value);
  }
  listener[Symbol.dispose]();
  assert.equal((await accepting.next()).done, true);
});

/** Makes accepts of listeners made from now on fail, as when descriptors run out. */
function failingAccepts(failures: Error[]): Disposable {
  const { listen } = Deno;
  const faulty = (options: Deno.TcpListenOptions): Deno.TcpListener => {
    const listener = listen({ ...options, transport: "tcp" });
    const accept = listener.accept.bind(listener);
    listener.accept = () => {
      const failure = failures.shift();
      return failure === undefined ? accept() : Promise.reject(failure);
    };
    return listener;
  };
  Object.assign(Deno, { listen: faulty });
  return { [Symbol.dispose]: () => void Object.assign(Deno, { listen }) };
}

Deno.test("a socket carries each end of stream by itself", async () => {
  const { ours, theirs } = await connected();
  const reader = ours.reader;
  const writer = ours.writer;
  await theirs.write(new TextEncoder().encode("question"));
  await theirs.closeWrite();
  assert.equal(
    new TextDecoder().decode((await reader.read()).value),
    "question",
  );
  assert.equal((await reader.read()).done, true);
  await writer.write(new TextEncoder().encode("answer"));
  await writer.close();
  assert.equal(new TextDecoder().decode(await readAll(theirs)), "answer");
  ours.close();
  theirs.close();
});

Deno.test("a socket that has sent its end of stream still reads", async () => {
  const { ours, theirs } = await connected();
  const reader = ours.reader;
  await ours.writer.close();
  assert.equal(await theirs.read(new Uint8Array(1)), null);
  await theirs.write(new Uint8Array([1, 2, 3]));
  assert.deepEqual((await reader.read()).value, new Uint8Array([1, 2, 3]));
  ours.close();
  theirs.close();
});

Deno.test("a socket reads no more at once than it may, small or in bulk", async () => {
  const { ours, theirs } = await connected();
  const reader = ours.reader;
  const bytes = new Uint8Array(500_000).map((_, at) => at * 7);
  const writing = (async () => {
    for (let at = 0; at < bytes.length;) {
      at += await theirs.write(bytes.subarray(at));
    }
  })();
  const limits = [1, 100, 5_000, 2_048, 2_048, 30_000, 65_536, 10, 65_536];
  const got: number[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const limit = limits[i % limits.length] ?? 1;
    ours.readLimit = limit;
    const { value } = await reader.read();
    assert.ok(value && value.length > 0 && value.length <= limit);
    assert.deepEqual(value, bytes.subarray(at, at + value.length));
    at += value.length;
    got.push(value.length);
  }
  await writing;
  assert.ok(got.some((size) => size > 2_048), "it never read in bulk");
  ours.close();
  theirs.close();
});

Deno.test("a socket's chunks stay as they are when it reads on", async () => {
  const { ours, theirs } = await connected();
  const reader = ours.reader;
  const chunks: Uint8Array[] = [];
  const bytes = new Uint8Array(2_000_000).map((_, at) => at * 13 + (at >> 8));
  const writing = (async () => {
    for (let at = 0; at < bytes.length;) {
      at += await theirs.write(bytes.subarray(at));
    }
    await theirs.closeWrite();
  })();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
  }
  await writing;
  let at = 0;
  for (const chunk of chunks) {
    assert.deepEqual(chunk, bytes.subarray(at, at + chunk.length));
    at += chunk.length;
  }
  assert.equal(at, bytes.length);
  ours.close();
  theirs.close();
});

Deno.test("a socket writes all of a chunk before it says so", async () => {
  const { ours, theirs } = await connected();
  const writer = ours.writer;
  const bytes = new Uint8Array(8_000_000).map((_, at) => at * 3 + (at >> 9));
  const reading = readAll(theirs);
  await writer.write(bytes);
  await writer.close();
  assert.deepEqual(await reading, bytes);
  ours.close();
  theirs.close();
});

Deno.test("a socket fails where the system takes no byte of a write", async () => {
  const { connect } = Deno;
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const stuck = async (options: Deno.ConnectOptions): Promise<Deno.Conn> =>
    Object.assign(await connect(options), { write: () => Promise.resolve(0) });
  Object.assign(Deno, { connect: stuck });
  try {
    const { port } = listener.addr;
    const { signal } = new AbortController();
    const socket = await dial({ host: "127.0.0.1", port }, { pool, signal });
    await assert.rejects(
      socket.writer.write(new Uint8Array(5)),
      /took none of 5 bytes/,
    );
    socket.close();
    (await listener.accept()).close();
  } finally {
    Object.assign(Deno, { connect });
  }
});

Deno.test("Socket.close() ends a read and a write under way, and can be repeated", async () => {
  const { ours, theirs } = await connected();
  const reader = ours.reader;
  const writer = ours.writer;
  const read = reader.read();
  // Nobody reads it: after some writes there is one that waits.
  let write = Promise.resolve();
  let waits = false;
  while (!waits) {
    waits = true;
    write = writer.write(new Uint8Array(4_000_000))
      .then(() => void (waits = false));
    for (let at = 0; at < 50 && waits; at++) await turn();
  }
  ours.close();
  ours.close();
  await assert.rejects(read);
  await assert.rejects(write);
  theirs.close();
});

/** Never given up. */
const { signal } = new AbortController();

/** What dialling came to: the code of the refusal. */
async function codeOf(dialling: Promise<SystemSocket>): Promise<string> {
  try {
    (await dialling).close();
    return "connected";
  } catch (error) {
    assert.ok(error instanceof TunnelError, String(error));
    assert.match(error.message, /^Dial \S+: /);
    return error.code;
  }
}

Deno.test("dial() connects over IPv4 and IPv6", async () => {
  for (const host of ["127.0.0.1", "::1"]) {
    using listener = Deno.listen({ hostname: host, port: 0 });
    const { port } = listener.addr;
    const [socket, conn] = await Promise.all([
      dial({ host, port }, { pool, signal }),
      listener.accept(),
    ]);
    assert.match(socket.remote, new RegExp(`:${port}$`));
    socket.close();
    conn.close();
  }
});

Deno.test("dial() takes no name, however it is written: it would be looked up again", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  for (const host of ["localhost", "127.1", "2130706433", "0x7f.1", ""]) {
    const dialling = dial({ host, port }, { pool, signal });
    assert.equal(await codeOf(dialling), "internal", host);
  }
});

Deno.test("dial() says what went wrong", async () => {
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = closed.addr;
  closed.close();
  assert.equal(
    await codeOf(dial({ host: "127.0.0.1", port }, { pool, signal })),
    "refused",
  );
});

Deno.test("dial() is given up with its signal, whose reason it throws", async () => {
  // A full backlog: the system answers nobody until someone is accepted.
  using listener = Deno.listen({
    hostname: "127.0.0.1",
    port: 0,
    tcpBacklog: 1,
  });
  const { port } = listener.addr;
  const address = { host: "127.0.0.1", port };
  const waiting: SystemSocket[] = [];
  const reason = new TunnelError("timeout", "too late");
  let error: unknown;
  while (waiting.length < 10 && error === undefined) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(reason), 300);
    try {
      waiting.push(await dial(address, { pool, signal: stop.signal }));
    } catch (thrown) {
      error = thrown;
    } finally {
      clearTimeout(timer);
    }
  }
  assert.equal(error, reason);
  const { signal } = stopped(reason);
  await assert.rejects(dial(address, { pool, signal }), reason);
  for (const socket of waiting) socket.close();
});

/** What is given up already. */
function stopped(reason: Error): AbortController {
  const stop = new AbortController();
  stop.abort(reason);
  return stop;
}

Deno.test("lookUp() gives the addresses of a name, or says that there is none", async () => {
  const addresses = await lookUp("localhost");
  assert.ok(addresses.some((ip) => ip === "127.0.0.1" || ip === "::1"));
  await assert.rejects(
    lookUp("no-such-host.invalid"),
    (error) => error instanceof TunnelError && error.code === "no-such-host",
  );
});

Deno.test("lookupProblem() tells a wrong name from name servers that are gone", () => {
  const failed = (code: string): Error =>
    Object.assign(new Error(`getaddrinfo ${code} db`), { code });
  assert.equal(
    lookupProblem(failed("ENOTFOUND")),
    "the name is not known (ENOTFOUND)",
  );
  assert.equal(
    lookupProblem(failed("EAI_AGAIN")),
    "no name server answers (EAI_AGAIN)",
  );
  assert.equal(lookupProblem(failed("EAI_FAIL")), "getaddrinfo EAI_FAIL db");
});

Deno.test({
  name: "lookUp() says what it is not permitted to do",
  permissions: { net: ["127.0.0.1"] },
  async fn(): Promise<void> {
    await assert.rejects(lookUp("localhost"), {
      code: "denied",
      message:
        "Resolve localhost: not permitted (Deno gives it with --allow-net=localhost)",
    });
  },
});

Deno.test("occupy() holds a port until disposed, and not one that is taken", () => {
  const owner = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = owner.addr;
  assert.equal(occupy({ host: "127.0.0.1", port }), undefined);
  owner.close();
  const bind = (): void => Deno.listen({ hostname: "127.0.0.1", port }).close();
  {
    using hold = occupy({ host: "127.0.0.1", port });
    assert.ok(hold);
    assert.throws(bind, Deno.errors.AddrInUse);
  }
  bind();
});

Deno.test({
  name: "occupy() asks for no permission",
  permissions: { net: false },
  fn(): void {
    assert.equal(occupy({ host: "127.0.0.1", port: 9229 }), undefined);
  },
});

Deno.test("SystemSocket has web streams, whose ends are each an end of stream", async () => {
  const { ours, theirs } = await connected();
  const bytes = new Uint8Array(300_000).map((_, at) => at % 251);
  const sent = ours.writable.getWriter();
  const [received] = await Promise.all([
    readAll(theirs),
    sent.write(bytes).then(() => sent.close()),
  ]);
  assert.deepEqual(received, bytes);
  // Half-closed: the other direction still carries bytes.
  const reading = new Response(ours.readable).bytes();
  await theirs.write(new TextEncoder().encode("still here"));
  await theirs.closeWrite();
  assert.equal(new TextDecoder().decode(await reading), "still here");
  theirs.close();
});

Deno.test("SystemSocket ends with its readable's cancel and its writable's abort", async () => {
  for (const end of ["cancel", "abort"] as const) {
    const { ours, theirs } = await connected();
    if (end === "cancel") await ours.readable.cancel();
    else await ours.writable.abort();
    assert.equal(await theirs.read(new Uint8Array(1)), null, end);
    theirs.close();
  }
});
