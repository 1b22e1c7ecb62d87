import assert from "node:assert/strict";
import { RunError, UsageError } from "../../lib/base/errors.ts";
import type { Metric } from "../../lib/process/metric.ts";
import type { Look, Parts } from "../../lib/process/look.ts";
import { type Reloaded, Reloads } from "../../lib/process/reload.ts";
import type { Status } from "../../lib/process/status.ts";
import type {
  FromWorker,
  ToWorker,
} from "../../lib/process/worker_messages.ts";
import { runWorkers } from "../../lib/process/workers.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { parseRun } from "../support/option_values.ts";
import { part, tunnel } from "../support/snapshots.ts";

/** A worker that says what the test makes it say. */
class FakeThread extends EventTarget {
  readonly received: ToWorker[] = [];
  terminated = false;

  say(data: FromWorker): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  crash(message: string): void {
    this.dispatchEvent(new ErrorEvent("error", { message, cancelable: true }));
  }

  /** Called with each message that it is sent. */
  onTold: (message: ToWorker) => void = () => {};

  postMessage(message: ToWorker): void {
    this.received.push(message);
    this.onTold(message);
  }

  terminate(): void {
    this.terminated = true;
  }

  /** The types of the messages it was sent. */
  get told(): string[] {
    return this.received.map(({ type }) => type);
  }
}

/** The files that the main thread has read. */
const FILES = new Map([["./config.yaml", "workers: 2"]]);

/** What it has read of the files of keys. */
const KEYS = { seeds: ["SXA"], psk: undefined };

/** What the configuration of the start has of places to listen at. */
const FORWARDS = parseRun("client", ["-L", "4711:a:1", "-L", "/run/x.sock:a:1"])
  .config.client.forwards;

/** A supervisor of fake workers. */
class Stage {
  readonly threads: FakeThread[] = [];
  readonly drain = new AbortController();
  readonly now = new AbortController();
  readonly reloads = new Reloads();
  readonly clock = new FakeClock();
  asksToDrain = 0;
  #read: (() => Status) | undefined;
  #look: Look | undefined;
  readonly ended: Promise<void>;

  /** Its first worker has not started yet. */
  constructor(count = 2) {
    this.ended = runWorkers({
      role: "client",
      count,
      args: ["--workers", "2"],
      files: FILES,
      waysIn: FORWARDS,
      clock: this.clock,
      host: {
        stop: { drain: this.drain.signal, now: this.now.signal },
        pipes: new Map(),
        readAuth: () => ({ kind: "none" }),
        keys: KEYS,
        reloads: this.reloads,
        tunnelsByDescriptors: 101,
        askDrain: () => void this.asksToDrain++,
        showStatus: (read, look) => {
          this.#read = read;
          this.#look = look;
        },
        onStarted: () => {},
      },
      startThread: () => {
        const thread = new FakeThread();
        this.threads.push(thread);
        return thread;
      },
    });
  }

  /** A supervisor whose first worker listens at an address; the others are there. */
  static async started(count = 2): Promise<Stage> {
    const stage = new Stage(count);
    stage.thread(0).say(STARTED);
    await stage.settle();
    return stage;
  }

  /** Drains, and has all workers that run stop. */
  async stop(): Promise<void> {
    this.drain.abort();
    for (const thread of this.threads) {
      if (!thread.terminated) thread.say({ type: "stopped" });
    }
    await this.ended;
    assert.equal(this.clock.timers, 0);
  }

