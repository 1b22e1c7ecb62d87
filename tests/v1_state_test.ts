/** The machine of a tunnel with a version 1 peer: every state, event and bound. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { BufferPool } from "../lib/buffer_pool.ts";
import { MemoryBudget } from "../lib/memory_budget.ts";
import type { Message } from "../lib/message.ts";
import type { Role } from "../lib/subjects.ts";
import { type V1Frame, type V1Options, V1State } from "../lib/v1_state.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A machine, its surroundings, and what came out of it. */
class Bench {
  readonly sendBudget: MemoryBudget;
  readonly receiveBudget: MemoryBudget;
  readonly state: V1State;
  now = 1_000;
  /** What the broker says to probes while time passes. */
  broker: "nothing" | "passed" | "no responders" = "nothing";
  /** What was written to the application. */
  written = "";
  ended = false;

  constructor(options: Partial<V1Options> = {}) {
    this.sendBudget = options.sendBudget ?? new MemoryBudget(1 << 20);
    this.receiveBudget = options.receiveBudget ?? new MemoryBudget(1 << 20);
    this.state = new V1State({
      now: this.now,
      role: "client",
      pool: new BufferPool(),
      sendBudget: this.sendBudget,
      receiveBudget: this.receiveBudget,
      rate: 1 << 20,
      dataBytes: 1_000,
      listenTimeout: 10_000,
      idleTimeout: 0,
      halfCloseTimeout: 60_000,
      ...options,
    });
  }

  /** All frames that are due. */
  frames(): V1Frame[] {
    const frames: V1Frame[] = [];
    let frame: V1Frame | undefined;
    while ((frame = this.state.pollFrame(this.now)) !== undefined) {
      frames.push(frame);
    }
    return frames;
  }

  /** The frames that are due, in words. */
  sent(): string {
    return this.frames().map((frame) =>
      frame.type === "data" ? `"${decoder.decode(frame.payload)}"` : frame.type
    ).join(" ");
  }

  /** Writes to the application what is there, and the end if it is due. */
  write(): void {
    let chunk: Uint8Array | undefined;
    while ((chunk = this.state.takeWritable()) !== undefined) {
      this.written += decoder.decode(chunk);
      this.state.wrote(chunk, this.now);
    }
    if (this.state.endDue) {
      this.ended = true;
      this.state.wroteEnd(this.now);
    }
  }

  read(text: string): void {
    this.state.read(encoder.encode(text), this.now);
  }

  receive(message: Partial<Message>): void {
    this.state.receive(
      { id: "id", reply: "", data: null, metadata: null, ...message },
      this.now,
    );
  }

  data(text: string): void {
    this.receive({ data: encoder.encode(text) });
  }

  close(): void {
    this.receive({ metadata: { type: "close" } });
  }

  /** Sends a probe and has the broker say that the peer listens. */
  listen(): void {
    const probe = this.frames().find(({ type }) => type === "probe");
    assert.ok(probe?.type === "probe", "no probe is due");
    this.state.passed(probe.id, this.now);
  }

  /** Time passes, and the timer fires when it is due. */
  wait(ms: number): void {
    const until = this.now + ms;
    while (this.state.nextTimeout <= until) {
      this.now = Math.max(this.now, this.state.nextTimeout);
      this.state.tick(this.now);
      this.#answerProbes();
      assert.ok(this.state.nextTimeout > this.now, "the timer spins");
    }
    this.now = until;
    this.state.tick(this.now);
  }

  #answerProbes(): void {
    for (const frame of this.frames()) {
      if (frame.type !== "probe" || this.broker === "nothing") continue;
      if (this.broker === "passed") this.state.passed(frame.id, this.now);
      else this.state.noResponders(this.now);
    }
  }

  /** How it ended, in a word. */
  get outcome(): string | undefined {
    const { outcome } = this.state;
    if (outcome === undefined) return undefined;
    return outcome.clean ? "clean" : `${outcome.reason.code} by ${outcome.by}`;
  }
}

