/**
 * Tells the service manager that started this process, which is systemd or
 * speaks like it, how it is: ready, reloading, stopping, alive, and what goes
 * on.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Clock, systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { DatagramSender } from "../net/datagrams.ts";
import {
  parseSupervision,
  reloadingMessage,
  type ServiceEnvironment,
  type Standing,
  statusLine,
  stoppingMessage,
  type Supervision,
} from "./notify_messages.ts";
import type { StopSignals } from "./signals.ts";
import type { Status } from "./status.ts";

const log = getLogger(["sproxy", "service"]);

/** Time between two looks at what goes on, in ms: a manager need not hear more often. */
const STATUS_MS = 1_000;

/**
 * Messages that wait for a manager which does not read, at most; its socket
 * holds some hundred beside. Each is of a start, reload or end.
 */
const MAX_WAITING = 16;

/** How long the last of them may take at the end, in ms: it goes to a process of this machine. */
const GOODBYE_MS = 200;

/** What a manager is told of. */
export interface ServiceManagerOptions {
  /** What it asks for. */
  readonly supervision: Supervision;
  /** How the process is now. */
  readonly read: () => Status;
  /** How long open tunnels may go on at the end, in ms. */
  readonly drainTimeout: number;
  /** Sends messages, and is disposed of at the end. */
  readonly sender: Pick<DatagramSender, "send"> & Disposable;
  /** Seconds since the machine was started, rounded up; undefined where that may not be known. */
  readonly uptime: () => number | undefined;
  /** Where the time comes from. */
  readonly clock: Clock;
}

/** What a service manager is told, until disposed. */
export class ServiceManager implements AsyncDisposable {
  readonly #options: ServiceManagerOptions;
  readonly #timers = new Map<string, Disposable>();
  #phase: Standing["phase"] = "starting";
  #reloadFailed = false;
  #shown = "";
  #waiting = 0;
  #sending: Promise<void> = Promise.resolve();
  #fails = false;
  #hung = false;

  /** It is told that the process lives, and what goes on, from now on. */
  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    const { watchdogMs } = options.supervision;
    this.#every("status", STATUS_MS, () => this.#showStatus());
    if (watchdogMs === undefined) return;
    this.#every("watchdog", watchdogMs / 2, () => this.#live());
  }

  /** The process works from now on. */
  ready(): void {
    if (this.#phase === "stopping") return;
    this.#phase = "working";
    this.#tell("READY=1");
  }

  /** A reload has begun. */
  reloading(): void {
    // Until it is ready a manager asks for none, and would take the end for readiness.
    if (this.#phase !== "working") return;
    this.#send(reloadingMessage(this.#options.uptime()));
  }

  /** It has ended; `failed` when all is as it was. */
  reloaded(failed: boolean): void {
    this.#reloadFailed = failed;
    if (this.#phase === "working") this.#tell("READY=1");
  }

  /** The process ends when it is told so by `stop`. */
  endsAt({ drain }: Pick<StopSignals, "drain">): void {
    const stopping = (): void => {
      this.#phase = "stopping";
      this.#tell(stoppingMessage(this.#options.drainTimeout));
    };
    if (drain.aborted) stopping();
    else drain.addEventListener("abort", stopping, { once: true });
  }

  /** It is told nothing any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers.values()) timer[Symbol.dispose]();
    this.#timers.clear();
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = this.#options.clock.after(GOODBYE_MS, resolve);
    await Promise.race([this.#sending, promise]);
    // What is under way fails then, of which nobody needs to know.
    this.#fails = true;
    this.#options.sender[Symbol.dispose]();
  }

  /** Says that the process lives, if its workers do. */
  #live(): void {
    const { hung } = this.#options.read();
    if (hung === undefined) {
      if (this.#waiting === 0) this.#send("WATCHDOG=1");
    } else if (!this.#hung) {
      log.error("the service manager is not told that the process lives", {
        why: hung,
      });
    }
    this.#hung = hung !== undefined;
  }

  /** Shows what goes on, if that has changed. */
  #showStatus(): void {
    if (this.#waiting === 0 && this.#line() !== this.#shown) this.#tell();
  }

  /** Sends `message`, if any, with what goes on. */
  #tell(message?: string): void {
    this.#shown = this.#line();
    const status = `STATUS=${this.#shown}`;
    this.#send(message === undefined ? status : `${message}\n${status}`);
  }

  #line(): string {
    const { notReadyReason, brokers = [], tunnels = 0, details } = this.#options
      .read();
    const { workers: all, ready } = details ?? {};
    return statusLine({
      phase: this.#phase,
      ...{ notReadyReason, brokers, tunnels },
      reloadFailed: this.#reloadFailed,
      ...(all !== undefined && ready !== undefined && {
        workers: { ready, all },
      }),
    });
  }

  #send(message: string): void {
    if (this.#waiting >= MAX_WAITING) return;
    this.#waiting++;
    this.#sending = this.#sending.then(() => this.#sendNow(message));
  }

  /** It never rejects. */
  async #sendNow(message: string): Promise<void> {
    try {
      await this.#options.sender.send(message);
      this.#fails = false;
    } catch (error) {
      // What it misses is told with the next change.
      this.#shown = "";
      if (!this.#fails) {
        log.warn("the service manager cannot be told how the process is", {
          why: messageOf(error),
          socket: this.#options.supervision.path.replace(/^\0/, "@"),
        });
      }
      this.#fails = true;
    } finally {
      this.#waiting--;
    }
  }

  #every(name: string, ms: number, action: () => void): void {
    const again = (): void => {
      this.#timers.set(name, this.#options.clock.after(ms, again));
      action();
    };
    this.#timers.set(name, this.#options.clock.after(ms, again));
  }
}

/**
 * Begins to tell the manager that `environment` names; what keeps it from that
 * is logged, and no reason not to work.
 */
export function openServiceManager(
  environment: ServiceEnvironment,
  options: Pick<ServiceManagerOptions, "read" | "drainTimeout">,
): ServiceManager | undefined {
  const { supervision, problems } = parseSupervision(environment, Deno.pid);
  for (const why of problems) {
    log.warn("the service manager is not understood", { why });
  }
  if (supervision === undefined) return undefined;
  try {
    const sender = new DatagramSender(supervision.path);
    return new ServiceManager({
      ...{ ...options, supervision, sender, uptime },
      clock: systemClock,
    });
  } catch (error) {
    log.warn("the service manager cannot be told how the process is", {
      why: messageOf(error),
      socket: environment.notifySocket,
    });
    return undefined;
  }
}

/** Seconds since the machine was started, which Linux rounds up; undefined without the permission. */
function uptime(): number | undefined {
  const kind = { name: "sys", kind: "osUptime" } as const;
  const { state } = Deno.permissions.querySync(kind);
  return state === "granted" ? Deno.osUptime() : undefined;
}