  /** What it shows. */
  status(): Status {
    assert.ok(this.#read);
    return this.#read();
  }

  /** What is found by whoever looks closer. */
  async look(): Promise<Parts> {
    assert.ok(this.#look);
    return await this.#look();
  }

  thread(at: number): FakeThread {
    const thread = this.threads[at];
    assert.ok(thread, `there is no worker ${at}`);
    return thread;
  }

  /** Lets promises run. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  }
}

const PLACES = [{ host: "127.0.0.1", port: 4711 }, { path: "/run/x.sock" }];
const STARTED: FromWorker = { type: "started", places: PLACES };

/** What a worker says of itself. */
function says(
  notReadyReason: string | undefined,
  metrics: Status["metrics"] = [],
): FromWorker {
  return { type: "status", status: { notReadyReason, metrics } };
}

Deno.test("runWorkers() gives the first worker's address to the others, and each its share of descriptors", async () => {
  const stage = new Stage(3);
  assert.equal(stage.threads.length, 1);
  stage.thread(0).say({ type: "started", places: PLACES });
  await stage.settle();
  assert.equal(stage.threads.length, 3);
  for (const at of [1, 2]) {
    const [start] = stage.thread(at).received;
    assert.ok(start?.type === "start");
    assert.deepEqual(start.places, PLACES);
    assert.equal(start.index, at + 1);
    assert.equal(start.count, 3);
    assert.equal(start.files, FILES);
    assert.equal(start.tunnelsByDescriptors, 33);
  }
  await stage.stop();
});

Deno.test("runWorkers() drains all workers as one and ends with the last", async () => {
  const stage = await Stage.started();
  stage.drain.abort();
  assert.deepEqual(stage.thread(0).told, ["start", "drain"]);
  assert.deepEqual(stage.thread(1).told, ["start", "drain"]);
  stage.now.abort();
  assert.equal(stage.thread(1).told.at(-1), "now");
  stage.thread(0).say({ type: "stopped" });
  let over = false;
  void stage.ended.then(() => over = true);
  await stage.settle();
  assert.equal(over, false);
  stage.thread(1).say({ type: "stopped" });
  await stage.ended;
  assert.ok(stage.threads.every(({ terminated }) => terminated));
});

Deno.test("runWorkers() starts a crashed worker again, at the same places", async () => {
  for (const at of [0, 1]) {
    const stage = await Stage.started();
    // The second has no Unix socket, but is told of the place, to count right.
    stage.thread(1).say({ type: "started", places: PLACES.slice(0, 1) });
    stage.thread(at).crash("out of luck");
    assert.ok(stage.thread(at).terminated);
    assert.equal(stage.threads.length, 2);
    await stage.clock.advance(10_000);
    assert.equal(stage.threads.length, 3);
    const [start] = stage.thread(2).received;
    assert.ok(start?.type === "start");
    assert.equal(start.index, at + 1);
    assert.deepEqual(start.places, PLACES);
    await stage.stop();
  }
});

Deno.test("runWorkers() logs where a worker's fault was thrown, and does not show it", async () => {
  using log = captureLog();
  const stage = await Stage.started();
  const text = "x is not a function";
  const stack = `TypeError: ${text}\n    at file:///x.ts:1:2`;
  stage.thread(0).say({ type: "failed", kind: "internal", text, stack });
  const [record] = log.records.filter(({ level }) => level === "error");
  assert.equal(record?.properties.why, text);
  assert.equal(record?.properties.stack, stack);
  assert.equal(stage.status().notReadyReason, text);
  await stage.stop();
});

Deno.test("runWorkers() starts no more workers once told to stop", async () => {
  const stage = new Stage();
  await stage.stop();
  assert.equal(stage.threads.length, 1);
});

Deno.test("runWorkers() does not start a crashed worker again while draining", async () => {
  const stage = await Stage.started();
  stage.thread(0).crash("first");
  stage.drain.abort();
  stage.thread(1).crash("second");
  await stage.ended;
  assert.equal(stage.threads.length, 2);
  assert.equal(stage.clock.timers, 0);
});

for (
  const [kind, type] of [["usage", UsageError], ["run", RunError]] as const
) {
  Deno.test(`runWorkers() ends when a worker cannot start: ${kind}`, async () => {
    const stage = new Stage();
    stage.thread(0).say({ type: "failed", kind, text: "port taken" });
    await assert.rejects(stage.ended, (error) => {
      assert.ok(error instanceof type);
      assert.equal(error.message, "port taken");
      return true;
    });
  });
}

Deno.test("runWorkers() starts a worker again that worked once, whatever it failed of", async () => {
  for (const kind of ["usage", "run"] as const) {
    const stage = await Stage.started();
    stage.thread(1).say(STARTED);
    stage.thread(1).say({ type: "failed", kind, text: "NATS is away" });
    await stage.clock.advance(10_000);
    assert.equal(stage.threads.length, 3);
    await stage.stop();
  }
});

Deno.test("runWorkers() keeps the counters of a worker that failed, and not its gauges", async () => {
  const stage = new Stage();
  const metric = (name: string, value: number): Metric => ({
    name,
    help: "",
    type: name === "t" ? "counter" : "gauge",
    of: name === "u" ? "least" : "sum",
    samples: [{ value }],
  });
  const status = (total: number, open: number, up: number): FromWorker =>
    says(undefined, [
      metric("t", total),
      metric("o", open),
      metric("u", up),
    ]);
  const shown = (): Record<string, number | undefined> =>
    Object.fromEntries(
      stage.status().metrics.map(({ name, samples }) => [
        name,
        samples[0]?.value,
      ]),
    );
  stage.thread(0).say(STARTED);
  await stage.settle();
  stage.thread(0).say(status(5, 2, 1));
  stage.thread(1).say(status(7, 3, 1));
  assert.deepEqual(shown(), { t: 12, o: 5, u: 1 });
  stage.thread(1).say(status(8, 3, 0));
  assert.deepEqual(shown(), { t: 13, o: 5, u: 0 });
  stage.thread(1).crash("out of luck");
  assert.deepEqual(shown(), { t: 13, o: 2, u: 1 });
  assert.equal(stage.status().workerFailures, 1);
  await stage.clock.advance(10_000);
  stage.thread(2).say(status(1, 1, 1));
  assert.deepEqual(shown(), { t: 14, o: 3, u: 1 });
  await stage.stop();
});

/** What it shows of a stage, as `/ready` says it. */
function detailsOf(stage: Stage): unknown {
  return JSON.parse(JSON.stringify(stage.status().details));
}

Deno.test("runWorkers() is ready while any worker is, and tells of each since when it is so and what went wrong last", async () => {
  const stage = new Stage();
  assert.equal(stage.status().notReadyReason, "starting");
  stage.thread(0).say(says(undefined));
  stage.thread(0).say(STARTED);
  await stage.settle();
  assert.equal(stage.status().notReadyReason, undefined);
  assert.deepEqual(detailsOf(stage), {
    workers: 2,
    ready: 1,
    each: [
      { worker: 1, status: "ready" },
      { worker: 2, status: "not ready", reason: "starting" },
    ],
  });
  const reason = "not connected to NATS";
  for (const [at, thread] of stage.threads.entries()) {
    thread.say({
      type: "status",
      status: {
        notReadyReason: reason,
        since: 2_000 - at,
        lastError: { text: `refused ${at}`, at: 3_000 + at },
        details: { destinations: 1 },
        metrics: [],
      },
    });
  }
  const { notReadyReason, since, lastError } = stage.status();
  assert.equal(notReadyReason, reason);
  // Since when no worker is, and what was told last.
  assert.deepEqual([since, lastError?.text], [2_000, "refused 1"]);
  assert.deepEqual(detailsOf(stage), {
    workers: 2,
    ready: 0,
    each: stage.threads.map((_, at) => ({
      worker: at + 1,
      status: "not ready",
      reason,
      since: new Date(2_000 - at).toISOString(),
      last_error: `refused ${at}`,
      last_error_at: new Date(3_000 + at).toISOString(),
      destinations: 1,
    })),
  });
  await stage.stop();
});

/** What is read anew, with these forwards. */
function anew(...forwards: readonly string[]): Reloaded {
  const args = forwards.flatMap((forward) => ["-L", forward]);
  const files = new Map([["./config.yaml", forwards.join()]]);
  const keys = { seeds: ["SXB"], psk: "c2VjcmV0" };
  return { config: parseRun("client", args).config, keys, files };
}

/** Has workers answer what they are told from now on. */
function answering(
  threads: readonly FakeThread[],
  answer: (at: number) => FromWorker = () => ({
    type: "prepared",
    tunnels: 2,
    places: undefined,
  }),
): void {
  for (const [at, thread] of threads.entries()) {
    thread.onTold = ({ type }) => {
      if (type === "prepare") thread.say(answer(at));
      if (type === "commit" || type === "abandon") thread.say({ type: "done" });
    };
  }
}

Deno.test("runWorkers() has all workers make ready, and then all take over, also one that starts later", async () => {
  using _log = captureLog();
  const stage = await Stage.started();
  answering(stage.threads);
  const reloaded = anew("4711:b:1", "127.0.0.1:0:c:1");
  const prepared = await stage.reloads.prepare(reloaded);
  assert.equal(prepared.tunnels, 4);
  const [told] = stage.thread(1).received.slice(-1);
  assert.ok(told?.type === "prepare");
  assert.deepEqual([told.files, told.keys], [reloaded.files, reloaded.keys]);
  // The main thread has found a port that is free for all of them.
  const [first, second] = told.places ?? [];
  assert.deepEqual(first, PLACES[0]);
  assert.ok(second && "port" in second && second.port > 0);
  await prepared.commit();
  assert.deepEqual(stage.thread(0).told, ["start", "prepare", "commit"]);
  stage.thread(0).crash("out of luck");
  await stage.clock.advance(10_000, () => stage.settle());
  // Like its siblings it has the options of the start.
  const [again] = stage.thread(2).received;
  assert.ok(again?.type === "start");
  assert.deepEqual([again.files, again.keys], [FILES, KEYS]);
  assert.deepEqual(again.reload?.files, reloaded.files);
  assert.deepEqual(again.reload?.places, told.places);
  await stage.stop();
});

Deno.test("runWorkers() has no worker take over what one refuses, or does not answer", async () => {
  using _log = captureLog();
  for (const silent of [false, true]) {
    const stage = await Stage.started();
    answering(
      stage.threads,
      (at) =>
        at === 0
          ? { type: "prepared", tunnels: 0, places: undefined }
          : { type: "refused", kind: "run", text: "no port" },
    );
    if (silent) {
      stage.thread(1).onTold = ({ type }) => {
        if (type === "abandon") stage.thread(1).say({ type: "done" });
      };
    }
    const refused = assert.rejects(
      stage.reloads.prepare(anew("4711:b:1")),
      silent ? /worker 2 does not answer within 15000 ms/ : /no port/,
    );
    await stage.settle();
    await stage.clock.advance(15_000, () => stage.settle());
    await refused;
    assert.deepEqual(stage.thread(0).told, ["start", "prepare", "abandon"]);
    assert.equal(stage.reloads.latest, undefined);
    await stage.stop();
  }
});

Deno.test("runWorkers() starts a crashed worker again only when a reload is over, with what came of it", async () => {
  using _log = captureLog();
  for (const end of ["commit", "abandon"] as const) {
    const stage = await Stage.started();
    answering(stage.threads);
    const reloaded = anew("4711:b:1");
    const prepared = await stage.reloads.prepare(reloaded);
    stage.thread(1).crash("out of luck");
    await stage.clock.advance(10_000, () => stage.settle());
    assert.equal(stage.threads.length, 2);
    await prepared[end]();
    assert.equal(stage.threads.length, 3);
    const [start] = stage.thread(2).received;
    assert.ok(start?.type === "start");
    assert.equal(
      start.reload?.files,
      end === "commit" ? reloaded.files : undefined,
    );
    await stage.stop();
  }
});

Deno.test("runWorkers() asks each worker of whoever looks closer, and waits for none that is busy", async () => {
  const stage = await Stage.started();
  const answer = (at: number, id: string): void => {
    const thread = stage.thread(at);
    thread.onTold = (message) => {
      if (message.type !== "look") return;
      const { number } = message;
      // Answers to others, and late ones, are no matter.
      const late = part({}, [tunnel({ id: "late" })]);
      thread.say({ type: "part", number: number - 1, part: late });
      thread.say({ type: "part", number, part: part({}, [tunnel({ id })]) });
    };
  };
  answer(0, "a");
  answer(1, "b");
  const rows = ({ parts }: Parts): unknown[] =>
    parts.flatMap(({ tunnels: { rows } }) =>
      rows.map(({ id, worker }) => [id, worker])
    );
  const both = await stage.look();
  assert.deepEqual(rows(both), [["a", 1], ["b", 2]]);
  assert.deepEqual(both.silentWorkers, []);
  stage.thread(1).onTold = () => {};
  const looking = stage.look();
  await stage.clock.advance(600);
  const one = await looking;
  assert.deepEqual(rows(one), [["a", 1]]);
  assert.deepEqual(one.silentWorkers, [2]);
  // One that has failed says why, and is not waited for.
  stage.thread(1).crash("out of luck");
  const { parts } = await stage.look();
  assert.deepEqual(parts.map(({ notReady }) => notReady), [
    undefined,
    "out of luck",
  ]);
  await stage.stop();
});

Deno.test("runWorkers() tells of a worker that says nothing, which hangs, and of none that is about to start again", async () => {
  using _log = captureLog();
  const stage = await Stage.started();
  const speak = (at: number): void =>
    stage.thread(at).say({
      type: "status",
      status: {
        ...{ notReadyReason: undefined, metrics: [] },
        ...{ tunnels: 2, brokers: ["a:1"] },
      },
    });
  for (let i = 0; i < 20; i++) {
    await stage.clock.advance(500);
    speak(0);
    speak(1);
    assert.equal(stage.status().hung, undefined);
  }
  assert.equal(stage.status().tunnels, 4);
  assert.deepEqual(stage.status().brokers, ["a:1"]);
  for (let i = 0; i < 11; i++) {
    await stage.clock.advance(500);
    speak(0);
  }
  assert.equal(
    stage.status().hung,
    "worker 2 has said nothing for 5.5s",
  );
  stage.thread(1).crash("out of luck");
  assert.equal(stage.status().hung, undefined);
  assert.equal(stage.status().tunnels, 2);
  await stage.stop();
});

Deno.test("workers: one that an operator has drain asks for the whole process", async () => {
  const stage = await Stage.started();
  stage.thread(1).say(STARTED);
  stage.thread(1).say({ type: "drain" });
  assert.equal(stage.asksToDrain, 1);
  await stage.stop();
});
