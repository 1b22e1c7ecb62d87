/** The relay loop: which effect follows which decision, in what order. */
import assert from "node:assert/strict";
import { messageOf, type Reason } from "../../lib/base/errors.ts";
import {
  Relay,
  type RelayHost,
  type TunnelMachine,
} from "../../lib/session/relay.ts";
import type { Outcome } from "../../lib/tunnel/types.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { turn } from "../support/memory_bus.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A machine that decides what the test says, and notes what it is told. */
class Script implements TunnelMachine<string> {
  outcome: Outcome | undefined = undefined;
  readAllowance = 0;
  endDue = false;
  readonly nextTimeout = Infinity;
  readonly stats = { bytesSent: 0, bytesReceived: 0, replays: 0, gaps: 0 };
  readonly held = { send: 0, receive: 0 };
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

/** A relay between a script and an application. */
class Bench<M extends Script = Script> implements RelayHost<string> {
  readonly machine: M;
  readonly app = new FakeSocket();
  readonly sent: string[] = [];
  readonly ends: Outcome[] = [];
  readonly faults: string[] = [];
  congested = false;
  drives = 0;
  readonly relay: Relay<string>;
  onFault = (): void => {};

  constructor(machine: M) {
    this.machine = machine;
    this.relay = new Relay<string>({
      socket: this.app,
      machine,
      clock: new FakeClock(),
      host: this,
    });
  }

  send(frame: string): void {
    this.sent.push(frame);
  }

  driven(): void {
    this.drives++;
  }

  faulted(error: unknown): void {
    this.faults.push(messageOf(error));
    this.onFault();
  }

