/**
 * What both roles do around their tunnels: limits from the configuration,
 * status, and the orderly end.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Address } from "./address.ts";
import type { Bus } from "./bus.ts";
import { systemClock } from "./clock.ts";
import type { CommonConfig } from "./config.ts";
import { RunError } from "./errors.ts";
import type { Session, SessionOptions } from "./session.ts";
import type { Readiness, StatusSource } from "./status_http.ts";
import { Subjects } from "./subjects.ts";
import { formatDuration } from "./units.ts";

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

/**
 * Waits for the first signal to stop.
 *
 * @throws {RunError} when the bus ends for good before.
 */
export async function untilStopped(bus: Bus, stop: StopSignals): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const signal = AbortSignal.any([stop.drain, stop.now]);
  if (signal.aborted) return;
  signal.addEventListener("abort", () => resolve(), { once: true });
  bus.onLink((event) => {
    if (event.type !== "closed") return;
    reject(
      new RunError(
        `The connection to NATS ended for good: ${event.reason ?? "closed"}`,
      ),
    );
  }, signal);
  await promise;
}

/** Lets open tunnels finish within `timeout` ms, then cuts the rest and tells the peers. */
export async function drainSession(
  session: Session,
  options: { readonly timeout: number; readonly stop: StopSignals },
): Promise<void> {
  const { timeout, stop } = options;
  const log = getLogger(["sproxy", "drain"]);
  if (session.size > 0) {
    log.info("draining", {
      tunnels: session.size,
      atMost: formatDuration(timeout),
    });
  }
  try {
    await session.empty(
      AbortSignal.any([stop.now, AbortSignal.timeout(timeout)]),
    );
  } catch {
    // Told to end at once, or out of time: both are what the rest is for.
    log.warn("cutting tunnels that are still open", { tunnels: session.size });
  }
  session.shutDown({
    code: "shutdown",
    text: "the process at the other end was stopped",
  });
}

/** Sends what is left to send and closes the connection. */
export async function leaveNats(bus: Bus): Promise<void> {
  await bus.close(GOODBYE_MS);
}
