/** When a tunnel counts as stalled, at which side, and when nobody can know. */
import assert from "node:assert/strict";
import { LINGER_MS, type TunnelState } from "../../lib/tunnel/machine.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import { STALL_MS } from "../../lib/tunnel/stall.ts";
import {
  ack,
  askedBy,
  data,
  drain,
  open,
  ping,
  pong,
  REASON,
  WINDOW,
  writeAll,
} from "../support/tunnel_fixture.ts";
import { listening } from "./v1_bench.ts";

/** The side that is stalled, and how many bytes wait. */
function stalled({ stall }: TunnelState): string {
  if (stall === undefined) return "-";
  const { side, since, waiting, certain } = stall;
  return `${side} since ${since}, ${waiting} wait${certain ? "" : ", perhaps"}`;
}

/** Lets time pass; the peer answers each question with what `answer` says, or not at all. */
function pass(
  state: TunnelState,
  from: number,
  to: number,
  answer?: Parameters<typeof pong>[1],
): void {
  let now = from;
  for (;;) {
    for (const frame of drain(state, now)) {
      if (frame.type !== "ping" || answer === undefined) continue;
      const { sent } = frame;
      state.receive(pong(frame.id, { sent: 0, ack: sent, ...answer }), now);
    }
    const { nextTimeout } = state;
    if (nextTimeout > to) break;
    assert.ok(nextTimeout > now, `the timer spins at ${now}`);
    now = nextTimeout;
    state.tick(now);
  }
}

/** A tunnel whose peer has every byte that its credit allows, at `now`. */
function full(now: number): TunnelState {
  const state = open();
  state.read(new Uint8Array(WINDOW), now);
  drain(state, now);
  state.receive(ack(WINDOW), now);
  return state;
}

Deno.test("a socket that takes nothing for 10 s is a stall here, until it takes something", () => {
  const state = open();
  state.receive(data(0, 10), 1_000);
  state.receive(data(10, 10), 9_000);
  pass(state, 9_000, 10_999);
  assert.equal(stalled(state), "-");
  pass(state, 10_999, 11_000);
  assert.equal(stalled(state), "here since 1000, 20 wait");
  const chunk = state.takeWritable();
  assert.ok(chunk);
  assert.equal(stalled(state), "here since 1000, 20 wait", "it is not written");
  state.wrote(chunk, 60_000);
  assert.equal(stalled(state), "-");
  writeAll(state, 61_000);
  pass(state, 61_000, 100_000);
  assert.equal(stalled(state), "-", "nothing waits");
});

Deno.test("a socket that takes a little now and then is no stall", () => {
  const state = open();
  for (let now = 0; now < 100_000; now += 9_000) {
    state.receive(data(now / 9, 1_000), now);
    pass(state, now, now + 9_000);
    assert.equal(stalled(state), "-");
    const chunk = state.takeWritable();
    assert.ok(chunk);
    state.wrote(chunk, now + 9_000);
  }
});

Deno.test("a process that stood still does not hold that against its socket", () => {
  const state = open();
  state.receive(data(0, 10), 0);
  state.tick(15_000);
  assert.equal(stalled(state), "-");
  pass(state, 15_000, 24_999);
  assert.equal(stalled(state), "-");
  pass(state, 24_999, 25_000);
  assert.equal(stalled(state), "here since 15000, 10 wait");
  state.tick(60_000);
  assert.equal(stalled(state), "here since 15000, 10 wait");
});

Deno.test("what waits here does so whether NATS is there or not", () => {
  const state = open();
  state.receive(data(0, 10), 0);
  state.linkDown();
  pass(state, 0, STALL_MS);
  assert.equal(stalled(state), "here since 0, 10 wait");
});

Deno.test("a peer that gives no credit for 10 s is a stall there, until it does", () => {
  const state = full(1_000);
  pass(state, 1_000, 10_999, {});
  assert.equal(stalled(state), "-");
  pass(state, 10_999, 11_000, {});
  assert.equal(stalled(state), "there since 1000, 0 wait");
  pass(state, 11_000, 60_000, {});
  assert.equal(stalled(state), "there since 1000, 0 wait");
  state.receive(ack(WINDOW, { limit: WINDOW + 1 }), 60_000);
  assert.equal(stalled(state), "-");
});

Deno.test("a peer that takes a little now and then is no stall", () => {
  const state = full(0);
  for (let now = 0, limit = WINDOW; now < 100_000; now += 9_000) {
    pass(state, now, now + 9_000, { limit });
    assert.equal(stalled(state), "-");
    limit += 1;
    state.receive(ack(limit - 1, { limit }), now + 9_000);
    state.read(new Uint8Array(1), now + 9_000);
  }
});

Deno.test("a peer that is silent is no stall, before and after it stalled", () => {
  const silent = full(0);
  pass(silent, 0, 60_000);
  assert.equal(stalled(silent), "-");
  pass(silent, 60_000, 66_000, {}); // it stood still, and reads on
  assert.equal(stalled(silent), "-");
  const state = full(0);
  pass(state, 0, 20_000, {});
  assert.equal(stalled(state), "there since 0, 0 wait");
  pass(state, 20_000, 60_000);
  assert.equal(stalled(state), "there since 0, 0 wait, perhaps");
  pass(state, 60_000, 70_000, {});
  assert.equal(stalled(state), "there since 0, 0 wait");
});

Deno.test("a peer that has not acknowledged is no stall: bytes may be lost", () => {
  const state = open();
  state.read(new Uint8Array(WINDOW), 0);
  pass(state, 0, 60_000);
  assert.equal(stalled(state), "-");
});

