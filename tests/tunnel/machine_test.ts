/**
 * The state machine by itself: acknowledgements, credit, ends, timers. Times
 * and frames are exact; `machine_table_test.ts` has every cell.
 */
import assert from "node:assert/strict";
import { ACK_DELAY_MS } from "../../lib/tunnel/delayed_ack.ts";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import { PathEstimate, REST_BYTES } from "../../lib/tunnel/rtt.ts";
import { letRest } from "../support/paths.ts";
import {
  PROBE_MAX_MS,
  PROBE_MIN_MS,
  REST_PROBE_MS,
} from "../../lib/tunnel/probe_timer.ts";
import { LINGER_MS } from "../../lib/tunnel/machine.ts";
import {
  ack,
  askedBy,
  data,
  drain,
  fin,
  FRAME,
  open,
  ping,
  pong,
  REASON,
  RESET,
  types,
  wake,
  WINDOW,
  writeAll,
} from "../support/tunnel_fixture.ts";

// Acknowledgements

Deno.test("pollFrame() acknowledges 25 ms after data came, in one ACK", () => {
  const state = open();
  state.receive(data(0, 10), 100);
  state.receive(data(10, 10), 110);
  assert.deepEqual(drain(state, 110), []);
  assert.equal(state.nextTimeout, 100 + ACK_DELAY_MS);
  assert.deepEqual(drain(state, 124), []);
  assert.deepEqual(drain(state, 125), [ack(20)]);
  writeAll(state, 125);
  assert.equal(state.nextTimeout, REST_PROBE_MS);
});

Deno.test("pollFrame() lets an acknowledgement ride on data", () => {
  const state = open();
  state.receive(data(0, 10), 0);
  state.read(new Uint8Array(5), 10);
  const frames = drain(state, 10);
  assert.equal(types(frames), "data");
  assert.ok(frames[0]?.type === "data" && frames[0].ack === 10);
  assert.deepEqual(drain(state, ACK_DELAY_MS), []);
});

Deno.test("pollFrame() does not take data sent again for an acknowledgement", () => {
  const state = open();
  state.read(new Uint8Array(5), 0);
  drain(state, 0);
  state.receive(data(0, 10), 0);
  state.receive(ack(0, { gap: true }), 0);
  assert.equal(types(drain(state, 0)), "data");
  assert.deepEqual(drain(state, ACK_DELAY_MS), [ack(10)]);
});

Deno.test("pollFrame() acknowledges half of the window at once", () => {
  const state = open();
  state.receive(data(0, WINDOW / 2 - 1), 0);
  assert.deepEqual(drain(state, 0), []);
  state.receive(data(WINDOW / 2 - 1, 1), 0);
  assert.deepEqual(drain(state, 0), [ack(WINDOW / 2)]);
});

Deno.test("pollFrame() lets the acknowledgement of a FIN ride on our own FIN", () => {
  const state = open();
  state.receive(data(0, 10), 0);
  state.receive(fin(10), 0);
  assert.deepEqual(drain(state, 0), []);
  state.readEnd(1);
  assert.deepEqual(drain(state, 1), [{ ...fin(0), ack: 11 }]);
});

Deno.test("pollFrame() acknowledges a FIN in time though nothing follows it", () => {
  const state = open();
  state.receive(fin(0), 0);
  assert.equal(state.nextTimeout, ACK_DELAY_MS);
  assert.deepEqual(drain(state, ACK_DELAY_MS), [ack(1)]);
});

Deno.test("pollFrame() acknowledges a FIN at once when ours is under way", () => {
  const state = open();
  state.readEnd(0);
  drain(state, 0);
  state.receive(fin(0), 0);
  assert.deepEqual(drain(state, 0), [ack(1)]);
});

Deno.test("pollFrame() gives answers alone while the way is congested", () => {
  const state = open();
  state.read(new Uint8Array(5), 0);
  state.receive(ping(3), 0);
  state.receive(data(0, WINDOW / 2), 0);
  assert.equal(types(drain(state, 0, true)), "pong");
  state.receive(data(WINDOW / 2, WINDOW / 2), 0);
  assert.equal(types(drain(state, 0, true)), "ack");
  state.tick(PROBE_MIN_MS);
  assert.equal(types(drain(state, PROBE_MIN_MS, true)), "");
  assert.equal(types(drain(state, PROBE_MIN_MS)), "ping data");
});

// Credit

Deno.test("wrote() gives credit for what was written, at half of the window", () => {
  const state = open();
  state.receive(data(0, WINDOW), 0);
  assert.deepEqual(drain(state, 0), [ack(WINDOW)], "arrived, not written");
  const first = state.takeWritable();
  assert.ok(first);
  assert.equal(first.length, WINDOW);
  state.wrote(first, 1);
  assert.deepEqual(drain(state, 1), [ack(WINDOW, { limit: 2 * WINDOW })]);
});

