import assert from "node:assert/strict";
import {
  AFTER_BULK_MS,
  EXPRESS_BYTES,
  ExpressWay,
} from "../../lib/session/express.ts";
import type { Frame } from "../../lib/wire/frame.ts";

const KIB = 1024;

/** What a machine would say of itself. */
class Script {
  inFlight = 0;
  replays = 0;
  unanswered = false;
}

function data(bytes: number): Frame {
  const payload = new Uint8Array(bytes);
  return { type: "data", offset: 0, ack: 0, limit: 0, payload };
}

const ACK: Frame = { type: "ack", ack: 0, limit: 0, gap: false };
const PING: Frame = {
  ...{ type: "ping", id: 1, resumed: false, sent: 0 },
  ...{ ack: 0, limit: 0 },
};
const PONG: Frame = {
  ...{ type: "pong", id: 1, hold: false, sent: 0 },
  ...{ ack: 0, limit: 0 },
};
const FIN: Frame = { type: "fin", offset: 0, ack: 0, limit: 0 };

/** Puts `bytes` more on the wire and says whether they go express. */
function send(way: ExpressWay, machine: Script, bytes: number): boolean {
  machine.inFlight += bytes;
  return way.take(data(bytes));
}

Deno.test("ExpressWay: what is small goes express, and bulk as ever until all of it has arrived", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, true);
  way.look(0);
  for (let sent = 0; sent < EXPRESS_BYTES; sent += 16 * KIB) {
    assert.ok(send(way, machine, 16 * KIB), `after ${sent}`);
  }
  assert.ok(!send(way, machine, 1), "one more is too much");
  machine.inFlight = 10; // most has arrived
  assert.ok(!way.open);
  assert.ok(!send(way, machine, 1), "it would overtake the rest");
  assert.ok(!way.take(FIN));
  assert.ok(!way.take(PING));
  machine.inFlight = 0;
  way.look(AFTER_BULK_MS - 1);
  assert.ok(!way.open, "it may go on as bulk");
  way.look(AFTER_BULK_MS);
  assert.ok(way.open);
  assert.ok(send(way, machine, 1));
  assert.ok(way.take(FIN));
  assert.ok(way.take(PING));
});

Deno.test("ExpressWay: what overtook what went express bars it", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, true);
  way.look(0);
  assert.ok(send(way, machine, EXPRESS_BYTES));
  assert.ok(!send(way, machine, KIB));
  machine.replays++; // the last arrived first
  way.look(1);
  machine.inFlight = 0;
  way.look(1 + AFTER_BULK_MS);
  assert.ok(!way.open);
});

Deno.test("ExpressWay: acknowledgements go the way of what they acknowledge", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, true);
  way.look(0);
  assert.ok(!way.take(ACK));
  way.came(true);
  assert.ok(way.take(ACK));
  way.came(false);
  assert.ok(!way.take(ACK));
});

Deno.test("ExpressWay: an answer stays behind what is under way, and goes else as the question came", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, true);
  way.look(0);
  way.came(false);
  assert.ok(!way.take(PONG));
  way.came(true);
  assert.ok(way.take(PONG));
  way.came(false);
  assert.ok(send(way, machine, 1));
  assert.ok(way.take(PONG));
});

Deno.test("ExpressWay: nothing goes express to who does not hear it", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, false);
  way.look(0);
  way.came(true);
  assert.ok(!way.open);
  assert.ok(!send(way, machine, 1));
  for (const frame of [FIN, PING, PONG]) assert.ok(!way.take(frame));
});

Deno.test("ExpressWay: what is lost bars it for a while, twice as long each time", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, true);
  let now = 0;
  const barredFor = (): number => {
    const since = now;
    machine.inFlight = 0;
    way.look(now);
    while (!way.open) way.look(now += 1_000);
    return now - since;
  };
  const lose = (): number => {
    way.look(now);
    machine.inFlight = 0;
    assert.ok(send(way, machine, 1));
    machine.replays++;
    return barredFor();
  };
  assert.equal(barredFor(), 0);
  const first = lose();
  assert.ok(first > 0);
  assert.equal(lose(), 2 * first);
  assert.equal(lose(), 4 * first);
  now += 5 * first;
  assert.equal(lose(), first, "it was good for a long time");
  assert.ok(send(way, machine, 1));
  machine.unanswered = true;
  way.look(now);
  assert.ok(!way.open, "nor are questions answered");
});

Deno.test("ExpressWay: a loss of what went as ever bars nothing", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, true);
  machine.inFlight = 2 * EXPRESS_BYTES;
  assert.ok(!way.take(data(KIB)));
  machine.replays++;
  machine.inFlight = 0;
  way.look(1);
  assert.ok(way.open);
});

Deno.test("ExpressWay: when its connection is lost, what follows goes as ever until all has arrived", () => {
  const machine = new Script();
  const way = new ExpressWay(machine, true);
  way.look(0);
  assert.ok(send(way, machine, 1) && way.isUsed);
  way.lost();
  assert.ok(!way.isUsed && !way.open);
  machine.replays++;
  machine.inFlight = 0;
  way.look(1);
  assert.ok(way.open, "and it is not barred");
  way.denied(1);
  assert.ok(!way.open);
});
