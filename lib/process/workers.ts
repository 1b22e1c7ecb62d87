/**
 * Several workers of one role in one process: started, watched, started again
 * when they fail, drained as one, and shown as one.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { backoffDelay } from "../base/backoff.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { RunError, UsageError } from "../base/errors.ts";
import { formatDuration } from "../base/units.ts";
import type { Place } from "../base/place.ts";
import type { WayIn } from "../config/ways_in.ts";
import type { Role } from "../wire/subjects.ts";
import type { ReadFiles } from "../config/sources.ts";
import type { RoleHost } from "./role_host.ts";
import { emptyPart, ofWorker } from "../status/merge.ts";
import type { Part } from "../status/snapshot.ts";
import type { Parts } from "./look.ts";
import type { Metric } from "./metric.ts";
import { lasting, sumMetrics } from "./metrics_sum.ts";
import { readinessOf, type Status } from "./status.ts";
import type { FromWorker, ToWorker, WorkerFailure } from "./worker_messages.ts";
import {
  type ReloadingWorker,
  type WorkerAnswer,
  WorkerReload,
} from "./worker_reload.ts";

const log = getLogger(["sproxy", "workers"]);

/** Pause before a failed worker starts again, in ms. */
const RESTART = { base: 100, cap: 10_000 } as const;

/** How long a worker may take to make a reload ready, in ms: lookups of names to listen at are given up after five seconds. */
const ANSWER_MS = 15_000;

/** How long a worker may take to answer a look, in ms: one that is busy is left out, and what the others tell is fresh. */
const LOOK_MS = 600;

/**
 * A worker that says nothing for so long hangs, in ms: it tells its status
 * twice a second, and takes a second or two to start on a busy machine.
 */
const HUNG_MS = 5_000;

/** A worker that lived so long failed for a new reason: the pause is short again, in ms. */
const STABLE_MS = 30_000;

/** The part of a `Worker` that matters here. */
export type WorkerThread = Pick<
  Worker,
  "addEventListener" | "postMessage" | "terminate"
>;

/** What {@linkcode runWorkers} is told. */
export interface WorkersOptions {
  /** Which role. */
  readonly role: Role;
  /** How many workers. */
  readonly count: number;
  /** The command line. */
  readonly args: readonly string[];
  /** The files read for the configuration. */
  readonly files: ReadFiles;
  /** A client's ways in. */
  readonly waysIn: readonly WayIn[];
  /** What the role is run in. */
  readonly host: RoleHost;
  /** Where the time comes from; default the system's. */
  readonly clock?: Clock;
  /** Starts a worker; default a thread of this program. */
  readonly startThread?: (name: string) => WorkerThread;
}

/**
 * Runs `count` workers until told to stop.
 *
 * @throws {UsageError | RunError} when one cannot start.
 */
export async function runWorkers(options: WorkersOptions): Promise<void> {
  const { count, host, clock = systemClock } = options;
  const slots: Slot[] = [];
  const reload = new WorkerReload(slots, options.waysIn);
  host.reloads.join(reload);
  const slotOptions = { ...options, reload };
  // The first one finds the ports that are free to choose; the others share them.
  const first = new Slot(1, slotOptions);
  slots.push(first);
  host.showStatus(
    () => statusOfAll(slots, count, clock.now()),
    () => lookAtAll(slots),
  );
  const places = await first.started.promise;
  if (!host.stop.drain.aborted) {
    for (let index = 2; index <= count; index++) {
      slots.push(new Slot(index, slotOptions));
    }
    await Promise.all(slots.map(({ started }) => started.promise));
    host.onStarted(places);
    log.info("workers started", { count });
  }
  await Promise.all(slots.map(({ ended }) => ended.promise));
}

/** What a slot is told. */
interface SlotOptions extends WorkersOptions {
  /** Carries to all of them what is read anew. */
  readonly reload: WorkerReload;
}

/** The place of one worker, filled again when it fails. */
class Slot implements ReloadingWorker {
  /** Resolves when the worker works, with the client's places to listen at; also when it ends before. */
  readonly started = Promise.withResolvers<
    readonly Place[] | undefined
  >();
  /** Resolves when the worker has stopped for good. */
  readonly ended = Promise.withResolvers<void>();
  /** What it says of itself beside its metrics. */
  status: Omit<Status, "metrics"> = { notReadyReason: "starting" };
  /** How often its worker failed. */
  failures = 0;
  /** Metrics of the worker that runs. */
  #present: readonly Metric[] = [];
  /** What it is connected to, and tunnels open there. */
  shown: Pick<Status, "brokers" | "tunnels"> = {};
  #heardAt = 0;
  /** What counts of those that failed. */
  #past: readonly Metric[] = [];
  /** Its number, from 1. */
  readonly index: number;
  readonly #clock: Clock;
  readonly #options: SlotOptions;
  #worker: WorkerThread | undefined;
  #hasWorked = false;
  #startedAt = 0;
  #failures = 0;
  #restart: Disposable | undefined;