Deno.test("wrote() doubles a window that is used up within two round trips", () => {
  const limits = (rtt: number | undefined): number[] => {
    const path = new PathEstimate();
    if (rtt !== undefined) path.sample(rtt, 0);
    const state = open({ path, maxWindow: 4 * WINDOW });
    const found: number[] = [];
    let sent = 0;
    let limit = WINDOW;
    for (let now = 60; found.length < 3; now += 60) {
      state.receive(data(sent, WINDOW / 2), now);
      sent += WINDOW / 2;
      writeAll(state, now);
      for (const frame of drain(state, now)) {
        if (frame.type !== "ack" || frame.limit === limit) continue;
        limit = frame.limit;
        found.push((limit - sent) / WINDOW);
      }
    }
    return found;
  };
  assert.deepEqual(limits(100), [2, 4, 4]);
  assert.deepEqual(limits(20), [1, 1, 1]);
  assert.deepEqual(limits(undefined), [1, 1, 1]);
});

Deno.test("pollFrame() sends a frame at a time while bulk rests, as each is acknowledged", () => {
  const path = new PathEstimate();
  const state = open({ path, peerWindow: 8 * REST_BYTES });
  state.read(new Uint8Array(8 * REST_BYTES), 0);
  letRest(path);
  const sent = (now: number): number =>
    drain(state, now).reduce(
      (sum, frame) => sum + (frame.type === "data" ? frame.payload.length : 0),
      0,
    );
  const limit = 8 * REST_BYTES;
  const first = sent(0);
  assert.ok(first >= REST_BYTES && first < 2 * REST_BYTES, `${first} bytes`);
  assert.equal(sent(1), 0);
  state.receive(ack(first, { limit }), 2);
  assert.equal(sent(2), first);
  path.sample(20, 3); // it was our own queue
  state.receive(ack(2 * first, { limit }), 4);
  assert.equal(sent(4), limit - 2 * first);
});