Deno.test("a link that is down is no stall, nor is the time until the peer has answered", () => {
  const state = full(0);
  pass(state, 0, 9_000, {});
  state.linkDown();
  pass(state, 9_000, 20_000);
  assert.equal(stalled(state), "-");
  state.linkUp(20_000);
  const id = askedBy(drain(state, 20_000));
  assert.equal(stalled(state), "-");
  state.receive(pong(id, { ack: WINDOW }), 20_001);
  assert.equal(stalled(state), "-", "what was taken meanwhile is not known");
  pass(state, 20_001, 30_000, {});
  assert.equal(stalled(state), "-");
  pass(state, 30_000, 30_001, {});
  assert.equal(stalled(state), "there since 20001, 0 wait");
  state.linkDown();
  assert.equal(stalled(state), "there since 20001, 0 wait, perhaps");
});

Deno.test("a peer that drops what it has no memory for is a stall there, since it first said so", () => {
  const state = open();
  pass(state, 0, 60_000, {}); // a long rest is not held against it
  state.read(new Uint8Array(1_000), 60_000);
  drain(state, 60_000);
  const none = { ack: 0, hold: true };
  pass(state, 60_000, 69_000, none);
  assert.equal(stalled(state), "-");
  pass(state, 69_000, 80_000, none);
  assert.match(stalled(state), /^there since 60250, 1000 wait$/);
  state.receive(ack(1_000), 80_000);
  assert.equal(stalled(state), "-");
});

Deno.test("a peer with credit left is no stall, nor one to which nothing more is sent", () => {
  const rest = open();
  rest.read(new Uint8Array(WINDOW - 1), 0);
  drain(rest, 0);
  rest.receive(ack(WINDOW - 1), 0);
  pass(rest, 0, 60_000, {});
  assert.equal(stalled(rest), "-");
  const ended = open();
  ended.read(new Uint8Array(WINDOW), 0);
  ended.readEnd(0);
  drain(ended, 0);
  ended.receive(ack(WINDOW + 1), 0);
  pass(ended, 0, 60_000, {});
  assert.equal(stalled(ended), "-");
});

Deno.test("of two sides that stall the one is told that began", () => {
  const state = full(5_000);
  pass(state, 5_000, 7_000, {});
  state.receive(data(0, 10, WINDOW), 7_000);
  pass(state, 7_000, 30_000, {});
  assert.equal(stalled(state), "there since 5000, 0 wait");
  state.receive(ack(WINDOW, { limit: WINDOW + 1 }), 30_000);
  assert.equal(stalled(state), "here since 7000, 10 wait");
  assert.equal(writeAll(state, 31_000), 10);
  assert.equal(stalled(state), "-");
});

Deno.test("a socket that is not read, since nothing is heard of the peer, is no stall", () => {
  const silence = open();
  silence.read(new Uint8Array(WINDOW), 0);
  silence.receive(data(0, 10), 0);
  pass(silence, 0, 60_000);
  assert.equal(stalled(silence), "-");
  pass(silence, 60_000, 80_000, { limit: 2 * WINDOW });
  const { stall } = silence;
  assert.equal(stall?.side, "here", "it is read, and takes nothing still");
  assert.ok(stall.since > 55_000, `since ${stall.since}`);

  const away = full(0);
  away.receive(data(0, 10, WINDOW), 0);
  away.linkDown();
  pass(away, 0, 60_000);
  assert.equal(stalled(away), "-");
});

Deno.test("a socket that breaks has not taken what waits for it", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  state.receive(data(0, 10), 0);
  const chunk = state.takeWritable();
  assert.ok(chunk);
  pass(state, 0, 15_000, {});
  state.fail(REASON, 15_000);
  state.wrote(chunk, 15_000);
  assert.match(stalled(state), /^here/);
  assert.ok(STALL_MS > LINGER_MS, "one that is cut ends before it stalls");
});

Deno.test("receive() gives a peer without credit that asks what there is, however little", () => {
  const receiveBudget = new MemoryBudget(1 << 26);
  const state = open({ receiveBudget });
  for (let at = 0; at < WINDOW; at += 1_024) {
    state.receive(data(at, 1_024), 0);
  }
  drain(state, 0);
  const answer = (id: number): number | undefined => {
    state.receive(ping(id), 1_000);
    const [frame] = drain(state, 1_000);
    return frame?.type === "pong" ? frame.limit : undefined;
  };
  assert.equal(answer(1), WINDOW, "nothing was written");
  const chunk = state.takeWritable();
  assert.ok(chunk && chunk.length < WINDOW / 2, `${chunk?.length}`);
  state.wrote(chunk, 1_000);
  assert.equal(answer(2), WINDOW + chunk.length);
  state.wrote(state.takeWritable() ?? chunk, 1_000);
  assert.equal(answer(3), WINDOW + chunk.length, "it has credit");
});

Deno.test("V1State tells that the socket here takes nothing, and knows nothing of the peer's", () => {
  for (const role of ["client", "server"] as const) {
    const bench = listening(role);
    bench.broker = "passed";
    bench.data("12345");
    bench.wait(9_999);
    assert.equal(bench.state.stall, undefined);
    bench.wait(1);
    const since = bench.now - STALL_MS;
    const side = "here";
    const expected = { side, since, waiting: 5, certain: true };
    assert.deepEqual(bench.state.stall, expected);
    bench.write();
    assert.equal(bench.state.stall, undefined);
    bench.read("x".repeat(1_000));
    bench.wait(30_000);
    assert.equal(bench.state.stall, undefined);
  }
});