  /** The looks that wait for an answer, by their numbers. */
  readonly #looks = new Map<number, (part: Part | undefined) => void>();
  #lastLook = 0;

  /** Takes the answer of a worker that makes ready. */
  #onAnswer: ((answer: WorkerAnswer | undefined) => void) | undefined;

  constructor(index: number, options: SlotOptions) {
    this.index = index;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    // A failure reaches the one of the two that is waited for.
    this.started.promise.catch(() => {});
    this.ended.promise.catch(() => {});
    const { drain, now } = options.host.stop;
    drain.addEventListener("abort", () => this.#stop("drain"), { once: true });
    now.addEventListener("abort", () => this.#stop("now"), { once: true });
    this.#restart = options.reload.whenIdle(() => this.#spawn());
    if (this.#worker !== undefined) this.#restart = undefined;
  }

  /** What all workers of this place come to. */
  get metrics(): readonly Metric[] {
    return sumMetrics([this.#past, this.#present]);
  }

  /** What the worker tells whoever looks closer; undefined where it does not in time. */
  async look(): Promise<Part | undefined> {
    if (this.#worker === undefined) {
      return emptyPart(this.status.notReadyReason ?? "starting");
    }
    const number = ++this.#lastLook;
    const { promise, resolve } = Promise.withResolvers<Part | undefined>();
    this.#looks.set(number, resolve);
    using _timer = this.#clock.after(LOOK_MS, () => resolve(undefined));
    this.#tell({ type: "look", number });
    try {
      return await promise;
    } finally {
      this.#looks.delete(number);
    }
  }

  /** Why this worker seems to hang; undefined while it speaks, and when none runs. */
  hungAt(now: number): string | undefined {
    const ms = now - this.#heardAt;
    return this.#worker === undefined || ms <= HUNG_MS
      ? undefined
      : `worker ${this.index} has said nothing for ${formatDuration(ms)}`;
  }

  #spawn(): void {
    const {
      role,
      args,
      files,
      count,
      host,
      reload,
      startThread = startWorker,
    } = this.#options;
    this.#restart = undefined;
    this.#startedAt = this.#clock.now();
    this.#heardAt = this.#startedAt;
    const worker = startThread(`${role} ${this.index}`);
    worker.addEventListener("message", ({ data }) => this.#onMessage(data));
    worker.addEventListener("error", (event) => {
      event.preventDefault(); // it is handled: the worker starts again
      this.#onFailed({ kind: "internal", text: event.message });
    });
    this.#worker = worker;
    const index = this.index;
    const { pipes, keys } = host;
    this.#tell({
      type: "start",
      args,
      files,
      pipes,
      keys,
      index,
      count,
      places: reload.places,
      reload: reload.latestFor(this),
      tunnelsByDescriptors: this.share(host.tunnelsByDescriptors),
      maxStrangers: this.share(host.maxStrangers),
    });
  }

  /** Its share of what the process may have. */
  share(all: number | undefined): number | undefined {
    const { count } = this.#options;
    return all === undefined ? undefined : Math.max(1, Math.floor(all / count));
  }

  /** Sends a message to the worker, if one runs, and waits for its answer. */
  async ask(message: ToWorker): Promise<WorkerAnswer | undefined> {
    if (this.#worker === undefined) return undefined;
    const { promise, resolve } = Promise.withResolvers<
      WorkerAnswer | undefined
    >();
    this.#onAnswer = resolve;
    using _timer = this.#clock.after(ANSWER_MS, () => {
      const text =
        `worker ${this.index} does not answer within ${ANSWER_MS} ms`;
      resolve({ type: "refused", kind: "run", text });
    });
    this.#tell(message);
    try {
      return await promise;
    } finally {
      this.#onAnswer = undefined;
    }
  }

  /** Sends a message to the worker, if one runs. */
  #tell(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  #onMessage(message: FromWorker): void {
    this.#heardAt = this.#clock.now();
    switch (message.type) {
      case "started":
        this.#options.reload.places ??= message.places;
        this.#hasWorked = true;
        this.started.resolve(message.places);
        break;
      case "status":
        ({ metrics: this.#present, ...this.status } = message.status);
        this.shown = message.status;
        break;
      case "part":
        this.#looks.get(message.number)?.(message.part);
        break;
      case "prepared":
      case "refused":
      case "done":
        this.#onAnswer?.(message);
        break;
      case "drain":
        this.#options.host.askDrain();
        break;
      case "stopped":
        this.#finish();
        break;
      case "failed":
        this.#onFailed(message);
    }
  }

  #onFailed({ kind, text, stack }: WorkerFailure): void {
    const { drain } = this.#options.host.stop;
    const about = { worker: this.index, why: text, stack };
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#onAnswer?.(undefined);
    const at = Date.now();
    this.status = {
      notReadyReason: text,
      since: at,
      lastError: { text, at },
    };
    this.#past = sumMetrics([this.#past, lasting(this.#present)]);
    this.#present = [];
    this.shown = {};
    if (this.#restart !== undefined) return; // it failed once already
    this.failures++;
    if (drain.aborted) {
      log.error("worker failed while stopping", about);
      this.#finish();
    } else if (kind !== "internal" && !this.#hasWorked) {
      const error = new (kind === "usage" ? UsageError : RunError)(text);
      this.started.reject(error);
      this.ended.reject(error);
    } else {
      const lived = this.#clock.now() - this.#startedAt;
      this.#failures = lived > STABLE_MS ? 0 : this.#failures;
      const delay = backoffDelay(this.#failures++, {
        ...RESTART,
        random: Math.random,
      });
      log.error("worker failed; it starts again", {
        ...about,
        ms: Math.round(delay),
      });
      this.#restart = this.#clock.after(delay, () => {
        const waiting = this.#options.reload.whenIdle(() => this.#spawn());
        if (this.#worker === undefined) this.#restart = waiting;
      });
    }
  }

  #stop(type: "drain" | "now"): void {
    if (this.#restart !== undefined) {
      this.#restart[Symbol.dispose]();
      this.#finish();
    } else this.#tell({ type });
  }

