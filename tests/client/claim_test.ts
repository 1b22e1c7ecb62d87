/** Who holds a client ID: what is asked, who gives way, and when another takes over. */
import assert from "node:assert/strict";
import { Claim } from "../../lib/client/claim.ts";
import { FakeClock } from "../support/fake_clock.ts";
import {
  MemoryBroker,
  type MemoryBus,
  type SeenMessage,
} from "../support/memory_bus.ts";
import { random, SUBJECTS } from "../support/shell_pair.ts";

const ASK = "p.data.to_client.edge7.hold.0";
const PATTERN = "p.data.to_client.edge7.>";

/** A process with the ID, as far as it matters here: it claims, and then subscribes. */
class Process implements Disposable {
  readonly bus: MemoryBus;
  readonly claim: Claim;
  holding = false;
  /** Answers to frames of a predecessor. */
  answers = 0;
  readonly #stop = new AbortController();
  #end = new DisposableStack();

  constructor(broker: MemoryBroker, clock: FakeClock) {
    this.bus = broker.connect();
    this.claim = new Claim({
      bus: this.bus,
      clock,
      subjects: SUBJECTS,
      token: "edge7",
      times: { peerTimeout: 10_000, resumeTimeout: 30_000 },
      random,
    });
    void this.#run();
  }

  /** Leaves in order. */
  leave(): void {
    this.claim.leave();
    this[Symbol.dispose]();
  }

  /** Is gone from one moment to the next. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.claim[Symbol.dispose]();
    this.#end[Symbol.dispose]();
    void this.bus.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.claim.acquire(signal);
      } catch {
        return; // stopped
      }
      this.#end.use(this.bus.subscribe(PATTERN, (message) => {
        const [kind, number = ""] = message.subject.split(".").slice(4);
        if (kind === "hold") {
          this.claim.receive(parseInt(number, 36), message);
        } else this.claim.whenAlone(() => this.answers++);
      }));
      this.holding = true;
      const lost = this.claim.hold();
      await new Promise((resolve) => lost.addEventListener("abort", resolve));
      this.holding = false;
      this.#end[Symbol.dispose]();
      this.#end = new DisposableStack();
    }
  }
}

/** Processes with one ID on one broker. */
class Bench implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly other = this.broker.connect();
  readonly seen: SeenMessage[] = [];
  readonly #all = new DisposableStack();

  constructor() {
    this.broker.filter = (message) => {
      this.seen.push(message);
      return true;
    };
  }

  start(): Process {
    return this.#all.use(new Process(this.broker, this.clock));
  }

  async wait(ms = 0): Promise<void> {
    await this.broker.settled();
    await this.clock.advance(ms, () => this.broker.settled());
  }

  /** Something for a tunnel of nobody here. */
  async frame(): Promise<void> {
    this.other.publish("p.data.to_client.edge7.server1.5", {
      byteLength: 0,
      encodeInto: () => {},
    });
    await this.broker.settled();
  }

  [Symbol.dispose](): void {
    this.#all[Symbol.dispose]();
  }
}

Deno.test("Claim: an ID that nobody uses is held at once", async () => {
  using bench = new Bench();
  const one = bench.start();
  await bench.wait();
  assert.ok(one.holding);
  assert.equal(one.claim.objection, undefined);
  assert.deepEqual(
    new Set(bench.seen.map(({ subject }) => subject)),
    new Set([ASK]),
  );
});

Deno.test("Claim: a second process waits, and has the ID at once when the first leaves", async () => {
  using bench = new Bench();
  const one = bench.start();
  await bench.wait(60_000);
  const two = bench.start();
  await bench.wait(60_000);
  assert.ok(one.holding && !two.holding);
  assert.match(
    two.claim.objection ?? "",
    /--client-id edge7 is used by another process/,
  );
  one.leave();
  await bench.wait(1_000);
  assert.ok(two.holding);
  assert.equal(two.claim.objection, undefined);
});

Deno.test("Claim: a holder that is gone without a word may come back for the peer time", async () => {
  using bench = new Bench();
  const one = bench.start();
  await bench.wait(60_000);
  const two = bench.start();
  await bench.wait(1_000);
  one.bus.cut();
  await bench.wait(9_000);
  one.bus.restore();
  await bench.wait(5_000);
  assert.ok(one.holding && !two.holding);
  one.bus.cut();
  await bench.wait(13_000);
  assert.ok(two.holding);
  one.bus.restore();
  await bench.wait(1_000);
  assert.ok(two.holding && !one.holding);
});

Deno.test("Claim: whoever listens and says nothing delays the start, and no more", async () => {
  using bench = new Bench();
  bench.other.subscribe(">", () => {});
  const one = bench.start();
  await bench.wait(1_800);
  assert.ok(!one.holding);
  await bench.wait(600);
  assert.ok(one.holding);
  assert.equal(one.claim.objection, undefined);
});

Deno.test("Claim: where the question is refused nothing is waited for", async () => {
  using bench = new Bench();
  const all = [bench.start(), bench.start()];
  for (const { bus } of all) bus.forbidden = (subject) => subject === ASK;
  await bench.wait(5_000);
  assert.ok(all.every(({ holding }) => holding));
  await bench.frame();
  assert.deepEqual(all.map(({ answers }) => answers), [1, 1]);
});

Deno.test("Claim: of processes that start at one moment one holds the ID", async () => {
  for (let round = 0; round < 50; round++) {
    using bench = new Bench();
    const all = [bench.start(), bench.start(), bench.start()];
    await bench.wait(5_000);
    assert.equal(all.filter(({ holding }) => holding).length, 1);
  }
});

Deno.test("Claim: of two that could not hear each other the older goes on, and neither answers for the other", async () => {
  using bench = new Bench();
  const one = bench.start();
  await bench.wait(5_000);
  bench.broker.filter = () => false;
  const two = bench.start();
  await bench.wait(5_000);
  assert.ok(one.holding && two.holding);
  bench.broker.filter = () => true;
  await bench.frame();
  await bench.wait(3_000);
  assert.ok(one.holding && !two.holding);
  assert.equal(two.answers, 0);
  assert.equal(one.answers, 1);
});

Deno.test("Claim: what an earlier process left is answered once nobody has objected", async () => {
  using bench = new Bench();
  const one = bench.start();
  await bench.wait(5_000);
  await bench.frame();
  await bench.wait(100);
  await bench.frame();
  assert.equal(one.answers, 0);
  await bench.wait(1_000);
  assert.equal(one.answers, 2);
});

Deno.test("Claim: a wait ends with the bus, too", async () => {
  using bench = new Bench();
  bench.start();
  await bench.wait();
  const two = bench.start();
  await bench.wait(1_000);
  await two.bus.close();
  await bench.wait(3_000);
  assert.ok(two.holding);
});

Deno.test("Claim: a wait ends with the signal", async () => {
  using bench = new Bench();
  bench.start();
  await bench.wait();
  const bus = bench.broker.connect();
  using claim = new Claim({
    bus,
    clock: bench.clock,
    subjects: SUBJECTS,
    token: "edge7",
    times: { peerTimeout: 10_000, resumeTimeout: 30_000 },
    random,
  });
  const stop = new AbortController();
  const waiting = claim.acquire(stop.signal);
  await bench.wait(3_000);
  stop.abort(new Error("stop"));
  await assert.rejects(waiting, /stop/);
  assert.equal(bench.broker.subscriptions, 1);
});
