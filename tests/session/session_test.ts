/** The tunnels of two processes, on a broker in memory: bytes, ends, limits, leaks. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Socket, SocketListener } from "../../lib/net/socket.ts";
import { CODEC_NAMES } from "../../lib/wire/codec.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { Pair, serveAll } from "../support/shell_pair.ts";
import { streamPair } from "../support/stream_pair.ts";

const MIB = 1 << 20;

/** `length` bytes that look random and depend on `seed`. */
function noise(seed: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed | 1;
  for (let at = 0; at < words.length; at++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d) + at | 0;
    words[at] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Sends `bytes` in pieces of many sizes, then the end. */
function sendAll(socket: FakeSocket, bytes: Uint8Array): void {
  let at = 0;
  for (let size = 1; at < bytes.length; size = size * 7 % 100_003) {
    socket.send(bytes.subarray(at, at + size));
    at += size;
  }
  socket.end();
}

/** Checks that nothing is left of any tunnel. */
async function assertNothingLeft(pair: Pair): Promise<void> {
  await pair.wait(1_000);
  assert.deepEqual(pair.sizes, [0, 0]);
  for (const { session } of [pair.client.ingress, pair.server.egress]) {
    assert.deepEqual(session.held, { send: 0, receive: 0, unsent: 0 });
    assert.equal(session.peerCount, 0);
  }
  // The client's subscription, the server's two; a sweep each.
  assert.equal(pair.broker.subscriptions, 4);
  assert.equal(pair.clock.timers, 2);
}

for (const codec of CODEC_NAMES) {
  Deno.test(`Session carries bytes both ways with the ${codec} codec`, async () => {
    using pair = new Pair({ client: { codec } });
    const { app, target } = await pair.open();
    const [up, down] = [noise(1, 3 * MIB + 17), noise(2, 2 * MIB + 1)];
    sendAll(app, up);
    sendAll(target, down);
    for (let i = 0; i < 100 && !(app.closed && target.closed); i++) {
      await pair.wait(50);
    }
    assert.equal(hash(target.bytes), hash(up));
    assert.equal(hash(app.bytes), hash(down));
    assert.ok(app.ended && target.ended);
    const { counters } = pair.client.ingress.session;
    assert.deepEqual([...counters.closedByCode], [["ok", 1]]);
    assert.equal(counters.ended.bytesSent, up.length);
    assert.equal(counters.ended.bytesReceived, down.length);
    assert.equal(counters.malformed, 0);
    await assertNothingLeft(pair);
  });
}

const ORDERS = {
  "the application ends, and the answer follows": async (
    { app, target }: { app: FakeSocket; target: FakeSocket },
    pair: Pair,
  ) => {
    app.send("question");
    app.end();
    await pair.settle();
    assert.ok(target.ended && !app.ended && !app.closed && !target.closed);
    target.send("answer");
    target.end();
  },
  "the target ends, and the application goes on": async (
    { app, target }: { app: FakeSocket; target: FakeSocket },
    pair: Pair,
  ) => {
    target.send("answer");
    target.end();
    await pair.settle();
    assert.ok(app.ended && !target.ended && !app.closed && !target.closed);
    app.send("question");
    app.end();
  },
  "both end at once": async (
    { app, target }: { app: FakeSocket; target: FakeSocket },
  ) => {
    app.send("question");
    target.send("answer");
    app.end();
    target.end();
    await Promise.resolve();
  },
  "the application ends long before the target": async (
    { app, target }: { app: FakeSocket; target: FakeSocket },
    pair: Pair,
  ) => {
    app.send("question");
    app.end();
    await pair.wait(20 * 60_000);
    target.send("answer");
    target.end();
  },
} as const;

for (const [order, play] of Object.entries(ORDERS)) {
  Deno.test(`Session half-closes: ${order}`, async () => {
    using pair = new Pair();
    const sockets = await pair.open();
    await play(sockets, pair);
    await pair.wait(100);
    const { app, target } = sockets;
    assert.equal(target.text, "question");
    assert.equal(app.text, "answer");
    assert.ok(app.ended && target.ended && app.closed && target.closed);
    const { closedByCode } = pair.server.egress.session.counters;
    assert.deepEqual([...closedByCode], [["ok", 1]]);
    await assertNothingLeft(pair);
  });
}

Deno.test("Session delivers what came, and the end, before the open was answered", async () => {
  const dialled = Promise.withResolvers<FakeSocket>();
  using pair = new Pair({ server: { dial: () => dialled.promise } });
  const app = pair.client.listener.connect();
  app.send("early");
  app.end();
  await pair.wait(3_000);
  const target = new FakeSocket();
  dialled.resolve(target);
  await pair.settle();
  assert.equal(target.text, "early");
  assert.ok(target.ended);
  target.end();
  await pair.wait(100);
  assert.ok(app.ended);
  await assertNothingLeft(pair);
});

Deno.test("Session tells the other side that an application broke off, after its last bytes", async () => {
  using log = captureLog();
  using pair = new Pair();
  const { app, target } = await pair.open();
  app.send("last words");
  await pair.settle();
  app.reset();
  await pair.settle();
  assert.equal(target.text, "last words");
  assert.ok(target.closed && !target.ended && app.closed);
  const lines = log.records.filter(({ rawMessage }) =>
    rawMessage === "tunnel closed"
  );
  assert.deepEqual(
    lines.map(({ properties: { reason, by, sent, received } }) => ({
      reason,
      by,
      sent,
      received,
    })),
    [
      { reason: "aborted", by: "local", sent: 10, received: 0 },
      { reason: "aborted", by: "peer", sent: 0, received: 10 },
    ],
  );
  await assertNothingLeft(pair);
});

Deno.test("Session keeps a stalled tunnel from costing others anything", async () => {
  using pair = new Pair();
  const stalled = await pair.open();
  stalled.target.stall();
  stalled.app.send(noise(3, 8 * MIB));
  await pair.wait(2_000);
  const { session } = pair.client.ingress;
  assert.ok(stalled.app.unread > 6 * MIB, "it read on without credit");
  assert.ok(session.held.send <= 2 * MIB);
  const other = await pair.open();
  other.app.send("quick");
  await pair.settle();
  assert.equal(other.target.text, "quick");
  stalled.target.flow();
  for (let i = 0; i < 100 && stalled.target.received < 8 * MIB; i++) {
    await pair.wait(50);
  }
  assert.equal(hash(stalled.target.bytes), hash(noise(3, 8 * MIB)));
});

Deno.test("Session holds 500 stalled readers within the budget, and serves one more", async () => {
  const memoryBudget = 4 * MIB;
  using pair = new Pair({
    client: { memoryBudget },
    server: { memoryBudget },
  });
  const bytes = noise(4, 64 * 1024);
  const stalled: { app: FakeSocket; target: FakeSocket }[] = [];
  for (let i = 0; i < 500; i++) {
    const sockets = await pair.open();
    sockets.target.stall();
    sockets.app.send(bytes);
    stalled.push(sockets);
  }
  const most = { send: 0, receive: 0 };
  for (let i = 0; i < 40; i++) {
    await pair.wait(100);
    const { held: { receive } } = pair.server.egress.session;
    const { held: { send } } = pair.client.ingress.session;
    most.receive = Math.max(most.receive, receive);
    most.send = Math.max(most.send, send);
  }
  // A tunnel may always hold a frame, and have one read under way.
  const [frame, read] = [16 * 1024, 64 * 1024];
  assert.ok(most.receive <= memoryBudget + 500 * frame, `${most.receive} held`);
  assert.ok(most.send <= memoryBudget + 500 * read, `${most.send} held`);
  const { app, target } = await pair.open();
  app.send("quick");
  await pair.wait(1_000);
  assert.equal(target.text, "quick");
  target.send("answer");
  await pair.wait(100);
  assert.equal(app.text, "answer");

  for (const { target } of stalled) target.flow();
  const done = (): boolean =>
    stalled.every(({ target }) => target.received === bytes.length);
  for (let i = 0; i < 600 && !done(); i++) await pair.wait(100);
  for (const { app, target } of stalled) {
    assert.equal(hash(target.bytes), hash(bytes));
    app.end();
    target.end();
  }
  app.end();
  target.end();
  await pair.wait(1_000);
  await assertNothingLeft(pair);
});

Deno.test("Session sends acknowledgements while the way to NATS is full, and data after that", async () => {
  using pair = new Pair();
  const { app, target } = await pair.open();
  const types: number[] = [];
  pair.broker.filter = ({ from, data }) => {
    if (from === pair.client.bus) types.push(data[0] ?? 0);
    return true;
  };
  pair.client.bus.congested = true;
  target.send(noise(5, 3 * MIB));
  app.send("has to wait");
  for (let i = 0; i < 20; i++) await pair.wait(50);
  assert.equal(app.received, 3 * MIB);
  assert.equal(target.text, "");
  assert.ok(types.includes(2), "no ACK was sent");
  assert.ok(!types.includes(1), "DATA was sent");
  pair.client.bus.drained();
  await pair.settle();
  assert.equal(target.text, "has to wait");
});

Deno.test("Session cuts idle tunnels, and half-closed ones, when told to", async () => {
  using pair = new Pair({
    client: { idleTimeout: 60_000 },
    server: { halfCloseTimeout: 20_000 },
  });
  const idle = await pair.open();
  const busy = await pair.open();
  const half = await pair.open();
  half.app.end();
  for (let second = 0; second < 61; second++) {
    busy.app.send(".");
    await pair.wait(1_000);
  }
  assert.ok(idle.app.closed && idle.target.closed);
  assert.ok(half.app.closed && half.target.closed);
  assert.ok(!busy.app.closed && !busy.target.closed);
  const { counters } = pair.client.ingress.session;
  assert.equal(counters.closedByCode.get("idle"), 1);
  assert.equal(counters.closedByCode.get("half-closed"), 1);
});

Deno.test("Session keeps an idle tunnel for ever if nothing says otherwise", async () => {
  using pair = new Pair();
  const { app, target } = await pair.open();
  await pair.wait(60 * 60_000);
  app.send("still there?");
  await pair.settle();
  assert.equal(target.text, "still there?");
  assert.deepEqual(pair.sizes, [1, 1]);
});

Deno.test("Session.empty() resolves when the last tunnel ends", async () => {
  using pair = new Pair();
  const { session } = pair.client.ingress;
  await session.empty(AbortSignal.abort()); // there is nothing to wait for
  const { app, target } = await pair.open();
  let empty = false;
  const waiting = session.empty(new AbortController().signal).then(() => {
    empty = true;
  });
  app.end();
  await pair.settle();
  assert.equal(empty, false);
  target.end();
  await pair.wait(100);
  await waiting;
  assert.equal(empty, true);
});

Deno.test("Session.empty() rejects when its signal aborts", async () => {
  using pair = new Pair();
  await pair.open();
  const { session } = pair.client.ingress;
  const stop = new AbortController();
  const waiting = session.empty(stop.signal);
  stop.abort(new Error("out of time"));
  await assert.rejects(waiting, /out of time/);
  await assert.rejects(session.empty(stop.signal), /out of time/);
});

Deno.test("Session.shutDown() cuts every tunnel and tells the peer, once and for all of them", async () => {
  using pair = new Pair();
  const tunnels = [await pair.open(), await pair.open(), await pair.open()];
  tunnels[0]?.app.send("before");
  await pair.settle();
  pair.server.egress.session.shutDown({ code: "shutdown", text: "stopped" });
  await pair.settle();
  for (const { app, target } of tunnels) assert.ok(app.closed && target.closed);
  const { counters } = pair.client.ingress.session;
  assert.equal(
    [...counters.closedByCode.values()].reduce((sum, n) => sum + n, 0),
    3,
  );
  await assertNothingLeft(pair);
});

Deno.test("Session counts bytes of tunnels open and ended", async () => {
  using pair = new Pair();
  const one = await pair.open();
  one.app.send("12345");
  one.app.end();
  one.target.end();
  await pair.wait(100);
  const two = await pair.open();
  two.target.send("678");
  await pair.settle();
  const { session } = pair.client.ingress;
  assert.deepEqual([session.totals.bytesSent, session.totals.bytesReceived], [
    5,
    3,
  ]);
  assert.equal(session.counters.opened, 2);
});

Deno.test("Session relays plain pairs of web streams, with half-close in either order", async () => {
  for (const first of ["application", "target"] as const) {
    const [app, target] = [streamPair("app"), streamPair("target")];
    using pair = new Pair({
      server: { dial: () => Promise.resolve(target.inner) },
    });
    const serving = serveAll(once(app.inner), pair.client.ingress);
    await pair.settle();
    const bytes = { up: noise(3, 400_001), down: noise(4, 300_001) };
    const sending = {
      application: () => sendChunks(app.writable, bytes.up),
      target: () => sendChunks(target.writable, bytes.down),
    };
    const second = first === "application" ? "target" : "application";
    const got = {
      application: new Response(app.readable).bytes(),
      target: new Response(target.readable).bytes(),
    };
    await Promise.all([sending[first](), driven(pair, got[second])]);
    // One direction has ended; the other has not begun.
    assert.deepEqual(pair.sizes, [1, 1]);
    await Promise.all([sending[second](), driven(pair, got[first])]);
    assert.equal(hash(await got.target), hash(bytes.up));
    assert.equal(hash(await got.application), hash(bytes.down));
    await serving;
    await assertNothingLeft(pair);
  }
});

Deno.test("Session ends both pairs of web streams when one is broken off", async () => {
  const [app, target] = [streamPair("app"), streamPair("target")];
  using pair = new Pair({
    server: { dial: () => Promise.resolve(target.inner) },
  });
  const serving = serveAll(once(app.inner), pair.client.ingress);
  await pair.settle();
  const reading = assert.rejects(
    target.readable.getReader().read(),
    /the tunnel has ended/,
  );
  await app.writable.abort(new Error("broken off"));
  await pair.wait(100);
  await Promise.all([reading, serving]);
  const { closedByCode } = pair.server.egress.session.counters;
  assert.deepEqual([...closedByCode], [["aborted", 1]]);
  await assertNothingLeft(pair);
});

/** Sends `bytes` in chunks of many sizes, slabs and empty ones among them, then the end. */
async function sendChunks(
  writable: WritableStream<Uint8Array>,
  bytes: Uint8Array,
): Promise<void> {
  const writer = writable.getWriter();
  const sizes = [1, 1 << 16, 70_001, 0, 7_777];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    await writer.write(bytes.slice(at, at + size));
    at += size;
  }
  await writer.close();
}

/** A listener that has one connection. */
function once(socket: Socket): SocketListener {
  return {
    address: "",
    async *accept(): AsyncGenerator<Socket> {
      yield socket;
    },
    [Symbol.dispose](): void {},
  };
}

/** Lets time pass until `work` is done. */
async function driven<T>(pair: Pair, work: Promise<T>): Promise<T> {
  let done = false;
  const finished = work.finally(() => done = true);
  while (!done) await pair.wait(10);
  return await finished;
}