  #finish(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#onAnswer?.(undefined);
    this.started.resolve(undefined);
    this.ended.resolve();
  }
}

/** A thread of this program, which finds out that it is a worker. */
function startWorker(name: string): WorkerThread {
  return new Worker(Deno.mainModule, { type: "module", name });
}

/** What all workers tell who looks closer, at once. */
async function lookAtAll(slots: readonly Slot[]): Promise<Parts> {
  const told = await Promise.all(slots.map(async (slot) => {
    const { index } = slot;
    return { index, part: await slot.look() };
  }));
  return {
    parts: told.flatMap(({ index, part }) => part ? ofWorker(part, index) : []),
    silentWorkers: told.filter(({ part }) => part === undefined)
      .map(({ index }) => index),
  };
}

/**
 * Ready while any worker is: the others' share goes to it. Ready since the first
 * of those that are, not ready since the last one ceased to be.
 */
function statusOfAll(
  slots: readonly Slot[],
  workers: number,
  now: number,
): Status {
  const all = slots.map(({ status }) => status);
  const ready = all.filter(({ notReadyReason }) =>
    notReadyReason === undefined
  );
  const bySince = (ready.length > 0 ? ready : all)
    .toSorted((a, b) => (a.since ?? Infinity) - (b.since ?? Infinity));
  const first = ready.length > 0 ? bySince[0] : bySince.at(-1);
  const [latest] = all.flatMap(({ lastError }) => lastError ?? [])
    .toSorted((a, b) => b.at - a.at);
  const brokers = slots.flatMap(({ shown }) => shown.brokers ?? []);
  return {
    notReadyReason: ready.length > 0 ? undefined : all[0]?.notReadyReason,
    since: first?.since,
    lastError: latest,
    details: {
      workers,
      ready: ready.length,
      each: slots.map(({ index, status }) => ({
        worker: index,
        ...readinessOf(status),
        ...status.details,
      })),
    },
    workerFailures: slots.reduce((sum, { failures }) => sum + failures, 0),
    tunnels: slots.reduce(
      (sum, { shown: { tunnels = 0 } }) => sum + tunnels,
      0,
    ),
    brokers: [...new Set(brokers)],
    hung: slots.map((slot) => slot.hungAt(now)).find((why) =>
      why !== undefined
    ),
    get metrics() {
      return sumMetrics(slots.map(({ metrics }) => metrics));
    },
  };
}