/** Where a tunnel can be, and how it gets there. */
const STATES = {
  "not heard of yet": (role: Role) => new Bench({ role }),
  "being asked for": (role: Role) => {
    const bench = new Bench({ role });
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

function listening(role: Role): Bench {
  const bench = new Bench({ role });
  bench.listen();
  return bench;
}

/** What can happen. */
const EVENTS = {
  "bytes from the application": (bench: Bench) => bench.read("hello"),
  "end from the application": ({ state, now }: Bench) => state.readEnd(now),
  "bytes from the peer": (bench: Bench) => bench.data("answer"),
  "nothing from the peer": (bench: Bench) => bench.data(""),
  "a close from the peer": (bench: Bench) => bench.close(),
  "an error from the peer": (bench: Bench) =>
    bench.receive({ data: encoder.encode("no"), metadata: { error: "true" } }),
  "no responders": ({ state, now }: Bench) => state.noResponders(now),
  "the link is down": ({ state }: Bench) => state.linkDown(),
  "the socket fails": ({ state }: Bench) =>
    state.fail({ code: "aborted", text: "reset" }),
  "6 s pass": (bench: Bench) => bench.wait(6_000),
  "35 s pass": (bench: Bench) => bench.wait(35_000),
} as const;

type State = keyof typeof STATES;
type Event = keyof typeof EVENTS;

/** What follows: messages, what the application gets, the end. */
function effects(bench: Bench): string {
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
const TABLE: Record<State, Record<Event, string | readonly [string, string]>> =
  {
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
      "no responders": ["ends peer-gone by peer", "-"],
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
        "writes held, ends peer-gone by peer",
        "writes held",
      ],
      "end from the application": [
        "writes held, ends peer-gone by peer",
        "writes held",
      ],
      "bytes from the peer": [
        "writes heldanswer, ends peer-gone by peer",
        "writes heldanswer",
      ],
      "nothing from the peer": [
        "writes held, ends peer-gone by peer",
        "writes held",
      ],
      "a close from the peer": "writes held, tells the end",
      "an error from the peer": "ends protocol by local",
      "no responders": ["writes held, ends peer-gone by peer", "writes held"],
      "the link is down": "ends nats-down by local",
      "the socket fails": "ends aborted by local",
      "6 s pass": "ends peer-gone by peer",
      "35 s pass": "ends peer-gone by peer",
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
      for (const event of Object.keys(EVENTS) as Event[]) {
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
  const bench = new Bench();
  const asked: number[] = [];
  for (let i = 0; i < 12; i++) {
    bench.now = Math.max(bench.now, bench.state.nextTimeout);
    assert.equal(bench.sent(), "probe");
    asked.push(bench.now);
    assert.equal(bench.state.readAllowance, 0);
    bench.state.noResponders(bench.now);
  }
  const pauses = asked.slice(1).map((at, i) => at - (asked[i] ?? 0));
  assert.deepEqual(pauses.slice(0, 3), [10, 15, 22.5]);
  assert.deepEqual(pauses.slice(-2), [250, 250]);
  bench.now = bench.state.nextTimeout;
  bench.listen();
  assert.equal(bench.state.readAllowance, 1_000);
  bench.read("first");
  assert.equal(bench.sent(), '"first"');
});

Deno.test("V1State does not take a late answer for one to its last question", () => {
  const bench = new Bench();
  const [probe] = bench.frames();
  assert.ok(probe?.type === "probe");
  bench.state.noResponders(bench.now);
  bench.state.passed(probe.id, bench.now);
  assert.equal(bench.state.listening, false);
  bench.now = bench.state.nextTimeout;
  assert.equal(bench.sent(), "probe");
  bench.state.passed(probe.id, bench.now);
  assert.equal(bench.state.listening, false);
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
  assert.equal(idle.outcome, "peer-gone by peer");

  const read = listening("server");
  read.data("held");
  read.state.noResponders(read.now);
  read.wait(2_000);
  assert.equal(read.outcome, undefined);
  read.write();
  assert.equal(read.written, "held");
  assert.equal(read.outcome, "peer-gone by peer");

  const stalled = listening("server");
  stalled.data("held");
  stalled.state.noResponders(stalled.now);
  stalled.wait(4_999);
  assert.equal(stalled.outcome, undefined);
  stalled.wait(1);
  assert.equal(stalled.outcome, "peer-gone by peer");
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
  const idle = new Bench({ role: "server", idleTimeout: 5_000 });
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
  const bench = new Bench({ receiveBudget: budget });
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
  const bench = new Bench({ receiveBudget: new MemoryBudget(0) });
  bench.listen();
  for (let i = 0; i < 3; i++) {
    bench.data("x".repeat(40_000));
    bench.write();
  }
  assert.equal(bench.written.length, 120_000);
  assert.equal(bench.outcome, undefined);
});

/** Most messages, and messages a second, that may be sent: as in docs/protocol.md. */
const BURST_MESSAGES = 64;
const MESSAGES_PER_MS = 2;
/** Most bytes in one burst, but for the end of the last message. */
const BURST_BYTES = 512 * 1024;

/** Whether no interval holds more than `burst` and `rate` per ms allow. */
function worstBurst(
  sent: readonly { readonly at: number; readonly count: number }[],
  rate: number,
): number {
  let total = 0;
  let least = Infinity;
  let worst = 0;
  for (const { at, count } of sent) {
    least = Math.min(least, total - rate * at);
    total += count;
    worst = Math.max(worst, total - rate * at - least);
  }
  return worst;
}

Deno.test("V1State never sends faster than the rate, nor in larger bursts, and keeps the order", () => {
  const source = new Uint8Array(4 << 20);
  const step = fc.record({
    writes: fc.array(fc.integer({ min: 1, max: 30_000 }), { maxLength: 100 }),
    wait: fc.constantFrom(0, 0, 1, 5, 25, 100, 1_000),
  });
  const history = fc.record({
    steps: fc.array(step, { minLength: 1, maxLength: 20 }),
    rate: fc.constantFrom(32 * 1024, 1 << 20, 1 << 24, 1 << 30),
    dataBytes: fc.constantFrom(100, 3_000, 32 * 1024),
  });
  fc.assert(
    fc.property(history, ({ steps, rate, dataBytes }) => {
      const bench = new Bench({ rate, dataBytes });
      bench.listen();
      const messages: { at: number; count: number }[] = [];
      const bytes: { at: number; count: number }[] = [];
      /** Bytes the application has written, that were read, and that were sent. */
      let wrote = 0;
      let read = 0;
      let sent = 0;
      const drive = (): void => {
        for (;;) {
          for (const frame of bench.frames()) {
            if (frame.type === "probe") {
              bench.state.passed(frame.id, bench.now);
              continue;
            }
            assert.ok(frame.type === "data");
            const { byteOffset, length } = frame.payload;
            assert.equal(byteOffset, sent, "out of order");
            assert.ok(length > 0 && length <= dataBytes);
            sent += length;
            messages.push({ at: bench.now, count: 1 });
            bytes.push({ at: bench.now, count: length });
          }
          const size = Math.min(wrote - read, bench.state.readAllowance);
          if (size === 0) return;
          bench.state.read(source.subarray(read, read + size), bench.now);
          read += size;
        }
      };
      // In as few messages as bound the time of the test.
      const most = Math.min(source.length, 1_000 * dataBytes);
      for (const { writes, wait } of steps) {
        for (const size of writes) {
          wrote = Math.min(most, wrote + size);
          drive();
        }
        bench.now += wait;
        bench.state.tick(bench.now);
        drive();
      }
      for (let i = 0; i < 2_000 && sent < wrote; i++) {
        bench.now = Math.max(bench.now, bench.state.nextTimeout);
        bench.state.tick(bench.now);
        drive();
      }
      assert.equal(sent, wrote, "not all was sent");
      assert.equal(bench.sendBudget.used, 0);
      const burst = worstBurst(messages, MESSAGES_PER_MS);
      assert.ok(burst <= BURST_MESSAGES + 0.001, `${burst} messages at once`);
      const load = worstBurst(bytes, rate / 1000);
      assert.ok(load <= BURST_BYTES + dataBytes + 1, `${load} bytes at once`);
    }),
    { numRuns: 200 },
  );
});

Deno.test("V1State survives any history, and gives back what it holds", () => {
  const names = Object.keys(EVENTS) as Event[];
  const event = fc.oneof(
    fc.constantFrom(...names.filter((name) => !/link|fails|error/.test(name))),
    fc.constantFrom(...names),
  );
  const action = fc.oneof(
    event.map((name) => (bench: Bench) => EVENTS[name](bench)),
    fc.constant((bench: Bench) => bench.write()),
    fc.constant((bench: Bench) => {
      for (const frame of bench.frames()) {
        if (frame.type === "probe") bench.state.passed(frame.id, bench.now);
      }
    }),
    fc.nat({ max: 3_000 }).map((ms) => (bench: Bench) => bench.wait(ms)),
  );
  fc.assert(
    fc.property(
      fc.constantFrom<Role>("client", "server"),
      fc.array(action, { maxLength: 60 }),
      (role, actions) => {
        const bench = new Bench({ role });
        let outcome: unknown;
        for (const act of actions) {
          act(bench);
          if (outcome !== undefined) assert.equal(bench.state.outcome, outcome);
          outcome = bench.state.outcome;
        }
        // Whatever happened, time ends it when the peer is gone.
        bench.broker = "no responders";
        bench.state.noResponders(bench.now); // to a probe under way
        for (let i = 0; i < 20 && bench.outcome === undefined; i++) {
          bench.write();
          bench.wait(5_000);
        }
        assert.ok(bench.outcome, "it goes on for ever");
        assert.equal(bench.state.nextTimeout, Infinity);
        assert.equal(bench.sendBudget.used, 0);
        assert.equal(bench.receiveBudget.used, 0);
        assert.deepEqual(bench.state.held, { send: 0, receive: 0 });
      },
    ),
    { numRuns: 5_000 },
  );
});
