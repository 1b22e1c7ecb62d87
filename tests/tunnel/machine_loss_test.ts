/** What is lost is sent again, once; after a cut both ends ask before they go on. */
import assert from "node:assert/strict";
import type { TunnelState } from "../../lib/tunnel/machine.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import {
  PROBE_MAX_MS,
  PROBE_MIN_MS,
  REST_PROBE_MS,
} from "../../lib/tunnel/probe_timer.ts";
import { PathEstimate } from "../../lib/tunnel/rtt.ts";
import {
  ack,
  askedBy,
  data,
  drain,
  open,
  ping,
  pong,
  RESET,
  types,
  wake,
  WINDOW,
  writeAll,
} from "../support/tunnel_fixture.ts";

// Loss

Deno.test("read() does not put off the probe for bytes sent before", () => {
  const state = open();
  for (let now = 0; now < 2_000; now += 100) {
    if (state.nextTimeout <= now) {
      state.tick(now);
      assert.equal(now, 300);
      assert.match(types(drain(state, now)), /ping/);
      return;
    }
    state.read(new Uint8Array(1), now);
    drain(state, now);
  }
  assert.fail("an application that goes on sending silenced the probe");
});

Deno.test("receive() shortens the wait for the next probe when there is progress", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  state.read(new Uint8Array(10), 0);
  drain(state, 0);
  let at = 0;
  for (let time = 0; time < 4; time++) at = wake(state).at;
  assert.equal(state.nextTimeout - at, 4_000);
  state.receive(ack(10), at);
  assert.equal(state.nextTimeout - at, PROBE_MIN_MS);
});

Deno.test("pollFrame() sends the identical frame again", () => {
  const state = open();
  state.read(new Uint8Array([1, 2, 3]), 0);
  state.read(new Uint8Array([4, 5]), 0);
  const first = drain(state, 0);
  state.receive(data(0, 100), 1);
  state.receive(ack(0, { gap: true, limit: 2 * WINDOW }), 2);
  const again = drain(state, 2).filter(({ type }) => type === "data");
  assert.deepEqual(again, first);
});

Deno.test("pollFrame() sends again gently, and FIN only after the last byte", () => {
  const state = open();
  state.read(new Uint8Array(10 * 100), 0);
  state.setFrameBytes(100);
  state.readEnd(0);
  assert.equal(types(drain(state, 0)), `${"data ".repeat(10)}fin`);
  state.receive(ack(0, { gap: true }), 1);
  assert.equal(types(drain(state, 1)), "data data data data");
  state.receive(ack(200), 2);
  assert.equal(types(drain(state, 2)), `${"data ".repeat(6)}fin`);
});

Deno.test("receive() asks for a gap once for each offset", () => {
  const state = open();
  state.receive(data(0, 10), 0);
  for (const offset of [20, 30, 40]) state.receive(data(offset, 10), 1);
  assert.deepEqual(drain(state, 1), [ack(10, { gap: true })]);
  state.receive(data(50, 10), 2);
  assert.deepEqual(drain(state, 2), []);
  state.receive(data(10, 10), 3);
  state.receive(data(30, 10), 3);
  assert.deepEqual(drain(state, 3), [ack(20, { gap: true })]);
});

Deno.test("receive() asks for a gap though it answers a PING first", () => {
  const state = open();
  state.receive(data(10, 10), 0);
  state.receive(ping(1), 0);
  assert.deepEqual(drain(state, 0), [pong(1), ack(0, { gap: true })]);
});

Deno.test("receive() drops data for want of memory, and asks when there is room", () => {
  const receiveBudget = new MemoryBudget(100);
  receiveBudget.reserve(95);
  const state = open({ receiveBudget });
  state.receive(data(0, 50), 0); // one frame always fits
  state.receive(data(50, 50), 0);
  state.receive(data(100, 50), 0);
  state.receive(ping(1), 0);
  assert.deepEqual(drain(state, 0), [pong(1, { ack: 50, hold: true })]);
  assert.equal(writeAll(state, 5), 50);
  assert.deepEqual(drain(state, 5), [ack(50, { gap: true })]);
  state.receive(ping(2), 6);
  assert.deepEqual(drain(state, 6), [pong(2, { ack: 50 })]);
});

