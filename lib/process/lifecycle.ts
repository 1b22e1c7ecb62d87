/**
 * What both roles do around their tunnels: limits from the configuration,
 * status, and the orderly end.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Address } from "../base/address.ts";
import type { Bus } from "../nats/bus.ts";
import { systemClock } from "../base/clock.ts";
import type { CommonConfig, NatsConfig } from "../config/config.ts";
import { RunError } from "../base/errors.ts";
import type { NatsBus } from "../nats/connection.ts";
import { openNats } from "./connect.ts";
import type { Role } from "../config/options.ts";
import { collectMetrics } from "./metrics.ts";
import type { Session, SessionOptions } from "../session/session.ts";
import type { Readiness, StatusSource } from "./status_http.ts";
import type { Metric } from "./prometheus.ts";
import { Subjects } from "../wire/subjects.ts";
import { formatDuration } from "../base/units.ts";

/** How the process is told to end. */
export interface StopSignals {
  /** Take nothing new, let open tunnels finish. */
  readonly drain: AbortSignal;
  /** End at once. */
  readonly now: AbortSignal;
}

/** Whether `error` is only the word that the process is to end. */
export function isStop(error: unknown, stop: StopSignals): boolean {
  return [stop.drain, stop.now].some((signal) =>
    signal.aborted && error === signal.reason
  );
}

/** What a role is run in: a process of its own, or a worker of one. */
export interface RoleHost {
  /** How it is told to end. */
  readonly stop: StopSignals;
  /** Shows its status from now on. */
  showStatus(source: StatusSource): void;
  /** It works; a client accepts connections at this address. */
  onStarted(address?: Address): void;
}

/** How long the last frames may take to reach NATS at the end, in ms. */
const GOODBYE_MS = 2_000;

/** The same when the process is told to end at once: what a live broker needs, in ms. */
const HURRIED_MS = 100;

/** Random bytes nobody can guess. */
export function random(bytes: Uint8Array): Uint8Array {
  return crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
}

/** The part of a session's options that comes from the configuration. */
export function sessionOptions(
  config: CommonConfig,
): Pick<
  SessionOptions,
  | "clock"
  | "subjects"
  | "times"
  | "maxWindow"
  | "memoryBudget"
  | "idleTimeout"
  | "halfCloseTimeout"
  | "maxTunnels"
> {
  const { nats, tunnel } = config;
  return {
    clock: systemClock,
    subjects: new Subjects({
      request: nats.requestSubject,
      prefix: nats.dataPrefix,
    }),
    times: {
      pingInterval: tunnel.peerPingInterval,
      peerTimeout: tunnel.peerTimeout,
      resumeTimeout: tunnel.resumeTimeout,
    },
    maxWindow: tunnel.window,
    memoryBudget: tunnel.memoryBudget,
    idleTimeout: tunnel.idleTimeout,
    halfCloseTimeout: tunnel.halfCloseTimeout,
    maxTunnels: tunnel.max,
  };
}

/** What a process can say of itself while it starts, works and drains. */
export class StatusBoard {
  /** The bus, once there is one. */
  bus: Bus | undefined;
  /** Whether the process no longer takes new tunnels. */
  draining = false;
  /** What keeps the process from its work though NATS is connected. */
  obstacle: string | undefined;
  /** Whether start-up is complete. */
  started = false;

  /** Whether new tunnels can be opened. */
  readiness(): Readiness {
    if (this.draining) return { ready: false, reason: "draining" };
    if (this.bus === undefined || !this.bus.connected) {
      return { ready: false, reason: "not connected to NATS" };
    }
    if (this.obstacle !== undefined) {
      return { ready: false, reason: this.obstacle };
    }
    if (!this.started) return { ready: false, reason: "starting" };
    return { ready: true };
  }
}

/** A role's connection to NATS and what the process says of itself meanwhile. */
export class RoleFrame implements AsyncDisposable {
  /** The connection. */
  readonly bus: NatsBus;
  readonly #stop: StopSignals;
  readonly #board: StatusBoard;
  #metrics: () => Metric[] = () => [];

  private constructor(
    bus: NatsBus,
    options: { readonly host: RoleHost; readonly board: StatusBoard },
  ) {
    this.bus = bus;
    this.#stop = options.host.stop;
    this.#board = options.board;
    this.#board.bus = bus;
    options.host.showStatus({
      readiness: () => this.#board.readiness(),
      metrics: () => this.#metrics(),
    });
  }

