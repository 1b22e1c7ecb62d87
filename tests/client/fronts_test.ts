/** Front-ends beside strangers: those that ask, those that never do, and those that ask for something else. */
import assert from "node:assert/strict";
import { Secret } from "../../lib/base/credentials.ts";
import {
  type FrontRules,
  Fronts,
  type FrontsOptions,
} from "../../lib/client/fronts.ts";
import type { Caller } from "../../lib/client/caller.ts";
import { FrontLogin } from "../../lib/front/login.ts";
import type { FrontKind } from "../../lib/front/parser.ts";
import { directOf } from "../../lib/net/socket.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { turn } from "../support/memory_bus.ts";
import { StrangersBench } from "./strangers_bench.ts";

const GREETING = Uint8Array.of(5, 1, 0);
const REQUEST = Uint8Array.of(5, 1, 0, 3, 1, 97, 0, 80);
const CHOSEN = [5, 0];
const OK = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/** Front-ends with applications, where a tunnel is whatever the test makes of it. */
class Bench extends StrangersBench {
  readonly callers: Caller[] = [];
  readonly fronts: Fronts;
  readonly served: Promise<void>;

  constructor(
    kind: FrontKind = "socks",
    { maxStrangers, ...options }: Partial<FrontsOptions & FrontRules> & {
      readonly maxStrangers?: number;
    } = {},
  ) {
    super(maxStrangers);
    const fronts = this.fronts = new Fronts({
      ingress: { open: (caller) => void this.callers.push(caller) },
      clock: this.clock,
      strangers: this.strangers,
      ...options,
    });
    this.served = this.serve((socket) => {
      fronts.take(socket, { front: kind });
      return undefined;
    });
  }
}

Deno.test("Fronts: a request opens a tunnel, and what was said early is the first that it reads", async () => {
  using bench = new Bench();
  const early = Uint8Array.of(1, 2, 3);
  const socket = await bench.connect(GREETING, REQUEST, early);
  const [caller] = bench.callers;
  assert.ok(caller?.accept);
  assert.deepEqual(caller.target, { host: "a", port: 80 });
  assert.equal(caller.forward, "socks");
  assert.deepEqual([...socket.bytes], CHOSEN);
  // However long that takes, and whatever becomes of the front-ends.
  await bench.pass(60_000);
  bench.strangers[Symbol.dispose]();
  assert.equal(socket.closed, false);
  const connection = directOf(caller.accept());
  const { value } = await connection.reader.read();
  assert.deepEqual([...value ?? []], [...early]);
  await connection.writer.write(Uint8Array.of(9));
  assert.deepEqual([...socket.bytes], [...CHOSEN, ...OK, 9]);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("Fronts: whoever gets no tunnel is told why, and closed when it has seen that, or after a while", async () => {
  for (const leaves of [true, false]) {
    using bench = new Bench();
    const socket = await bench.connect(GREETING, REQUEST);
    bench.callers[0]?.reject?.({ code: "refused", text: "" }, "peer");
    await turn();
    assert.deepEqual([...socket.bytes].slice(2, 4), [5, 5]);
    assert.deepEqual([socket.ended, socket.closed], [true, false]);
    if (leaves) socket.end();
    else {
      socket.send(Uint8Array.of(1));
      await bench.pass(499);
      assert.equal(socket.closed, false);
    }
    await bench.pass(1);
    assert.equal(socket.closed, true);
    assert.equal(bench.clock.timers, 0);
    assert.deepEqual(bench.lines, []);
  }
});

Deno.test("Fronts: who has begun has 10 s for the rest, and who says nothing is let go without a word", async () => {
  using bench = new Bench();
  const silent = await bench.connect();
  const slow = await bench.connect(GREETING);
  for (let second = 1; second < 10; second++) {
    await bench.pass(1_000);
    slow.send(
      REQUEST.subarray(second - 1, second).slice(0, second < 7 ? 1 : 0),
    );
    await turn();
  }
  assert.deepEqual([silent.closed, slow.closed], [false, false]);
  await bench.pass(1_000);
  assert.deepEqual([silent.closed, slow.closed], [true, true]);
  assert.deepEqual(bench.lines.map(({ why }) => why), [
    "no whole request within 10000 ms",
  ]);
  assert.deepEqual([...silent.bytes, ...slow.bytes], CHOSEN);
  assert.deepEqual(bench.callers, []);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("Fronts: of too many strangers the oldest goes, and those that have asked do not", async () => {
  using bench = new Bench("socks", { maxStrangers: 2 });
  const asked = await bench.connect(GREETING, REQUEST);
  const first = await bench.connect(GREETING);
  const second = await bench.connect();
  const third = await bench.connect();
  assert.deepEqual(
    [asked, first, second, third].map(({ closed }) => closed),
    [false, true, false, false],
  );
  assert.match(String(bench.lines[0]?.why), /^2 connections wait/);
  // One that is told no goes at once where there is no room to wait for it.
  bench.callers[0]?.reject?.({ code: "denied", text: "" }, "peer");
  await turn();
  assert.deepEqual([...asked.bytes].slice(2, 4), [5, 2]);
  assert.equal(asked.closed, true);
  assert.deepEqual([second.closed, third.closed], [false, false]);
});

Deno.test("Fronts: garbage is told once in ten seconds, with the count, and closed", async () => {
  using bench = new Bench("http-proxy");
  const sockets = [
    await bench.connect(GREETING),
    await bench.connect(Uint8Array.of(0)),
    await bench.connect(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")),
  ];
  assert.match(sockets[2]?.text ?? "", /^HTTP\/1.1 400 /);
  for (const socket of sockets) socket.end();
  await bench.pass(10_000);
  assert.ok(sockets.every(({ closed }) => closed));
  await bench.connect(Uint8Array.of(0)).then((socket) => socket.end());
  await turn();
  assert.deepEqual(
    bench.lines.map((
      { why, count, peer, forward },
    ) => [why, count, peer, forward]),
    [
      [
        "it speaks SOCKS, which has a port of its own (--socks)",
        ...[1, "application:1", "http-proxy"],
      ],
      ["it does not speak HTTP", 3, "application:1", "http-proxy"],
    ],
  );
});

Deno.test("Fronts: with a login only that one opens a tunnel, and its password is in no line", async () => {
  const login = new FrontLogin("ann", new Secret("hunter2"));
  using bench = new Bench("socks", { login });
  const right = await bench.connect(
    Uint8Array.of(5, 1, 2),
    new TextEncoder().encode("\x01\x03ann\x07hunter2"),
    REQUEST,
  );
  const wrong = await bench.connect(
    Uint8Array.of(5, 1, 2),
    new TextEncoder().encode("\x01\x03ann\x07hunter3"),
  );
  assert.deepEqual([...right.bytes], [5, 2, 1, 0]);
  assert.deepEqual([...wrong.bytes], [5, 2, 1, 1]);
  assert.equal(bench.callers.length, 1);
  assert.doesNotMatch(JSON.stringify(bench.lines), /hunter/);
});

Deno.test("Fronts: at the end those are closed that have not asked, also when they reset or stall", async () => {
  const bench = new Bench();
  const waiting = await bench.connect(GREETING);
  const reset = await bench.connect(GREETING);
  reset.reset();
  await turn();
  assert.equal(reset.closed, true);
  const stalled = new FakeSocket();
  stalled.stall();
  bench.listener.offer(stalled);
  await turn();
  stalled.send(GREETING);
  await turn();
  bench[Symbol.dispose]();
  await bench.served;
  await turn();
  assert.deepEqual([waiting.closed, stalled.closed], [true, true]);
  assert.equal(bench.clock.timers, 0);
});
