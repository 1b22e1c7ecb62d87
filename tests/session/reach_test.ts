/** Whether anybody can be reached: what one refusal proves, and when it is asked again. */
import assert from "node:assert/strict";
import { Reach } from "../../lib/session/reach.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { MemoryBroker, type SeenMessage } from "../support/memory_bus.ts";
import { random } from "../support/shell_pair.ts";

/** A reach to `to.>`, with the time and all that it publishes. */
class Bench implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly bus = this.broker.connect();
  readonly seen: SeenMessage[] = [];
  changes = 0;
  readonly reach = new Reach({
    bus: this.bus,
    clock: this.clock,
    random,
    pattern: "to.>",
    subjectOf: (token) => `to.${token}`,
    onChange: () => this.changes++,
  });

  constructor() {
    this.broker.filter = (message) => {
      this.seen.push(message);
      return true;
    };
  }

  /** The broker refuses a message to `subject`. */
  async deny(subject: string): Promise<void> {
    this.bus.deny(subject);
    await this.broker.settled();
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.broker.settled());
  }

  [Symbol.dispose](): void {
    this.reach[Symbol.dispose]();
  }
}

Deno.test("Reach: a refusal of one subject proves nothing when a stranger may be reached", async () => {
  using bench = new Bench();
  bench.bus.forbidden = (subject) => subject === "to.evil";
  await bench.deny("to.evil");
  assert.equal(bench.reach.refusal, undefined);
  assert.equal(bench.seen.length, 1);
  assert.match(bench.seen[0]?.subject ?? "", /^to\.[\w-]{22}$/);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("Reach: a refusal elsewhere asks nothing", async () => {
  using bench = new Bench();
  for (const subject of ["elsewhere.x", "to", "too.x"]) {
    await bench.deny(subject);
  }
  assert.equal(bench.seen.length, 0);
});

Deno.test("Reach: when strangers are refused, too, nobody is reached, until it is allowed again", async () => {
  using bench = new Bench();
  bench.bus.forbidden = (subject) => subject.startsWith("to.");
  await bench.deny("to.x");
  assert.deepEqual(bench.reach.refusal, {
    code: "denied",
    text: "NATS refuses what is published to to.>",
  });
  await bench.wait(120_000);
  assert.equal(bench.changes, 1);
  bench.bus.forbidden = () => false;
  await bench.wait(30_000);
  assert.equal(bench.reach.refusal, undefined);
  assert.equal(bench.changes, 2);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("Reach: rules that name single peers count as well as those for all", async () => {
  using bench = new Bench();
  bench.bus.forbidden = (subject) => subject !== "to.edge7";
  for (const token of ["evil", "edge7", "evil2"]) {
    await bench.reach.meet(token);
  }
  await bench.deny("to.evil");
  assert.equal(bench.reach.refusal, undefined);
  bench.bus.forbidden = () => true;
  await bench.wait(1_000);
  await bench.deny("to.edge7");
  assert.notEqual(bench.reach.refusal, undefined);
});

Deno.test("Reach: peers met later push out none that was reached", async () => {
  using bench = new Bench();
  for (let i = 0; i < 100; i++) await bench.reach.meet(`peer${i}`);
  bench.bus.forbidden = (subject) => subject !== "to.peer0";
  await bench.deny("to.peer99");
  assert.equal(bench.reach.refusal, undefined);
});

Deno.test("Reach: a flood of refusals is one question a second", async () => {
  using bench = new Bench();
  for (let i = 0; i < 100; i++) await bench.deny("to.evil");
  assert.equal(bench.seen.length, 1);
  await bench.wait(1_000);
  await bench.deny("to.evil");
  assert.equal(bench.seen.length, 2);
});

Deno.test("Reach: what was refused is asked again at once on a new link", async () => {
  using bench = new Bench();
  bench.bus.forbidden = () => true;
  await bench.deny("to.x");
  assert.notEqual(bench.reach.refusal, undefined);
  bench.bus.cut();
  bench.bus.forbidden = () => false;
  await bench.wait(60_000);
  assert.notEqual(bench.reach.refusal, undefined);
  bench.bus.restore();
  await bench.broker.settled();
  assert.equal(bench.reach.refusal, undefined);
});