Deno.test("receive() sends nothing again while the peer holds", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  drain(state, 0);
  const { at, frames } = wake(state);
  state.receive(pong(askedBy(frames), { hold: true }), at);
  assert.deepEqual(drain(state, at), []);
  state.receive(ack(0, { gap: true }), at + 1);
  assert.equal(types(drain(state, at + 1)), "data");
});

/** A sender of four frames 200 ms from its peer, who has asked for the first at time 0. */
function resending(): TunnelState {
  const path = new PathEstimate();
  path.sample(200, 0);
  const state = open({ path, frameBytes: 10 });
  state.read(new Uint8Array(40), -300);
  drain(state, -300);
  state.receive(ack(0, { gap: true }), 0);
  assert.equal(types(drain(state, 0)), "data data data data");
  return state;
}

Deno.test("receive() sends once more only what was asked for after it was sent again", () => {
  const state = resending();
  state.receive(ack(10, { gap: true }), 199); // crossed
  const id = askedBy(drain(state, 199));
  assert.equal(state.stats.replays, 1);
  state.receive(ack(20, { gap: true }), 200);
  assert.equal(types(drain(state, 200)), "data data");
  state.receive(pong(id, { ack: 20 }), 399);
  assert.deepEqual(drain(state, 399), [], "known, and on its way");
});

Deno.test("receive() asks after what it does not send once more: the peer asks once", () => {
  const state = resending();
  state.receive(ack(10, { gap: true }), 50);
  const frames = drain(state, 50);
  assert.equal(types(frames), "ping");
  state.receive(pong(askedBy(frames), { ack: 10 }), 250); // lost again
  assert.equal(types(drain(state, 250)), "data data data");
});

Deno.test("receive() asks nothing after what has arrived since", () => {
  const state = resending();
  state.receive(ack(40), 150);
  state.receive(ack(10, { gap: true }), 160);
  assert.deepEqual(drain(state, 160), []);
});

Deno.test("receive() sends at once what it is asked for while no round trip is known", () => {
  const state = open({ frameBytes: 10 });
  state.read(new Uint8Array(40), 0);
  drain(state, 0);
  for (const offset of [0, 10]) {
    state.receive(ack(offset, { gap: true }), 1);
    assert.match(types(drain(state, 1)), /^data( data)+$/);
  }
});

// Resuming

Deno.test("linkUp() asks first, and sends nothing new before the answer", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  drain(state, 0);
  state.linkDown();
  state.read(new Uint8Array(20), 5);
  assert.deepEqual(drain(state, 5), []);
  state.linkUp(1_000);
  const frames = drain(state, 1_000);
  const id = askedBy(frames);
  assert.deepEqual(frames, [{ ...ping(id, { resumed: true }), sent: 10 }]);
  const again = wake(state);
  assert.equal(again.at, 1_250);
  assert.equal(types(again.frames), "ping");
  state.receive(pong(askedBy(again.frames)), 1_300);
  assert.equal(types(drain(state, 1_300)), "data data");
});

Deno.test("linkUp() asks again though nothing is left to be acknowledged", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  drain(state, 0);
  state.linkDown();
  state.linkUp(1_000);
  drain(state, 1_000); // lost
  state.receive(ack(10), 1_001);
  state.read(new Uint8Array(5), 1_002);
  assert.deepEqual(drain(state, 1_002), [], "not before the peer has answered");
  const { at, frames } = wake(state);
  assert.equal(at, 1_251);
  state.receive(pong(askedBy(frames), { ack: 10 }), 1_252);
  assert.equal(types(drain(state, 1_252)), "data");
});

Deno.test("linkUp() does not let an answer from before end the wait", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  drain(state, 0);
  const old = askedBy(wake(state).frames);
  state.linkDown();
  state.linkUp(1_000);
  state.receive(pong(old), 1_000);
  const [first] = drain(state, 1_000);
  assert.ok(first?.type === "ping" && first.resumed);
});

