/** The machine of a tunnel with a version 1 peer: every state and event decided. */
import assert from "node:assert/strict";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { EVENTS, listening, V1Bench, type V1Event } from "./v1_bench.ts";

/** Where a tunnel can be, and how it gets there. */
const STATES = {
  "not heard of yet": (role: Role) => new V1Bench({ role }),
  "being asked for": (role: Role) => {
    const bench = new V1Bench({ role });
    assert.equal(bench.sent(), "probe");
    return bench;
  },
  "listening": listening,
  "listening, the application ended": (role: Role) => {
    const bench = listening(role);
    bench.read("question");
    bench.state.readEnd(bench.now);
    bench.frames();
    return bench;
  },
  "gone": (role: Role) => {
    const bench = listening(role);
    bench.data("held");
    bench.state.noResponders(bench.now);
    return bench;
  },
  "closed, bytes to be written": (role: Role) => {
    const bench = listening(role);
    bench.data("held");
    bench.close();
    return bench;
  },
  "closed, the application told": (role: Role) => {
    const bench = listening(role);
    bench.close();
    bench.write();
    return bench;
  },
  "ended": (role: Role) => {
    const bench = listening(role);
    bench.state.abort({ code: "shutdown", text: "stopped" });
    bench.frames();
    return bench;
  },
} as const;

type State = keyof typeof STATES;

/** What follows: messages, what the application gets, the end. */
function effects(bench: V1Bench): string {
  const sent = bench.sent();
  const before = bench.ended;
  bench.write();
  return [
    sent && `sends ${sent}`,
    bench.written && `writes ${bench.written}`,
    bench.ended && !before && "tells the end",
    bench.outcome && `ends ${bench.outcome}`,
  ].filter(Boolean).join(", ") || "-";
}

/** The effects of each event in each state; two where client and server differ. */
const TABLE: Record<
  State,
  Record<V1Event, string | readonly [string, string]>
> = {
  "not heard of yet": {
    "bytes from the application": "sends probe",
    "end from the application": "sends probe",
    "bytes from the peer": "sends probe, writes answer",
    "nothing from the peer": "sends probe",
    "a close from the peer": "tells the end",
    "an error from the peer": [
      "sends close, ends protocol by local",
      "ends protocol by local",
    ],
    "no responders": "-",
    "the link is down": [
      "sends close, ends nats-down by local",
      "ends nats-down by local",
    ],
    "the socket fails": [
      "sends close, ends aborted by local",
      "ends aborted by local",
    ],
    "6 s pass": "-",
    "35 s pass": "ends timeout by local",
  },
  "being asked for": {
    "bytes from the application": "-",
    "end from the application": "-",
    "bytes from the peer": "writes answer",
    "nothing from the peer": "-",
    "a close from the peer": "tells the end",
    "an error from the peer": [
      "sends close, ends protocol by local",
      "ends protocol by local",
    ],
    "no responders": "-",
    "the link is down": [
      "sends close, ends nats-down by local",
      "ends nats-down by local",
    ],
    "the socket fails": [
      "sends close, ends aborted by local",
      "ends aborted by local",
    ],
    "6 s pass": "-",
    "35 s pass": "ends timeout by local",
  },
  "listening": {
    "bytes from the application": 'sends "hello"',
    "end from the application": ["sends close", "-"],
    "bytes from the peer": "writes answer",
    "nothing from the peer": "-",
    "a close from the peer": "tells the end",
    "an error from the peer": [
      "sends close, ends protocol by local",
      "ends protocol by local",
    ],
    "no responders": ["ends peer-gone by local", "-"],
    "the link is down": [
      "sends close, ends nats-down by local",
      "ends nats-down by local",
    ],
    "the socket fails": [
      "sends close, ends aborted by local",
      "ends aborted by local",
    ],
    "6 s pass": "-",
    "35 s pass": "-",
  },
  "listening, the application ended": {
    "bytes from the application": "-",
    "end from the application": "-",
    "bytes from the peer": "writes answer",
    "nothing from the peer": "-",
    "a close from the peer": "tells the end, ends clean",
    "an error from the peer": "ends protocol by local",
    "no responders": ["tells the end, ends clean", "-"],
    "the link is down": "ends nats-down by local",
    "the socket fails": "ends aborted by local",
    "6 s pass": "-",
    "35 s pass": ["tells the end, ends clean", "-"],
  },
  "gone": {
    "bytes from the application": [
      "writes held, ends peer-gone by local",
      "writes held",
    ],
    "end from the application": [
      "writes held, ends peer-gone by local",
      "writes held",
    ],
    "bytes from the peer": [
      "writes heldanswer, ends peer-gone by local",
      "writes heldanswer",
    ],
    "nothing from the peer": [
      "writes held, ends peer-gone by local",
      "writes held",
    ],
    "a close from the peer": "writes held, tells the end",
    "an error from the peer": "ends protocol by local",
    "no responders": ["writes held, ends peer-gone by local", "writes held"],
    "the link is down": "ends nats-down by local",
    "the socket fails": "ends aborted by local",
    "6 s pass": "ends peer-gone by local",
    "35 s pass": "ends peer-gone by local",
  },
  "closed, bytes to be written": {
    "bytes from the application": "writes held, tells the end",
    "end from the application": "writes held, tells the end, ends clean",
    "bytes from the peer": "writes held, tells the end",
    "nothing from the peer": "writes held, tells the end",
    "a close from the peer": "writes held, tells the end",
    "an error from the peer": "writes held, tells the end",
    "no responders": "writes held, tells the end",
    "the link is down": "writes held, tells the end",
    "the socket fails": "ends aborted by local",
    "6 s pass": "writes held, tells the end",
    "35 s pass": "writes held, tells the end",
  },
  "closed, the application told": {
    "bytes from the application": "-",
    "end from the application": "ends clean",
    "bytes from the peer": "-",
    "nothing from the peer": "-",
    "a close from the peer": "-",
    "an error from the peer": "-",
    "no responders": "-",
    "the link is down": "-",
    "the socket fails": "ends aborted by local",
    "6 s pass": "-",
    "35 s pass": "ends clean",
  },
  "ended": {
    "bytes from the application": "ends shutdown by local",
    "end from the application": "ends shutdown by local",
    "bytes from the peer": "ends shutdown by local",
    "nothing from the peer": "ends shutdown by local",
    "a close from the peer": "ends shutdown by local",
    "an error from the peer": "ends shutdown by local",
    "no responders": "ends shutdown by local",
    "the link is down": "ends shutdown by local",
    "the socket fails": "ends shutdown by local",
    "6 s pass": "ends shutdown by local",
    "35 s pass": "ends shutdown by local",
  },
};

