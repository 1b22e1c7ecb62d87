/** The relay loop of a tunnel: which effect follows which decision, in what order. */
import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { messageOf, type Reason } from "../../lib/base/errors.ts";
import type { Socket } from "../../lib/net/socket.ts";
import { FrameCounts } from "../../lib/session/frame_counts.ts";
import { type Machine, Tunnel, type Wire } from "../../lib/session/tunnel.ts";
import type { Outcome, Pause } from "../../lib/tunnel/types.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { MemoryBroker, turn } from "../support/memory_bus.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A machine that decides what the test says, and notes what it is told. */
class Script implements Machine {
  readonly held = { send: 0, receive: 0 };
  readonly halfClosed = false;
  readonly silent = false;
  pause: Pause | undefined = undefined;
  readonly window = 0;
  outcome: Outcome | undefined = undefined;
  readAllowance = 0;
  endDue = false;
  readonly nextTimeout = Infinity;
  readonly stats = { bytesSent: 0, bytesReceived: 0, replays: 0, gaps: 0 };
  readonly ack = 0;
  readonly stall = undefined;
  /** Frames to be sent; those that start with "ack" are answers. */
  readonly frames: string[] = [];
  readonly writable: string[] = [];
  readonly events: string[] = [];

  read(chunk: Uint8Array): void {
    this.events.push(`read ${decoder.decode(chunk)}`);
  }

  readEnd(): void {
    this.events.push("readEnd");
    this.readAllowance = 0;
  }

  wrote(chunk: Uint8Array): void {
    this.events.push(`wrote ${decoder.decode(chunk)}`);
  }

  wroteEnd(): void {
    this.events.push("wroteEnd");
    this.endDue = false;
  }

  fail(reason: Reason): void {
    this.events.push(`fail ${reason.code}: ${reason.text}`);
    this.outcome ??= { clean: false, by: "local", reason };
  }

  abort(_reason: Reason): void {}
  linkDown(): void {}
  linkUp(): void {}
  tick(): void {}

  pollFrame(_now: number, answersOnly = false): string | undefined {
    const at = this.frames.findIndex((frame) =>
      !answersOnly || frame.startsWith("ack")
    );
    return at < 0 ? undefined : this.frames.splice(at, 1)[0];
  }

  takeWritable(): Uint8Array | undefined {
    const text = this.writable.shift();
    return text === undefined ? undefined : encoder.encode(text);
  }
}

/** The wire of a script: frames are words. */
class ScriptWire<M extends Script> implements Wire {
  readonly machine: M;
  readonly peer: undefined = undefined;
  readonly sent: string[] = [];
  congested = false;

  constructor(machine: M) {
    this.machine = machine;
  }

  send(now: number): void {
    let frame: string | undefined;
    while (
      (frame = this.machine.pollFrame(now, this.congested)) !== undefined
    ) {
      this.sent.push(frame);
    }
  }

  receive(): void {}
}

/** A tunnel between a script and an application. */
class Bench<M extends Script = Script> {
  readonly machine: M;
  readonly app = new FakeSocket();
  readonly ends: Outcome[] = [];
  readonly sent: string[];
  readonly bus = new MemoryBroker().connect();
  readonly tunnel: Tunnel;
  readonly #wire: ScriptWire<M>;
  steps = 0;
  onEnd = (): void => {};

  constructor(machine: M, socket?: Socket) {
    this.machine = machine;
    this.#wire = new ScriptWire(machine);
    this.sent = this.#wire.sent;
    this.tunnel = new Tunnel({
      info: { id: "id", remote: "app", target: "target", openedAt: 0 },
      number: 1,
      inbound: "in",
      socket: socket ?? this.app,
      wire: this.#wire,
      home: {
        role: "client",
        bus: this.bus,
        clock: new FakeClock(),
        pool: new BufferPool(),
        maxWindow: 1,
        idleTimeout: 0,
        halfCloseTimeout: 0,
        doubtTimeout: 1,
        frames: { sent: new FrameCounts(), received: new FrameCounts() },
        onBusy: () => {},
        onPairFrame: () => {},
        onRejected: () => {},
        schedule: () => {},
        onStepped: () => void this.steps++,
        onEnd: (_tunnel, outcome) => {
          this.ends.push(outcome);
          this.onEnd();
        },
      },
    });
  }