Deno.test("readAllowance stops at the peer's credit, and a probe finds credit that was lost", () => {
  const state = open({ maxWindow: 4 * WINDOW });
  assert.equal(state.readAllowance, WINDOW);
  state.read(new Uint8Array(WINDOW), 0);
  assert.equal(state.readAllowance, 0);
  drain(state, 0);
  state.receive(ack(WINDOW), 10);
  assert.equal(state.readAllowance, 0);
  const asked: number[] = [];
  let last = 0;
  for (let time = 0; time < 8; time++) {
    const { at, frames } = wake(state);
    asked.push(at - last);
    last = at;
    const id = askedBy(frames);
    if (time < 7) continue;
    state.receive(pong(id, { ack: WINDOW, limit: 2 * WINDOW }), at);
  }
  assert.deepEqual(asked, [260, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
  assert.equal(PROBE_MAX_MS, 5_000);
  assert.equal(state.readAllowance, WINDOW);
  assert.equal(state.nextTimeout, last + REST_PROBE_MS, "nothing is awaited");
});

Deno.test("readAllowance counts what a piece costs beside its bytes", () => {
  const budget = new MemoryBudget(1 << 26);
  const state = open({ sendBudget: budget });
  let pieces = 0;
  while (state.readAllowance > 0) {
    assert.ok(++pieces < 1_000, "as if a piece of a byte cost only a byte");
    state.read(new Uint8Array(1), 0);
    drain(state, 0);
  }
  assert.ok(budget.used <= WINDOW);
  state.receive(ack(pieces), 0);
  assert.equal(budget.used, 0);
});

Deno.test("readAllowance leaves a frame to each tunnel when the budget is used up", () => {
  const sendBudget = new MemoryBudget(100);
  sendBudget.reserve(100);
  const state = open({ sendBudget });
  assert.equal(state.readAllowance, FRAME);
  state.read(new Uint8Array(1), 0);
  assert.ok(state.readAllowance < FRAME);
  state.read(new Uint8Array(state.readAllowance), 0);
  assert.equal(state.readAllowance, 0);
});

Deno.test("pause says what keeps the application from being read", () => {
  const credit = open({ maxWindow: 4 * WINDOW });
  assert.equal(credit.pause, undefined);
  credit.read(new Uint8Array(WINDOW), 0);
  assert.equal(credit.pause, "credit");
  credit.readEnd(0);
  assert.equal(credit.pause, undefined, "it has nothing more to say");
  const window = open({ peerWindow: 4 * WINDOW });
  window.read(new Uint8Array(window.readAllowance), 0);
  assert.equal(window.pause, "window");
  window.abort(REASON);
  assert.equal(window.pause, undefined);
  assert.equal(open({ window: 12_345 }).window, 12_345);
});

// Ends

Deno.test("receive() lets a RESET wait for bytes that are still written", () => {
  const sendBudget = new MemoryBudget(1 << 20);
  const state = open({ sendBudget });
  state.read(new Uint8Array(10), 0);
  drain(state, 0);
  state.receive(data(0, 10), 0);
  state.receive(RESET, 1);
  assert.equal(sendBudget.used, 0, "nobody wants what we kept");
  assert.deepEqual(drain(state, 1), [], "the peer listens no more");
  assert.equal(state.nextTimeout, 1 + LINGER_MS);
  assert.equal(state.endDue, false);
  assert.equal(writeAll(state, 2), 10);
  assert.deepEqual(state.outcome, { clean: false, by: "peer", reason: REASON });
});

Deno.test("tick() cuts a reader that does not take what came before a RESET", () => {
  const state = open();
  state.receive(data(0, 10), 0);
  state.receive(fin(10), 0);
  state.receive(RESET, 1);
  assert.equal(wake(state).at, 1 + LINGER_MS);
  assert.deepEqual(state.outcome, { clean: false, by: "peer", reason: REASON });
  assert.equal(state.takeWritable(), undefined);
});

Deno.test("fail() sends what was read before, then RESET", () => {
  const state = open();
  state.linkDown();
  state.read(new Uint8Array(10), 0);
  state.linkUp(0);
  const id = askedBy(drain(state, 0));
  state.fail(REASON, 1);
  assert.equal(state.outcome, undefined);
  state.receive(pong(id), 2);
  assert.equal(types(drain(state, 2)), "data reset");
  assert.deepEqual(state.outcome, {
    clean: false,
    by: "local",
    reason: REASON,
  });
});

Deno.test("fail() gives up after the linger time", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  state.linkDown();
  state.fail(REASON, 1);
  drain(state, 1);
  // Nothing was unsent, but while the link is down RESET cannot go either.
  assert.equal(wake(state).at, 1 + LINGER_MS);
  assert.ok(state.outcome);
  state.linkUp(9_000);
  assert.deepEqual(drain(state, 9_000), [RESET]);
});

Deno.test("abort() tells the peer, once", () => {
  const state = open();
  state.abort(REASON);
  state.abort({ code: "idle", text: "too late" });
  assert.deepEqual(drain(state, 0), [RESET]);
  assert.equal(state.nextTimeout, Infinity);
});

Deno.test("wrote() and read() after the end give their memory back", () => {
  const pool = new BufferPool();
  const receiveBudget = new MemoryBudget(1 << 20);
  const sendBudget = new MemoryBudget(1 << 20);
  const state = open({ pool, receiveBudget, sendBudget });
  state.receive(data(0, 40_000), 0);
  const chunk = state.takeWritable();
  assert.ok(chunk);
  state.abort(REASON);
  const slab = pool.acquire();
  state.read(slab.subarray(0, 5), 1);
  state.wrote(chunk, 1);
  assert.equal(receiveBudget.used, 0);
  assert.equal(sendBudget.used, 0);
  const back = new Set([pool.acquire().buffer, pool.acquire().buffer]);
  assert.deepEqual(back, new Set([chunk.buffer, slab.buffer]));
});

// Quiet tunnels

Deno.test("tick() cuts an idle tunnel, and neither pings nor acks count", () => {
  const state = open({ idleTimeout: 1_000 });
  state.receive(data(0, 1), 100);
  assert.equal(writeAll(state, 300), 1);
  state.receive(ping(1), 900);
  state.receive(ack(0, { limit: 2 * WINDOW }), 950);
  state.receive(pong(1), 950);
  state.peerResumed(960);
  drain(state, 960);
  state.tick(1_299);
  assert.equal(state.outcome, undefined);
  assert.equal(wake(state).at, 1_300);
  assert.deepEqual(state.outcome, {
    clean: false,
    by: "local",
    reason: {
      code: "idle",
      text: "no byte moved for 1000 ms (--idle-timeout)",
    },
  });
});

Deno.test("tick() lets the shorter of both timeouts count once half-closed", () => {
  for (
    const [idleTimeout, halfCloseTimeout, code] of [
      [1_000, 2_000, "idle"],
      [2_000, 1_000, "half-closed"],
    ] as const
  ) {
    const state = open({ idleTimeout, halfCloseTimeout });
    state.readEnd(0);
    state.receive(ack(0), 0);
    state.tick(1_000);
    assert.ok(state.outcome?.clean === false);
    assert.equal(state.outcome.reason.code, code);
  }
});

Deno.test("tick() reaps a half-closed tunnel, and every byte puts that off", () => {
  const state = open({ halfCloseTimeout: 1_000 });
  drain(state, 0);
  state.tick(50_000);
  assert.equal(state.outcome, undefined, "open both ways, it lives for ever");
  state.readEnd(50_000);
  drain(state, 50_000);
  state.receive(ack(1), 50_001);
  state.receive(data(0, 1, 1), 50_900);
  state.tick(51_800);
  assert.equal(state.outcome, undefined);
  assert.equal(writeAll(state, 51_800), 1);
  state.tick(52_799);
  assert.equal(state.outcome, undefined);
  state.tick(52_800);
  const text =
    "one direction has ended and no byte moved for 1000 ms (--half-close-timeout)";
  const reason = { code: "half-closed", text };
  assert.deepEqual(state.outcome, { clean: false, by: "local", reason });
});
