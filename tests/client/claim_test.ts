/** Who holds a client ID: what is asked, who gives way, and when another takes over. */
import assert from "node:assert/strict";
import { Claim } from "../../lib/client/claim.ts";
import { HoldSeal } from "../../lib/seal/hold.ts";
import { binaryCodec } from "../../lib/wire/binary.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { FakeClock } from "../support/fake_clock.ts";
import {
  MemoryBroker,
  type MemoryBus,
  type SeenMessage,
} from "../support/memory_bus.ts";
import { KEYS, random, SUBJECTS } from "../support/shell_pair.ts";

const ASK = "p.data.to_client.edge7.hold.0";
const PATTERN = "p.data.to_client.edge7.>";

const OURS = new HoldSeal(KEYS.client);
const THEIRS = new HoldSeal(KEYS.server);

/** A process with the ID, as far as it matters here: it claims, and then subscribes. */
class Process implements Disposable {
  readonly bus: MemoryBus;
  readonly claim: Claim;
  holding = false;
  /** Answers to frames of a predecessor. */
  answers = 0;
  readonly #stop = new AbortController();
  #end = new DisposableStack();

  constructor(
    broker: MemoryBroker,
    clock: FakeClock,
    seal: HoldSeal | undefined,
  ) {
    this.bus = broker.connect();
    this.claim = new Claim({
      bus: this.bus,
      clock,
      subjects: SUBJECTS,
      token: "edge7",
      times: { peerTimeout: 10_000, resumeTimeout: 30_000 },
      random,
      seal,
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
  readonly #seal: HoldSeal | undefined;
  readonly #all = new DisposableStack();

  constructor(seal?: HoldSeal) {
    this.#seal = seal;
    this.broker.filter = (message) => {
      this.seen.push(message);
      return true;
    };
  }

  start(seal: HoldSeal | undefined = this.#seal): Process {
    return this.#all.use(new Process(this.broker, this.clock, seal));
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

/** A test without keys, and one of processes that share one. */
function bothWays(
  name: string,
  test: (make: () => Bench) => Promise<void>,
): void {
  Deno.test(name, () => test(() => new Bench()));
  Deno.test(`${name}, with a key`, () => test(() => new Bench(OURS)));
}

bothWays("Claim: an ID that nobody uses is held at once", async (make) => {
  using bench = make();
  const one = bench.start();
  await bench.wait();
  assert.ok(one.holding);
  assert.equal(one.claim.objection, undefined);
  assert.deepEqual(
    new Set(bench.seen.map(({ subject }) => subject)),
    new Set([ASK]),
  );
});

bothWays(
  "Claim: a second process waits, and has the ID at once when the first leaves",
  async (make) => {
    using bench = make();
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
  },
);

bothWays(
  "Claim: a holder that is gone without a word may come back for the peer time",
  async (make) => {
    using bench = make();
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
  },
);

bothWays(
  "Claim: whoever listens and says nothing delays the start, and no more",
  async (make) => {
    using bench = make();
    bench.other.subscribe(">", () => {});
    const one = bench.start();
    await bench.wait(1_800);
    assert.ok(!one.holding);
    await bench.wait(600);
    assert.ok(one.holding);
    assert.equal(one.claim.objection, undefined);
  },
);

bothWays(
  "Claim: where the question is refused nothing is waited for",
  async (make) => {
    using bench = make();
    const all = [bench.start(), bench.start()];
    for (const { bus } of all) bus.forbidden = (subject) => subject === ASK;
    await bench.wait(5_000);
    assert.ok(all.every(({ holding }) => holding));
    await bench.frame();
    assert.deepEqual(all.map(({ answers }) => answers), [1, 1]);
  },
);

bothWays(
  "Claim: of processes that start at one moment one holds the ID",
  async (make) => {
    for (let round = 0; round < 50; round++) {
      using bench = make();
      const all = [bench.start(), bench.start(), bench.start()];
      await bench.wait(5_000);
      assert.equal(all.filter(({ holding }) => holding).length, 1);
    }
  },
);

bothWays(
  "Claim: of two that could not hear each other the older goes on, and neither answers for the other",
  async (make) => {
    using bench = make();
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
  },
);

bothWays(
  "Claim: what an earlier process left is answered once nobody has objected",
  async (make) => {
    using bench = make();
    const one = bench.start();
    await bench.wait(5_000);
    await bench.frame();
    await bench.wait(100);
    await bench.frame();
    assert.equal(one.answers, 0);
    await bench.wait(1_000);
    assert.equal(one.answers, 2);
  },
);

bothWays("Claim: a wait ends with the bus, too", async (make) => {
  using bench = make();
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

/** What would make a holder give way that believed it. */
const FORGED: readonly Frame[] = [
  { type: "ping", id: 1, sent: 2 ** 40, ack: 0, limit: 0, resumed: true },
  ...[1, 2, 3, 4].map((id) =>
    ({
      type: "pong",
      id,
      sent: 2 ** 40,
      ack: 0,
      limit: 0,
      hold: false,
    }) as const
  ),
  { type: "reset", code: "shutdown", text: "forged" },
];

Deno.test("Claim: with a key nobody gives way to who does not have it", async () => {
  using bench = new Bench(OURS);
  const one = bench.start();
  await bench.wait(1_000);
  const [{ reply = "" } = {}] = bench.seen;
  for (const seal of [undefined, THEIRS]) {
    for (const frame of FORGED) {
      for (const subject of [ASK, reply]) {
        const back = frame.type === "ping"
          ? "p.data.to_client.edge7.hold.abc"
          : "";
        const plain = binaryCodec.encode("", frame);
        for (const about of [back, 0, 1, 2, 3]) {
          const message = seal?.seal(plain, { subject, about }) ?? plain;
          bench.other.publish(subject, message, { reply: back });
        }
      }
      await bench.wait(600);
      assert.ok(one.holding, JSON.stringify({ frame, sealed: !!seal }));
    }
  }
  // Another ID of the same name is no reason to wait, either.
  const two = bench.start(THEIRS);
  await bench.wait(3_000);
  assert.ok(one.holding && two.holding);
});

Deno.test("Claim: what was said under a key and is repeated makes nobody give way", async () => {
  using bench = new Bench(OURS);
  const replay = ({ subject, data }: SeenMessage, reply: string): boolean =>
    bench.other.publish(subject, {
      byteLength: data.length,
      encodeInto: (target, at) => target.set(data, at),
    }, { reply });
  const one = bench.start();
  await bench.wait(100_000);
  await bench.frame(); // makes it ask
  const patient = bench.start();
  await bench.wait(20_000);
  const two = bench.start();
  await bench.wait(3_000);
  // The questions of one as if they were of another, who comes to as many later.
  const questions = bench.seen.filter(({ subject }) => subject === ASK);
  const askers = [...new Set(questions.map(({ reply }) => reply))];
  assert.equal(askers.length, 3);
  for (const asker of askers) {
    for (const question of questions) replay(question, asker);
  }
  await bench.wait(1_000);
  patient[Symbol.dispose]();
  one.leave();
  await bench.wait(3_000);
  assert.ok(two.holding);
  const recorded = [...bench.seen];
  assert.ok(recorded.some(({ subject }) => subject !== ASK));
  for (let i = 0; i < 30; i++) {
    await bench.frame();
    for (const message of recorded) replay(message, message.reply);
    await bench.wait(600);
    assert.ok(two.holding);
  }
});