  set congested(congested: boolean) {
    this.bus.congested = this.#wire.congested = congested;
  }

  step(): void {
    this.tunnel.step(0);
  }
}

/** The faults in a log, in words. */
function faultsIn(records: readonly LogRecord[]): string[] {
  return records
    .filter(({ rawMessage }) => rawMessage === "tunnel failed")
    .map(({ properties }) => messageOf(properties.error));
}

Deno.test("Tunnel does nothing before its first step", async () => {
  const bench = new Bench(new Script());
  const { machine, app, sent } = bench;
  machine.readAllowance = 10;
  machine.frames.push("data");
  machine.writable.push("hello");
  app.send("early");
  await turn();
  assert.deepEqual([sent, machine.events, app.text, bench.steps], [
    [],
    [],
    "",
    0,
  ]);
});

Deno.test("Tunnel.step() sends what is due, writes, and reads what is allowed", async () => {
  const bench = new Bench(new Script());
  const { machine, app, sent } = bench;
  machine.readAllowance = 3;
  machine.frames.push("one", "two");
  machine.writable.push("hello ", "world");
  app.send("abcdef");
  bench.step();
  assert.deepEqual(sent, ["one", "two"]);
  await turn();
  assert.equal(app.text, "hello world");
  assert.equal(app.largestRead, 3);
  assert.deepEqual(
    machine.events.toSorted(),
    ["read abc", "read def", "wrote hello ", "wrote world"],
  );
});

Deno.test("Tunnel reads nothing that is not allowed", async () => {
  const bench = new Bench(new Script());
  const { machine, app } = bench;
  app.send("abc");
  bench.step();
  await turn();
  assert.equal(app.unread, 3);
  machine.readAllowance = 1;
  bench.step();
  await turn();
  assert.deepEqual(machine.events, ["read a", "read b", "read c"]);
});

Deno.test("Tunnel writes one chunk at a time, and goes on when it is written", async () => {
  const bench = new Bench(new Script());
  const { machine, app, sent } = bench;
  app.stall();
  machine.writable.push("one", "two");
  bench.step();
  bench.step();
  await turn();
  assert.deepEqual(machine.writable, ["two"]);
  assert.deepEqual(machine.events, []);
  machine.frames.push("credit");
  app.flow();
  await turn();
  assert.deepEqual(machine.events, ["wrote one", "wrote two"]);
  assert.deepEqual(sent, ["credit"]);
});

Deno.test("Tunnel sends only answers, and reads nothing, while the way out is full", async () => {
  const bench = new Bench(new Script());
  const { machine, app, sent } = bench;
  bench.congested = true;
  machine.readAllowance = 10;
  machine.frames.push("data", "ack 1", "data", "ack 2");
  machine.writable.push("still written");
  app.send("abc");
  bench.step();
  await turn();
  assert.deepEqual(sent, ["ack 1", "ack 2"]);
  assert.equal(app.unread, 3);
  assert.equal(app.text, "still written");
  bench.congested = false;
  bench.step();
  await turn();
  assert.deepEqual(sent, ["ack 1", "ack 2", "data", "data"]);
  assert.deepEqual(machine.events.slice(1), ["read abc"]);
});

Deno.test("Tunnel passes each end of stream on by itself", async () => {
  const bench = new Bench(new Script());
  const { machine, app } = bench;
  machine.readAllowance = 10;
  app.send("last");
  app.end();
  bench.step();
  await turn();
  assert.deepEqual(machine.events, ["read last", "readEnd"]);
  assert.ok(!app.ended && !app.closed);
  machine.writable.push("answer");
  machine.endDue = true;
  bench.step();
  await turn();
  assert.ok(app.ended);
  assert.equal(app.text, "answer");
  assert.deepEqual(machine.events.slice(2), ["wrote answer", "wroteEnd"]);
  assert.ok(!app.closed);
});