  /**
   * Connects to NATS as `config` says.
   *
   * @throws {UsageError | RunError} when that does not come about.
   */
  static async open(
    role: Role,
    options: { readonly config: NatsConfig; readonly host: RoleHost },
  ): Promise<RoleFrame> {
    const { config, host } = options;
    const board = new StatusBoard();
    host.showStatus({
      readiness: () => board.readiness(),
      metrics: () => [],
    });
    const bus = await openNats(config, {
      name: `tcp-sproxy ${role}`,
      signal: AbortSignal.any([host.stop.drain, host.stop.now]),
      onSubscriptionError: (subject, why) => {
        board.obstacle = `NATS refuses the subscription to ${subject}`;
        getLogger(["sproxy", role]).error("NATS refuses a subscription", {
          subject,
          why,
        });
      },
    });
    bus.onLink((event) => {
      // Asked for again with the next connection.
      if (event.type === "down") board.obstacle = undefined;
    });
    return new RoleFrame(bus, { host, board });
  }

  /** Shows the metrics of `session` from now on. */
  observe(session: Session, options: { readonly opening: () => number }): void {
    this.#metrics = () =>
      collectMetrics({
        session,
        opening: options.opening(),
        connected: this.bus.connected,
        reconnects: this.bus.stats().reconnects,
      });
  }

  /**
   * Waits until the subscriptions made so far are in place, through whatever
   * number of connections that takes; from then on the process is ready.
   */
  async ready(): Promise<void> {
    const { bus } = this;
    const { drain, now } = this.#stop;
    for (;;) {
      const signal = AbortSignal.any([drain, now]);
      signal.throwIfAborted();
      try {
        await bus.flush();
        break;
      } catch {
        // The link was lost meanwhile: once it is back they are asked for again.
        if (!bus.connected) await nextLink(bus, signal);
      }
    }
    this.#board.started = true;
  }

  /**
   * Waits for the first signal to stop.
   *
   * @throws {RunError} when the bus ends for good before.
   */
  async untilStopped(): Promise<void> {
    const { drain, now } = this.#stop;
    const signal = AbortSignal.any([drain, now]);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve(), { once: true });
    this.bus.onLink((event) => {
      if (event.type === "closed") reject(endedForGood(event));
    }, signal);
    if (!signal.aborted) await promise;
    this.#board.draining = true;
  }

  /** Waits for `work`, but not when told to end at once or when NATS hangs. */
  async atMostGoodbye(work: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stop.now.addEventListener("abort", () => resolve(), { once: true });
    using _timer = systemClock.after(GOODBYE_MS, resolve);
    if (!this.#stop.now.aborted) await Promise.race([work, promise]);
  }

  /**
   * Lets open tunnels finish within `timeout` ms, cuts the rest, tells the
   * peers and leaves NATS; at once when told so.
   */
  async leave(session: Session, timeout: number): Promise<void> {
    const { now } = this.#stop;
    const log = getLogger(["sproxy", "drain"]);
    if (session.size > 0) {
      log.info("draining", {
        tunnels: session.size,
        atMost: formatDuration(timeout),
      });
    }
    try {
      await session.empty(AbortSignal.any([now, AbortSignal.timeout(timeout)]));
    } catch {
      // Told to end at once, or out of time: both are what the rest is for.
      log.warn("cutting tunnels that are still open", {
        tunnels: session.size,
      });
    }
    session.shutDown({
      code: "shutdown",
      text: "the process at the other end was stopped",
    });
    await this.atMostGoodbye(
      this.bus.close(now.aborted ? HURRIED_MS : GOODBYE_MS),
    );
  }

  /** Closes the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus.close(0);
  }
}

/** Resolves at the next change of the link; rejects when `signal` aborts or the bus has ended. */
async function nextLink(bus: Bus, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const listening = new AbortController();
  bus.onLink(
    (event) =>
      event.type === "closed" ? reject(endedForGood(event)) : resolve(),
    listening.signal,
  );
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await promise;
  } finally {
    listening.abort();
    signal.removeEventListener("abort", onAbort);
  }
}

function endedForGood({ reason }: { readonly reason?: string }): RunError {
  return new RunError(
    `The connection to NATS ended for good: ${reason ?? "closed"}`,
  );
}