  ended(outcome: Outcome): void {
    this.ends.push(outcome);
  }
}

Deno.test("Relay does nothing before it is driven", async () => {
  const { machine, app, sent, drives } = new Bench(new Script());
  machine.readAllowance = 10;
  machine.frames.push("data");
  machine.writable.push("hello");
  app.send("early");
  await turn();
  assert.deepEqual([sent, machine.events, app.text, drives], [[], [], "", 0]);
});

Deno.test("Relay.drive() sends what is due, writes, and reads what is allowed", async () => {
  const { relay, machine, app, sent } = new Bench(new Script());
  machine.readAllowance = 3;
  machine.frames.push("one", "two");
  machine.writable.push("hello ", "world");
  app.send("abcdef");
  relay.drive();
  assert.deepEqual(sent, ["one", "two"]);
  await turn();
  assert.equal(app.text, "hello world");
  assert.equal(app.largestRead, 3);
  assert.deepEqual(
    machine.events.toSorted(),
    ["read abc", "read def", "wrote hello ", "wrote world"],
  );
});

Deno.test("Relay reads nothing that is not allowed", async () => {
  const { relay, machine, app } = new Bench(new Script());
  app.send("abc");
  relay.drive();
  await turn();
  assert.equal(app.unread, 3);
  machine.readAllowance = 1;
  relay.drive();
  await turn();
  assert.deepEqual(machine.events, ["read a", "read b", "read c"]);
});

Deno.test("Relay writes one chunk at a time, and drives on when it is written", async () => {
  const { relay, machine, app, sent } = new Bench(new Script());
  app.stall();
  machine.writable.push("one", "two");
  relay.drive();
  relay.drive();
  await turn();
  assert.deepEqual(machine.writable, ["two"]);
  assert.deepEqual(machine.events, []);
  machine.frames.push("credit");
  app.flow();
  await turn();
  assert.deepEqual(machine.events, ["wrote one", "wrote two"]);
  assert.deepEqual(sent, ["credit"]);
});

Deno.test("Relay sends only answers, and reads nothing, while the way out is full", async () => {
  const bench = new Bench(new Script());
  const { relay, machine, app, sent } = bench;
  bench.congested = true;
  machine.readAllowance = 10;
  machine.frames.push("data", "ack 1", "data", "ack 2");
  machine.writable.push("still written");
  app.send("abc");
  relay.drive();
  await turn();
  assert.deepEqual(sent, ["ack 1", "ack 2"]);
  assert.equal(app.unread, 3);
  assert.equal(app.text, "still written");
  bench.congested = false;
  relay.drive();
  await turn();
  assert.deepEqual(sent, ["ack 1", "ack 2", "data", "data"]);
  assert.deepEqual(machine.events.slice(1), ["read abc"]);
});

Deno.test("Relay passes each end of stream on by itself", async () => {
  const { relay, machine, app } = new Bench(new Script());
  machine.readAllowance = 10;
  app.send("last");
  app.end();
  relay.drive();
  await turn();
  assert.deepEqual(machine.events, ["read last", "readEnd"]);
  assert.ok(!app.ended && !app.closed);
  machine.writable.push("answer");
  machine.endDue = true;
  relay.drive();
  await turn();
  assert.ok(app.ended);
  assert.equal(app.text, "answer");
  assert.deepEqual(machine.events.slice(2), ["wrote answer", "wroteEnd"]);
  assert.ok(!app.closed);
});

Deno.test("Relay closes the socket once, when the machine has ended", async () => {
  const bench = new Bench(new Script());
  const { relay, machine, app, sent, ends } = bench;
  machine.readAllowance = 10;
  relay.drive();
  machine.frames.push("reset");
  machine.outcome = { clean: true };
  relay.drive();
  relay.drive();
  await turn();
  assert.deepEqual(sent, ["reset"]);
  assert.ok(app.closed);
  assert.deepEqual(ends, [{ clean: true }]);
  // The read that our own close broke off is no failure.
  assert.deepEqual(machine.events, []);
});

Deno.test("Relay tells the machine when reading fails", async () => {
  const { relay, machine, app, ends } = new Bench(new Script());
  machine.readAllowance = 10;
  relay.drive();
  app.reset();
  await turn();
  assert.deepEqual(machine.events, [
    "fail aborted: reading from the application failed: Connection reset by peer (os error 104)",
  ]);
  assert.ok(app.closed);
  assert.equal(ends.length, 1);
});

Deno.test("Relay tells the machine when writing fails, and gives the chunk back", async () => {
  const { relay, machine, app } = new Bench(new Script());
  app.reset("Broken pipe");
  machine.writable.push("lost");
  relay.drive();
  await turn();
  assert.deepEqual(machine.events, [
    "fail aborted: writing to the application failed: Broken pipe",
    "wrote lost",
  ]);
  assert.ok(app.closed);
});

Deno.test("Relay tells the machine when ending the stream fails", async () => {
  const { relay, machine, app } = new Bench(new Script());
  app.reset("Transport endpoint is not connected");
  machine.endDue = true;
  relay.drive();
  await turn();
  assert.deepEqual(machine.events, [
    "fail aborted: ending the application's stream failed: Transport endpoint is not connected",
  ]);
});

Deno.test("Relay ends a stalled write with the tunnel", async () => {
  const { relay, machine, app, ends } = new Bench(new Script());
  app.stall();
  machine.writable.push("never read");
  relay.drive();
  machine.outcome = {
    clean: false,
    by: "peer",
    reason: { code: "peer-gone", text: "gone" },
  };
  relay.drive();
  await turn();
  assert.ok(app.closed);
  assert.equal(ends.length, 1);
  assert.equal(app.text, "");
});

Deno.test("Relay gives a chunk back that is written, or not, after the end", async () => {
  for (const outcome of ["written", "failed"] as const) {
    const { relay, machine, app } = new Bench(new Script());
    app.stall();
    machine.writable.push("late");
    relay.drive();
    machine.outcome = { clean: true };
    // The application takes it, or not, in the turn in which the tunnel ends.
    if (outcome === "written") app.flow();
    relay.drive();
    await turn();
    assert.deepEqual(machine.events, ["wrote late"], outcome);
  }
});

Deno.test("Relay writes nothing after the end of stream", async () => {
  const { relay, machine, app } = new Bench(new Script());
  machine.endDue = true;
  relay.drive();
  await turn();
  machine.endDue = true;
  machine.writable.push("too late");
  relay.drive();
  await turn();
  assert.deepEqual(machine.events, ["wroteEnd"]);
  assert.equal(app.text, "");
});

/** A machine with a fault, as long as `faulty` says. */
class Faulty extends Script {
  faulty = true;

  override abort(reason: Reason): void {
    this.events.push(`abort ${reason.code}`);
    this.frames.push("reset");
    this.outcome ??= { clean: false, by: "local", reason };
  }

  check(): void {
    if (this.faulty) throw new TypeError("a fault of ours");
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
  Deno.test(`Relay ends a tunnel whose machine throws in ${what}, and tells the peer`, async () => {
    const bench = new Bench(new Faulty());
    const { relay, machine, app, sent, ends, faults } = bench;
    machine.readAllowance = 10;
    install(machine);
    bench.onFault = () => machine.faulty = false;
    relay.drive();
    if (what === "fail") app.reset();
    else app.send("abc");
    await turn();
    assert.deepEqual(faults, ["a fault of ours"]);
    assert.deepEqual(sent, ["reset"]);
    assert.equal(ends.length, 1);
    assert.ok(app.closed);
  });
}

Deno.test("Relay ends a tunnel whose machine throws again and again", () => {
  const { relay, machine, app, ends, faults } = new Bench(new Faulty());
  machine.abort = machine.check;
  machine.pollFrame = () => machine.check() ?? undefined;
  relay.drive();
  relay.drive();
  assert.deepEqual(faults, ["a fault of ours", "a fault of ours"]);
  const reason = { code: "internal", text: "a fault of ours" };
  assert.deepEqual(ends, [{ clean: false, by: "local", reason }]);
  assert.ok(app.closed);
});