for (const role of ["client", "server"] as const) {
  for (const name of Object.keys(STATES) as State[]) {
    Deno.test(`V1State of a ${role}, ${name}, decides every event`, () => {
      for (const event of Object.keys(EVENTS) as V1Event[]) {
        const bench = STATES[name](role);
        EVENTS[event](bench);
        const cell = TABLE[name][event];
        const expected = typeof cell === "string"
          ? cell
          : cell[role === "client" ? 0 : 1];
        assert.equal(effects(bench), expected, event);
      }
    });
  }
}

Deno.test("V1State asks again, ever less often, until the peer listens", () => {
  const bench = new V1Bench();
  const asked: number[] = [];
  for (let i = 0; i < 12; i++) {
    bench.now = Math.max(bench.now, bench.state.nextTimeout);
    assert.equal(bench.sent(), "probe");
    asked.push(bench.now);
    assert.equal(bench.state.readAllowance, 0);
    assert.equal(bench.state.pause, "pace");
    bench.state.noResponders(bench.now);
  }
  const pauses = asked.slice(1).map((at, i) => at - (asked[i] ?? 0));
  assert.deepEqual(pauses.slice(0, 3), [10, 15, 22.5]);
  assert.deepEqual(pauses.slice(-2), [250, 250]);
  bench.now = bench.state.nextTimeout;
  bench.listen();
  assert.deepEqual([bench.state.readAllowance, bench.state.pause], [
    ...[1_000, undefined],
  ]);
  bench.read("first");
  assert.equal(bench.sent(), '"first"');
});

Deno.test("V1State does not take a late answer for one to its last question", () => {
  const bench = new V1Bench();
  const [probe] = bench.frames();
  assert.ok(probe?.type === "probe");
  bench.state.noResponders(bench.now);
  bench.state.passed(probe.id, bench.now);
  assert.equal(bench.state.readAllowance, 0, "nobody said that it listens");
  bench.now = bench.state.nextTimeout;
  assert.equal(bench.sent(), "probe");
  bench.state.passed(probe.id, bench.now);
  assert.equal(bench.state.readAllowance, 0, "nobody said that it listens");
});

Deno.test("V1State asks for a silent peer every 2 s", () => {
  const bench = listening("client");
  for (let i = 0; i < 3; i++) {
    assert.equal(bench.state.nextTimeout, bench.now + 2_000);
    bench.now += 2_000;
    bench.listen();
  }
});

Deno.test("V1State delivers all that came before a close, however slowly it is read", () => {
  const bench = listening("server");
  bench.data("held");
  // The original unsubscribes first, and says that it closes after that.
  bench.state.noResponders(bench.now);
  bench.wait(900);
  assert.equal(bench.outcome, undefined);
  bench.data(" and more");
  bench.close();
  bench.wait(50_000);
  assert.equal(bench.outcome, undefined);
  bench.write();
  assert.equal(bench.written, "held and more");
  assert.ok(bench.ended);
  bench.state.readEnd(bench.now);
  assert.equal(bench.outcome, "clean");
});