Deno.test("receive() sends everything again once when both links were cut", () => {
  const state = open();
  state.read(new Uint8Array(10), 0);
  drain(state, 0);
  state.linkDown();
  state.linkUp(100);
  const id = askedBy(drain(state, 100));
  state.receive(ping(5, { resumed: true }), 101);
  assert.equal(types(drain(state, 101)), "pong data");
  // The answer to our own question crossed the bytes sent again.
  state.receive(pong(id), 102);
  assert.deepEqual(drain(state, 102), []);
  assert.equal(state.stats.replays, 1);
});

Deno.test("peerResumed() asks whether the tunnel is still known", () => {
  const state = open();
  state.peerResumed(50);
  assert.equal(types(drain(state, 50)), "ping");
  state.receive({ ...RESET, code: "unknown-tunnel" }, 60);
  assert.ok(state.outcome?.clean === false);
  assert.equal(state.outcome.reason.code, "unknown-tunnel");
});

Deno.test("nextTimeout lets a tunnel at rest ask every five minutes", () => {
  const state = open();
  for (const at of [REST_PROBE_MS, 2 * REST_PROBE_MS]) {
    const woken = wake(state);
    assert.equal(woken.at, at);
    const id = askedBy(woken.frames);
    state.receive(pong(id), at);
    assert.deepEqual(drain(state, at), []);
  }
});

Deno.test("nextTimeout asks no more for credit once all is sent", () => {
  const state = open();
  state.read(new Uint8Array(WINDOW), 0);
  state.readEnd(0);
  drain(state, 0);
  state.receive(ack(WINDOW + 1), 10);
  assert.equal(state.sendHalf, "done");
  state.peerResumed(20);
  state.receive(pong(askedBy(drain(state, 20)), { ack: WINDOW + 1 }), 30);
  assert.equal(state.nextTimeout, 30 + REST_PROBE_MS);
});

Deno.test("nextTimeout has the end that answered an open ask after five seconds", () => {
  const state = open({ awaitPeer: true });
  assert.equal(state.nextTimeout, PROBE_MAX_MS);
  state.receive(ack(0), 100);
  assert.equal(state.nextTimeout, 100 + REST_PROBE_MS);
});

Deno.test("receive() halves frames once the same bytes were lost again and again", () => {
  const sizes: number[] = [];
  const state = open({ frameBytes: 8_000 });
  state.read(new Uint8Array(8_000), 0);
  drain(state, 0);
  const lose = (): number[] => {
    const { at, frames } = wake(state);
    const sent = state.stats.replays;
    const asked = frames.findLast(({ type }) => type === "ping");
    assert.ok(asked?.type === "ping");
    state.receive(pong(asked.id), at);
    assert.equal(state.stats.replays, sent + 1);
    sizes.push(state.frameBytes);
    return drain(state, at).flatMap((frame) =>
      frame.type === "data" ? [frame.payload.length] : []
    );
  };
  assert.deepEqual(lose(), [8_000]);
  assert.deepEqual(lose(), [8_000]);
  assert.deepEqual(lose(), [4_000, 4_000]);
  assert.deepEqual(lose(), [2_000, 2_000, 2_000, 2_000]);
  lose();
  lose();
  assert.deepEqual(
    sizes,
    [8_000, 8_000, 4_000, 2_000, 1024, 1024],
    "and no smaller",
  );
});

Deno.test("receive() ends a tunnel whose least frames are lost for too long, and not by chance", () => {
  const state = open({ frameBytes: 500, lossTimeout: 30_000 });
  state.read(new Uint8Array(1), 0);
  drain(state, 0);
  let lost = 0;
  let since = Infinity;
  while (state.outcome === undefined) {
    const { at, frames } = wake(state);
    // Others of the questions are lost, too, so that time passes.
    if (lost < 5 && at < 40_000 * lost) continue;
    const asked = frames.findLast(({ type }) => type === "ping");
    assert.ok(asked?.type === "ping");
    state.receive(pong(asked.id), at);
    lost++;
    since = Math.min(since, at);
    drain(state, at);
    assert.ok(lost < 50, "it goes on for ever");
    if (state.outcome !== undefined) assert.ok(at - since >= 30_000);
  }
  // Two before frames could become smaller.
  assert.equal(lost, 2 + 10);
  assert.equal(state.outcome.clean, false);
});