Deno.test("Tunnel closes the socket once, when the machine has ended", async () => {
  const bench = new Bench(new Script());
  const { machine, app, sent, ends } = bench;
  machine.readAllowance = 10;
  bench.step();
  machine.frames.push("reset");
  machine.outcome = { clean: true };
  bench.step();
  bench.step();
  await turn();
  assert.deepEqual(sent, ["reset"]);
  assert.ok(app.closed);
  assert.deepEqual(ends, [{ clean: true }]);
  // The read that our own close broke off is no failure.
  assert.deepEqual(machine.events, []);
});

Deno.test("Tunnel tells the machine when reading fails", async () => {
  const bench = new Bench(new Script());
  const { machine, app, ends } = bench;
  machine.readAllowance = 10;
  bench.step();
  app.reset();
  await turn();
  assert.deepEqual(machine.events, [
    "fail aborted: reading from the application failed: Connection reset by peer (os error 104)",
  ]);
  assert.ok(app.closed);
  assert.equal(ends.length, 1);
});

Deno.test("Tunnel tells the machine when writing fails, and gives the chunk back", async () => {
  const bench = new Bench(new Script());
  const { machine, app } = bench;
  app.reset("Broken pipe");
  machine.writable.push("lost");
  bench.step();
  await turn();
  assert.deepEqual(machine.events, [
    "fail aborted: writing to the application failed: Broken pipe",
    "wrote lost",
  ]);
  assert.ok(app.closed);
});

Deno.test("Tunnel tells the machine when ending the stream fails", async () => {
  const bench = new Bench(new Script());
  const { machine, app } = bench;
  app.reset("Transport endpoint is not connected");
  machine.endDue = true;
  bench.step();
  await turn();
  assert.deepEqual(machine.events, [
    "fail aborted: ending the stream to the application failed: Transport endpoint is not connected",
  ]);
});

Deno.test("Tunnel ends a stalled write with the tunnel", async () => {
  const bench = new Bench(new Script());
  const { machine, app, ends } = bench;
  app.stall();
  machine.writable.push("never read");
  bench.step();
  machine.outcome = {
    clean: false,
    by: "peer",
    reason: { code: "peer-gone", text: "gone" },
  };
  bench.step();
  await turn();
  assert.ok(app.closed);
  assert.equal(ends.length, 1);
  assert.equal(app.text, "");
});

Deno.test("Tunnel gives a chunk back that is written, or not, after the end", async () => {
  for (const outcome of ["written", "failed"] as const) {
    const bench = new Bench(new Script());
    const { machine, app } = bench;
    app.stall();
    machine.writable.push("late");
    bench.step();
    machine.outcome = { clean: true };
    // The application takes it, or not, in the turn in which the tunnel ends.
    if (outcome === "written") app.flow();
    bench.step();
    await turn();
    assert.deepEqual(machine.events, ["wrote late"], outcome);
  }
});

Deno.test("Tunnel writes nothing after the end of stream", async () => {
  const bench = new Bench(new Script());
  const { machine, app } = bench;
  machine.endDue = true;
  bench.step();
  await turn();
  machine.endDue = true;
  machine.writable.push("too late");
  bench.step();
  await turn();
  assert.deepEqual(machine.events, ["wroteEnd"]);
  assert.equal(app.text, "");
});

/** A machine with a fault that shows so many times. */
class Faulty extends Script {
  faults = 1;

  override abort(reason: Reason): void {
    this.events.push(`abort ${reason.code}`);
    this.frames.push("reset");
    this.outcome ??= { clean: false, by: "local", reason };
  }

  check(): void {
    if (this.faults-- > 0) throw new TypeError("a fault of ours");
  }
}

