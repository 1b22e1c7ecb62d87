/** A peer that lies ends at most its own tunnel, with a RESET that says why. */
import assert from "node:assert/strict";
import { type Frame, MAX_OFFSET } from "../../lib/wire/frame.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import type { TunnelState } from "../../lib/tunnel/machine.ts";
import {
  ack,
  askedBy,
  data,
  drain,
  fin,
  open,
  ping,
  pong,
  types,
  wake,
  WINDOW,
  writeAll,
} from "../support/tunnel_fixture.ts";

const LIES: readonly {
  readonly name: string;
  readonly before?: (state: TunnelState) => void;
  readonly frame: Frame;
  readonly says: RegExp;
}[] = [
  {
    name: "data beyond its credit",
    frame: data(WINDOW - 4, 5),
    says: /up to offset 65537, its credit ends at 65536/,
  },
  {
    name: "a FIN beyond its credit",
    frame: fin(WINDOW + 1),
    says: /FIN at 65537, its credit ends at 65536/,
  },
  {
    name: "an ack of bytes never sent",
    frame: ack(11),
    says: /acknowledged 11 bytes, but only 10 were sent/,
  },
  {
    name: "an ack of bytes taken in and not yet sent",
    before: (state) => {
      state.linkDown();
      state.read(new Uint8Array(10), 0);
    },
    frame: ack(15),
    says: /acknowledged 15 bytes, but only 10 were sent/,
  },
  {
    name: "an ack of a FIN that was not sent",
    before: (state) => {
      state.linkDown();
      state.readEnd(0);
    },
    frame: ack(11),
    says: /acknowledged 11 bytes, but only 10 were sent/,
  },
  {
    name: "the largest ack there is",
    frame: ack(MAX_OFFSET, { limit: MAX_OFFSET }),
    says: /acknowledged 9007199254740991 bytes/,
  },
  {
    name: "a FIN below what was received",
    before: (state) => state.receive(data(0, 20), 0),
    frame: fin(19),
    says: /FIN at 19, below the 20 bytes received/,
  },
  {
    name: "a second FIN that differs",
    before: (state) => state.receive(fin(30), 0),
    frame: fin(31),
    says: /FIN at 31 after one at 30/,
  },
  {
    name: "data beyond its FIN",
    before: (state) => state.receive(fin(30), 0),
    frame: data(25, 6),
    says: /up to offset 31, beyond its FIN at 30/,
  },
];

for (const { name, before, frame, says } of LIES) {
  Deno.test(`receive() ends the tunnel, and no other, for ${name}`, () => {
    const shared = {
      sendBudget: new MemoryBudget(1 << 20),
      receiveBudget: new MemoryBudget(1 << 20),
    };
    const neighbour = open(shared);
    neighbour.receive(data(0, 7), 0);
    const state = open(shared);
    state.read(new Uint8Array(10), 0);
    drain(state, 0);
    before?.(state);
    state.receive(frame, 0);
    const { outcome } = state;
    assert.ok(outcome?.clean === false);
    assert.equal(outcome.by, "local");
    assert.equal(outcome.reason.code, "protocol");
    assert.match(outcome.reason.text, says);
    state.linkUp(0);
    const frames = drain(state, 0);
    assert.equal(types(frames), "reset");
    assert.ok(frames[0]?.type === "reset" && frames[0].code === "protocol");
    assert.equal(neighbour.outcome, undefined);
    assert.equal(writeAll(neighbour, 0), 7);
    assert.equal(shared.receiveBudget.used, 0);
    assert.equal(shared.sendBudget.used, 0);
  });
}

Deno.test("receive() ignores a limit that moves backwards", () => {
  const state = open();
  state.receive(ack(0, { limit: 2 * WINDOW }), 0);
  state.read(new Uint8Array(WINDOW / 2), 0);
  state.receive(ack(0, { limit: 10 }), 0);
  state.receive(ack(0, { limit: WINDOW }), 0);
  state.receive(ack(0, { limit: 0 }), 0);
  drain(state, 0);
  state.receive(ack(WINDOW / 2), 0);
  assert.equal(state.outcome, undefined);
  assert.ok(state.readAllowance > WINDOW / 2);
});

Deno.test("receive() takes no harm from old frames, again and again", () => {
  const state = open();
  state.read(new Uint8Array(30), 0);
  drain(state, 0);
  state.receive(ack(10), 0);
  state.receive(data(0, 10, 10), 0);
  state.receive(data(10, 10, 20), 0);
  state.receive(ack(30), 0);
  assert.equal(writeAll(state, 0), 20);
  drain(state, 0);
  const old: Frame[] = [
    data(0, 10, 10),
    data(5, 10, 3),
    data(10, 10, 20),
    ack(10),
    ack(10, { gap: true }),
    ack(0, { gap: true, limit: 1 }),
    pong(0),
    pong(77),
    ping(1, { resumed: true }),
    ack(30, { gap: true }),
  ];
  for (const frame of [...old, ...old.toReversed()]) {
    state.receive(frame, 1);
    assert.doesNotMatch(types(drain(state, 1)), /data|fin|reset/);
  }
  assert.equal(state.outcome, undefined);
  assert.equal(writeAll(state, 1), 0);
  assert.equal(state.stats.replays, 0);
  assert.equal(state.stats.bytesReceived, 20);
});

Deno.test("receive() sends nothing again for a PONG that answers no question", () => {
  const state = open();
  state.read(new Uint8Array(30), 0);
  drain(state, 0);
  for (const id of [0, 1, 2, 0xffff_ffff]) state.receive(pong(id), 0);
  assert.deepEqual(drain(state, 0), []);
  const { frames } = wake(state);
  const id = askedBy(frames);
  state.receive(pong(id), 300);
  assert.equal(types(drain(state, 300)), "data");
  state.receive(pong(id), 300);
  assert.equal(types(drain(state, 300)), "", "an answer counts once");
});

Deno.test("receive() asks once for what a PONG claims was sent", () => {
  const state = open();
  for (let time = 0; time < 3; time++) {
    state.receive(pong(9, { sent: MAX_OFFSET }), time);
    assert.equal(types(drain(state, time)), time === 0 ? "ack" : "");
  }
  assert.equal(state.stats.gaps, 1);
});
