/** Connections that begin with a PROXY protocol header, and those that do not. */
import assert from "node:assert/strict";
import { ProxyHeaders } from "../../lib/client/proxied.ts";
import { directOf, type Socket } from "../../lib/net/socket.ts";
import { proxyHeader } from "../../lib/wire/proxy_header.ts";
import { turn } from "../support/memory_bus.ts";
import { StrangersBench } from "./strangers_bench.ts";

const SOURCE = { host: "192.0.2.7", port: 7 };
const DESTINATION = { host: "192.0.2.1", port: 80 };
const V1 = proxyHeader("v1", { source: SOURCE, destination: DESTINATION });
const V2 = proxyHeader("v2", { source: SOURCE, destination: DESTINATION });

/** A listener whose connections begin with headers. */
class Bench extends StrangersBench {
  /** Connections that came through. */
  readonly taken: Socket[] = [];
  readonly served: Promise<void>;

  constructor(maxStrangers?: number) {
    super(maxStrangers);
    const headers = new ProxyHeaders({
      clock: this.clock,
      strangers: this.strangers,
    });
    const to = {
      forward: "web",
      way: this,
      take: (socket: Socket) => void this.taken.push(socket),
    };
    this.served = this.serve((socket) => headers.receive(socket, to));
  }
}

/** What is read, to the end. */
async function readAll(socket: Socket): Promise<number[]> {
  const connection = directOf(socket);
  const all: number[] = [];
  for (;;) {
    const { done, value } = await connection.reader.read();
    if (done) return all;
    all.push(...value);
  }
}

Deno.test("ProxyHeaders: a connection is its source's, and begins after the header", async () => {
  for (const header of [V1, V2]) {
    for (const slow of [false, true]) {
      using bench = new Bench();
      const early = Uint8Array.of(1, 2, 3);
      const socket = await bench.connect(
        ...slow
          ? Array.from(header, (byte) => Uint8Array.of(byte))
          : [Uint8Array.of(...header, ...early)],
      );
      if (slow) socket.send(early);
      // Half-closed: what is behind the header is read to its end.
      socket.end();
      await turn();
      const [taken] = bench.taken;
      assert.ok(taken);
      assert.equal(taken.remote, "192.0.2.7:7");
      assert.deepEqual(taken.endpoints, {
        source: SOURCE,
        destination: DESTINATION,
      });
      assert.deepEqual(await readAll(taken), [...early]);
      await directOf(taken).writer.write(Uint8Array.of(9));
      assert.deepEqual([...socket.bytes], [9]);
      // However long it goes on.
      await bench.pass(60_000);
      assert.equal(socket.closed, false);
      assert.deepEqual([bench.lines, bench.clock.timers], [[], 0]);
    }
  }
});

Deno.test("ProxyHeaders: of a connection of the proxy's own the real addresses count", async () => {
  using bench = new Bench();
  for (const version of ["v1", "v2"] as const) {
    await bench.connect(proxyHeader(version, {}));
  }
  assert.deepEqual(
    bench.taken.map(({ remote, endpoints }) => [remote, endpoints]),
    [["application:1", undefined], ["application:1", undefined]],
  );
});

Deno.test("ProxyHeaders: what has no header is closed, and told once in ten seconds with the count", async () => {
  using bench = new Bench();
  const half = await bench.connect(V1.subarray(0, 20));
  half.end();
  const sockets = [
    half,
    await bench.connect(Uint8Array.of(0x16, 3, 1)),
    await bench.connect(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")),
  ];
  await turn();
  await bench.pass(10_000);
  sockets.push(await bench.connect(Uint8Array.of(0)));
  assert.ok(sockets.every(({ closed }) => closed));
  // Not a byte is said to them.
  assert.ok(sockets.every(({ received }) => received === 0));
  assert.deepEqual(
    bench.lines.map(({ forward, peer, why, count }) => [
      forward,
      peer,
      why,
      count,
    ]),
    [
      [
        "web",
        "application:1",
        "it ends within its header",
        1,
      ],
      [
        "web",
        "application:1",
        "it does not begin with a header of the PROXY protocol",
        3,
      ],
    ],
  );
  assert.deepEqual([bench.taken, bench.clock.timers], [[], 0]);
});

Deno.test("ProxyHeaders: a header has 10 s, and who only looks whether somebody listens is no warning", async () => {
  using bench = new Bench();
  const looks = await bench.connect();
  looks.end();
  const resets = await bench.connect();
  resets.reset();
  await turn();
  assert.deepEqual([looks.closed, resets.closed], [true, true]);
  assert.deepEqual(bench.lines, []);
  // An application that waits for the target's greeting.
  const silent = await bench.connect();
  const slow = await bench.connect(V2.subarray(0, 1));
  for (let second = 1; second < 10; second++) {
    await bench.pass(1_000);
    slow.send(V2.slice(second, second + 1));
    await turn();
  }
  assert.deepEqual([silent.closed, slow.closed], [false, false]);
  await bench.pass(1_000);
  assert.deepEqual([silent.closed, slow.closed], [true, true]);
  assert.deepEqual(bench.lines.map(({ why }) => why), [
    "no whole header within 10000 ms",
  ]);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("ProxyHeaders: of too many whose header is not whole the oldest goes, and the others do not", async () => {
  using bench = new Bench(2);
  const whole = await bench.connect(V1);
  const first = await bench.connect(V1.subarray(0, 5));
  await bench.pass(100);
  const second = await bench.connect();
  const third = await bench.connect();
  const all = [whole, first, second, third];
  // Who has just come keeps the place for a moment.
  await bench.pass(899);
  assert.deepEqual(all.map(({ closed }) => closed), [
    ...[false, false, false, false],
  ]);
  await bench.pass(1);
  assert.deepEqual(all.map(({ closed }) => closed), [
    ...[false, true, false, false],
  ]);
  assert.match(
    String(bench.lines[0]?.why),
    /^2 connections wait whose request or header is not whole/,
  );
  assert.equal(bench.taken.length, 1);
});

Deno.test("ProxyHeaders: of many at once those that are not read yet cost nobody the place", async () => {
  using bench = new Bench(2);
  const sockets = Array.from({ length: 50 }, () => bench.listener.connect());
  await turn();
  for (const socket of sockets.toReversed()) socket.send(V2);
  for (let at = 0; at < 2 * sockets.length; at++) await turn();
  assert.equal(bench.taken.length, 50);
  assert.deepEqual(bench.lines, []);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("ProxyHeaders: at the end also those are closed that wait for a place", async () => {
  const bench = new Bench(1);
  const first = await bench.connect();
  const second = await bench.connect();
  bench[Symbol.dispose]();
  await bench.served;
  await turn();
  assert.deepEqual([first.closed, second.closed], [true, true]);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("ProxyHeaders: at the end those are closed whose header is not whole", async () => {
  const bench = new Bench();
  const whole = await bench.connect(V1);
  const half = await bench.connect(V1.subarray(0, 5));
  bench[Symbol.dispose]();
  await bench.served;
  await turn();
  assert.deepEqual([whole.closed, half.closed], [false, true]);
  assert.deepEqual(bench.clock.timers, 0);
});