const FAULTS: Readonly<Record<string, (machine: Faulty) => void>> = {
  pollFrame: (machine) => {
    machine.pollFrame = () => machine.check() ?? machine.frames.shift();
  },
  takeWritable: (machine) => {
    machine.takeWritable = () => machine.check() ?? undefined;
  },
  read: (machine) => {
    machine.read = () => machine.check();
  },
  wrote: (machine) => {
    machine.wrote = () => machine.check();
    machine.writable.push("answer");
  },
  fail: (machine) => {
    machine.fail = () => machine.check();
  },
};

for (const [what, install] of Object.entries(FAULTS)) {
  Deno.test(`Tunnel ends a tunnel whose machine throws in ${what}, and tells the peer`, async () => {
    const bench = new Bench(new Faulty());
    const { machine, app, sent, ends } = bench;
    using log = captureLog();
    machine.readAllowance = 10;
    install(machine);
    bench.step();
    if (what === "fail") app.reset();
    else app.send("abc");
    await turn();
    assert.deepEqual(faultsIn(log.records), ["a fault of ours"]);
    assert.deepEqual(sent, ["reset"]);
    assert.equal(ends.length, 1);
    assert.ok(app.closed);
  });
}

Deno.test("Tunnel ends though its machine throws again and again", () => {
  const bench = new Bench(new Faulty());
  const { machine, app, ends } = bench;
  using log = captureLog();
  machine.faults = Infinity;
  machine.abort = machine.check;
  machine.pollFrame = () => machine.check() ?? undefined;
  bench.step();
  bench.step();
  const fault = "a fault of ours";
  assert.deepEqual(faultsIn(log.records), [fault, fault]);
  const reason = { code: "internal", text: fault };
  assert.deepEqual(ends, [{ clean: false, by: "local", reason }]);
  assert.ok(app.closed);
});

Deno.test("Tunnel keeps a fault in the bookkeeping of its end to itself", () => {
  const bench = new Bench(new Script());
  using log = captureLog();
  bench.onEnd = () => {
    throw new TypeError("a fault of ours");
  };
  bench.machine.outcome = { clean: true };
  bench.step();
  assert.deepEqual(faultsIn(log.records), ["a fault of ours"]);
  assert.ok(bench.app.closed);
});

Deno.test("Tunnel relays a plain pair of web streams, each end of stream by itself", async () => {
  const incoming = new TransformStream<Uint8Array, Uint8Array>();
  const outgoing = new TransformStream<Uint8Array, Uint8Array>();
  const { readable } = incoming;
  const { writable } = outgoing;
  const bench = new Bench(new Script(), { remote: "pair", readable, writable });
  const { machine } = bench;
  machine.readAllowance = 4;
  machine.writable.push("answer");
  const application = incoming.writable.getWriter();
  const answer = outgoing.readable.getReader();
  bench.step();
  const [{ value }] = await Promise.all([
    answer.read(),
    application.write(encoder.encode("question")),
  ]);
  assert.equal(decoder.decode(value), "answer");
  await turn();
  await application.close();
  await turn();
  assert.deepEqual(
    machine.events.filter((event) => event.startsWith("read")),
    ["read ques", "read tion", "readEnd"],
  );
  machine.endDue = true;
  bench.step();
  assert.ok((await answer.read()).done);
  machine.outcome = { clean: true };
  bench.step();
  assert.deepEqual(bench.ends, [{ clean: true }]);
});

Deno.test("Tunnel.pause says why the socket is not read, and nothing while it is", () => {
  const bench = new Bench(new Script());
  const { machine, tunnel } = bench;
  assert.equal(tunnel.pause, undefined); // nothing more is to come
  machine.pause = "credit";
  bench.congested = true;
  assert.equal(tunnel.pause, "credit");
  machine.pause = undefined;
  machine.readAllowance = 10;
  assert.equal(tunnel.pause, "nats");
  bench.congested = false;
  bench.step();
  bench.congested = true;
  assert.equal(tunnel.pause, undefined); // a read is under way
});