Deno.test("V1State cuts a tunnel whose client is gone without a close", () => {
  const idle = listening("server");
  idle.state.noResponders(idle.now);
  idle.wait(999);
  assert.equal(idle.outcome, undefined);
  idle.wait(1);
  assert.equal(idle.outcome, "peer-gone by local");

  const read = listening("server");
  read.data("held");
  read.state.noResponders(read.now);
  read.wait(2_000);
  assert.equal(read.outcome, undefined);
  read.write();
  assert.equal(read.written, "held");
  assert.equal(read.outcome, "peer-gone by local");

  const stalled = listening("server");
  stalled.data("held");
  stalled.state.noResponders(stalled.now);
  stalled.wait(4_999);
  assert.equal(stalled.outcome, undefined);
  stalled.wait(1);
  assert.equal(stalled.outcome, "peer-gone by local");
  assert.equal(stalled.receiveBudget.used, 0);
});

Deno.test("V1State throws away what is read for a peer that has closed", () => {
  const bench = listening("server");
  bench.data("held");
  bench.close();
  for (let i = 0; i < 5; i++) {
    assert.equal(bench.state.readAllowance, 1_000);
    bench.read("for nobody");
    assert.equal(bench.sent(), "");
  }
  assert.equal(bench.state.stats.bytesSent, 0);
  assert.equal(bench.sendBudget.used, 0);
});

Deno.test("V1State ends a client's tunnel 10 s after the last byte of the answer", () => {
  const bench = listening("client");
  bench.read("question");
  bench.state.readEnd(bench.now);
  assert.equal(bench.sent(), '"question" close');
  for (let i = 0; i < 3; i++) {
    bench.wait(9_000);
    bench.data(".");
    bench.write();
  }
  bench.wait(9_999);
  assert.equal(bench.state.endDue, false);
  bench.wait(1);
  bench.write();
  assert.equal(bench.written, "...");
  assert.equal(bench.outcome, "clean");
});

Deno.test("V1State ends a client's tunnel soon when the last word was the server's", () => {
  const bench = listening("client");
  bench.read("question");
  bench.frames();
  bench.data("answer");
  bench.write();
  bench.state.readEnd(bench.now);
  assert.equal(bench.sent(), "close");
  bench.wait(499);
  assert.equal(bench.state.endDue, false);
  // There was more to come, so there may be yet more.
  bench.data("!");
  bench.write();
  bench.wait(9_999);
  assert.equal(bench.state.endDue, false);
  bench.wait(1);
  bench.write();
  assert.equal(bench.written, "answer!");
  assert.equal(bench.outcome, "clean");
});

Deno.test("V1State sends what was read before it says close", () => {
  const bench = listening("client");
  bench.read("last words");
  bench.state.readEnd(bench.now);
  assert.equal(bench.sent(), '"last words" close');
});

Deno.test("V1State cuts idle and half-closed tunnels", () => {
  const idle = new V1Bench({ role: "server", idleTimeout: 5_000 });
  idle.listen();
  idle.wait(4_000);
  idle.data(""); // no byte, no activity
  idle.wait(999);
  assert.equal(idle.outcome, undefined);
  idle.wait(1);
  assert.equal(idle.outcome, "idle by local");

  const half = listening("server");
  half.state.readEnd(half.now);
  half.wait(59_000);
  half.data("still here");
  half.write();
  half.wait(59_999);
  assert.equal(half.outcome, undefined);
  half.wait(1);
  assert.equal(half.outcome, "half-closed by local");
});

Deno.test("V1State cuts a tunnel whose application reads too slowly", () => {
  const budget = new MemoryBudget(10_000);
  const bench = new V1Bench({ receiveBudget: budget });
  bench.listen();
  let most = 0;
  for (let i = 0; i < 20 && bench.outcome === undefined; i++) {
    bench.data("x".repeat(1_000));
    most = Math.max(most, budget.used);
  }
  assert.equal(bench.outcome, "limit by local");
  assert.ok(most >= 4_000 && most <= 10_000, `held ${most}`);
  assert.equal(budget.used, 0);
});

Deno.test("V1State takes one message however little memory there is", () => {
  const bench = new V1Bench({ receiveBudget: new MemoryBudget(0) });
  bench.listen();
  for (let i = 0; i < 3; i++) {
    bench.data("x".repeat(40_000));
    bench.write();
  }
  assert.equal(bench.written.length, 120_000);
  assert.equal(bench.outcome, undefined);
});

Deno.test("V1State of a client says that it closes though the way to NATS is full", () => {
  const bench = listening("client");
  bench.state.abort({ code: "shutdown", text: "stopped" });
  assert.equal(bench.state.pollFrame(bench.now, true)?.type, "close");
  assert.equal(bench.state.pollFrame(bench.now), undefined);
});
