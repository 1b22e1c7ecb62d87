/**
 * What both roles do around their tunnels: limits from the configuration,
 * status, and the orderly end.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { systemClock } from "../base/clock.ts";
import { RunError, subscribeDenied } from "../base/errors.ts";
import { Repeats } from "../base/repeats.ts";
import type { CommonConfig } from "../config/config.ts";
import { type NatsConfig, subjectsOf } from "../config/nats_section.ts";
import type { LinkEvent } from "../nats/bus.ts";
import type { NatsBus } from "../nats/connection.ts";
import { refusalOf, subscribeHint } from "../nats/hints.ts";
import type { EgressOptions } from "../server/server.ts";
import type { Session, SessionOptions } from "../session/session.ts";
import { emptyPart } from "../status/merge.ts";
import type { Part } from "../status/snapshot.ts";
import { type Looked, type OpenWayView, Watch } from "../status/watch.ts";
import type { Role } from "../wire/subjects.ts";
import { Reserve, systemDescriptors } from "../net/descriptors.ts";
import { ExpressBus } from "../nats/express.ts";
import { connectionName, openExpress, openNats } from "./connect.ts";
import { LINK_RESERVE } from "./descriptors.ts";
import type { CollectMetrics, Counted } from "./metrics.ts";
import { Readiness } from "./readiness.ts";
import type { ProcessState } from "./report.ts";
import type { RoleHost } from "./role_host.ts";
import { isStop, type StopSignals } from "./signals.ts";
import { Standstill } from "./standstill.ts";
import type { Status } from "./status.ts";

/** How long the last frames may take to reach NATS at the end, in ms. */
const GOODBYE_MS = 2_000;

/** The same when the process is told to end at once: what a live broker needs, in ms. */
const HURRIED_MS = 100;

/** How often it is looked whether a role is ready, in ms: since when is told to the second. */
const NOTE_MS = 1_000;

/**
 * How long NATS may take to confirm a subscription that is made while the role
 * works, in ms; it takes a round trip, and who is ready is not to flicker.
 */
const CONFIRM_MS = 2_000;

/** Reasons that are no errors, or of which the link tells more. */
const PASSING: readonly string[] = [
  "draining",
  "not connected to NATS",
  "starting",
];

/** Random bytes nobody can guess. */
export function random(bytes: Uint8Array): Uint8Array {
  return crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
}

/** What both roles are told by the configuration, and by what they run in. */
export function roleOptions(
  config: CommonConfig,
  { tunnelsByDescriptors }: Pick<RoleHost, "tunnelsByDescriptors">,
):
  & Omit<SessionOptions, "bus" | "role" | "token">
  & Pick<EgressOptions, "refuseV1" | "v1Rate" | "random"> {
  const { nats, tunnel } = config;
  return {
    clock: systemClock,
    subjects: subjectsOf(nats),
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
    tunnelsByDescriptors,
    maxOpening: tunnel.maxOpening,
    refuseV1: tunnel.refuseV1,
    v1Rate: tunnel.v1Rate,
    random,
  };
}

/** What a role says of itself while it starts, works and drains. */
class RoleStatus implements Disposable {
  /** What is remembered of it. */
  readonly readiness = new Readiness(systemClock.wallTime());
  bus: NatsBus | undefined;
  counted: Counted | undefined;
  reserve: Reserve | undefined;
  /** What is kept for those who look closer; undefined before there is a connection. */
  watch: Watch | undefined;
  /** Whether start-up is complete, and what it waits for until then. */
  started = false;
  waitsFor: () => string | undefined = () => undefined;
  readonly #drain: AbortSignal;
  readonly #collect: CollectMetrics;
  #timer: Disposable | undefined;

  constructor({ stop: { drain }, collect = () => [] }: RoleHost) {
    this.#drain = drain;
    this.#collect = collect;
    this.#watch();
  }

  /** Looks how it is, so that it is known since when, also where nobody asks. */
  note(): string | undefined {
    const now = systemClock.wallTime();
    const reason = this.notReadyReason;
    this.readiness.note(reason, now);
    if (reason !== undefined && !PASSING.includes(reason)) {
      this.readiness.noteError(reason, now);
    }
    // While there is no link nothing new is known of what is behind it.
    if (this.bus?.connected === true) {
      this.readiness.noteError(this.counted?.lastFailure, now);
    }
    return reason;
  }

  /** Why the connection to NATS is not there; it tells more than that it is not. */
  noteLink(text: string): void {
    this.readiness.noteError(text, systemClock.wallTime());
    this.note();
  }

  read(): Status {
    const notReadyReason = this.note();
    const { counted, bus: link, reserve } = this;
    const collect = this.#collect;
    const details = counted?.readyDetails;
    return {
      notReadyReason,
      ...this.readiness.told,
      ...(details && Object.keys(details).length > 0 && { details }),
      tunnels: counted?.session.size ?? 0,
      brokers: link?.connected === true ? [link.server] : [],
      // Many are read for the rest alone.
      get metrics() {
        return collect({ counted, link, reserve });
      },
    };
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  #watch(): void {
    this.#timer = systemClock.after(NOTE_MS, () => {
      this.note();
      this.#watch();
    });
  }

  async look(): Promise<Part> {
    const reason = this.notReadyReason;
    return await this.watch?.look(reason) ?? emptyPart(reason ?? "starting");
  }

  /** A subscription that NATS refuses, and without which the role cannot work. */
  get missing(): string | undefined {
    const refused = this.bus?.refusedSubjects ?? [];
    return this.counted === undefined
      ? refused[0]
      : this.counted.missing(refused);
  }

  /** Why the role cannot do its work now; undefined when it can. */
  get notReadyReason(): string | undefined {
    if (this.#drain.aborted) return "draining";
    if (this.bus?.connected !== true) return "not connected to NATS";
    const refused = this.missing;
    if (refused !== undefined) return subscribeDenied(refused).text;
    const { unconfirmed } = this.bus;
    if (unconfirmed !== undefined && unconfirmed.ms > CONFIRM_MS) {
      return `NATS has not confirmed the subscription to ${unconfirmed.subject}`;
    }
    return this.started
      ? this.counted?.notReadyReason
      : this.waitsFor() ?? "starting";
  }
}

/** A role's connection to NATS and what the role says of itself meanwhile. */
export class RoleFrame implements AsyncDisposable {
  /** The connection. */
  readonly bus: NatsBus;
  readonly #role: Role;
  /** Descriptors for it, which guests leave alone. */
  readonly reserve: Reserve;
  readonly #stop: StopSignals;
  readonly #status: RoleStatus;
  /** What NATS refuses, as the log was told. */
  readonly #refusals: Repeats;
  readonly #standstill: Standstill | undefined;

  private constructor(
    { bus, role, reserve, stop, status, refusals, standstill }: {
      readonly bus: NatsBus;
      readonly role: Role;
      readonly reserve: Reserve;
      readonly stop: StopSignals;
      readonly status: RoleStatus;
      readonly refusals: Repeats;
      readonly standstill: Standstill | undefined;
    },
  ) {
    this.bus = bus;
    this.#role = role;
    this.reserve = reserve;
    this.#stop = stop;
    this.#status = status;
    this.#refusals = refusals;
    this.#standstill = standstill;
  }

  /**
   * Connects to NATS as `config` says.
   *
   * @throws {UsageError | RunError} when that does not come about.
   */
  static async open(
    role: Role,
    options: {
      readonly config: NatsConfig;
      readonly host: RoleHost;
      /** Whether somebody may come to look closer; default true. */
      readonly isWatched?: boolean;
    },
  ): Promise<RoleFrame> {
    const { config, host, isWatched = true } = options;
    const status = new RoleStatus(host);
    host.showStatus(
      () => status.read(),
      async () => ({ parts: [await status.look()] }),
    );
    using cleanup = new DisposableStack();
    cleanup.use(status);
    const reserve = cleanup.use(
      new Reserve(LINK_RESERVE, systemDescriptors()),
    );
    status.reserve = reserve;
    const refusals = cleanup.use(new Repeats(systemClock));
    // What is another program's connection may be suspended with it.
    const standstill = isWatched
      ? cleanup.use(new Standstill(systemClock))
      : undefined;
    const main = await openNats(config, {
      name: config.name ?? connectionName(role),
      signal: host.stop.drain,
      pipes: host.pipes,
      readAuth: host.readAuth,
      reserve,
      onSubscriptionError: (subject, why) =>
        refusals.note(`${subject} ${refusalOf(why)}`, (count) => {
          getLogger(["sproxy", role]).error("NATS refuses a subscription", {
            subject,
            why,
            hint: subscribeHint(why),
            ...(count > 1 && { count }),
            server: status.bus?.server,
          });
        }),
      tunnels: () => status.counted?.session.size ?? 0,
      onAttemptFailed: (text) => status.noteLink(text),
    });
    // One connection is enough for what does one thing.
    const bus = isWatched
      ? new ExpressBus(main, (address, signal) =>
        openExpress(config, {
          ...{ address, signal, reserve },
          name: config.name ?? connectionName(role, "express"),
          ...{ pipes: host.pipes, readAuth: host.readAuth },
        }))
      : main;
    status.bus = bus;
    if (isWatched) status.watch = new Watch({ clock: systemClock, bus });
    bus.onLink((event) => {
      if (event.type === "down") status.noteLink(event.reason);
      else status.note();
    });
    cleanup.move();
    const { stop } = host;
    return new RoleFrame({
      ...{ bus, role, reserve, stop, status, refusals, standstill },
    });
  }

  /** A client's ways in are those that `ways` gives from now on. */
  showWays(ways: () => readonly OpenWayView[]): void {
    if (this.#status.watch !== undefined) this.#status.watch.ways = ways;
  }

  /** Why the role cannot do its work now; undefined when it can. */
  get notReadyReason(): string | undefined {
    return this.#status.notReadyReason;
  }

  /** How it does, in a word. */
  get state(): ProcessState {
    if (this.#stop.drain.aborted) return "draining";
    return this.notReadyReason === undefined ? "ready" : "not-ready";
  }

  /** The role begins (again): `why` says what it waits for until it is ready. */
  starting(why: () => string | undefined): void {
    this.#status.started = false;
    this.#status.waitsFor = why;
  }

  /**
   * Waits until the subscriptions made so far are in place, through whatever
   * number of connections that takes; from then on the process is ready.
   *
   * @param role What is shown from now on.
   * @param options Whether it waits for what NATS refuses.
   * @throws {RunError} when NATS refuses one, and it does not wait.
   */
  async ready(
    role: Counted & Looked,
    { patient = true }: { readonly patient?: boolean } = {},
  ): Promise<void> {
    this.#status.counted = role;
    if (this.#status.watch !== undefined) this.#status.watch.looked = role;
    const { bus } = this;
    const { drain } = this.#stop;
    for (;;) {
      drain.throwIfAborted();
      try {
        await bus.flush();
      } catch {
        // The link was lost meanwhile: once it is back they are asked for again.
        if (!bus.connected) await this.#nextLink();
        continue;
      }
      const { missing } = this.#status;
      if (missing === undefined) break;
      if (!patient) {
        throw new RunError(`NATS refuses the subscription to ${missing}`);
      }
      await this.#nextLink();
    }
    this.#status.started = true;
    this.#status.note();
  }

  /**
   * Waits for the first signal to stop, or until `other` aborts.
   *
   * @throws {RunError} when the bus ends for good before.
   */
  async untilStopped(other?: AbortSignal): Promise<void> {
    try {
      for (;;) await this.#nextLink(other);
    } catch (error) {
      const ended = isStop(error, this.#stop) ||
        other?.aborted && error === other.reason;
      if (!ended) throw error;
    }
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
        ms: timeout,
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
      text: `the ${this.#role} was stopped`,
    });
    await this.atMostGoodbye(
      this.bus.close(now.aborted ? HURRIED_MS : GOODBYE_MS),
    );
  }

  /** Closes the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus.close(0);
    this.#status.watch?.[Symbol.dispose]();
    this.#refusals[Symbol.dispose]();
    this.#standstill?.[Symbol.dispose]();
    this.reserve[Symbol.dispose]();
    this.#status[Symbol.dispose]();
  }

  /** Waits for the next change of the link; rejects at a stop, when `other` aborts, and when the bus has ended. */
  async #nextLink(other?: AbortSignal): Promise<void> {
    const { drain } = this.#stop;
    const end = other === undefined ? drain : AbortSignal.any([drain, other]);
    end.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<LinkEvent>();
    const heard = new AbortController();
    this.bus.onLink(resolve, heard.signal);
    end.addEventListener("abort", () => reject(end.reason), heard);
    try {
      const event = await promise;
      if (event.type !== "closed") return;
      throw new RunError(
        `The connection to NATS ended for good: ${event.reason ?? "closed"}`,
      );
    } finally {
      heard.abort();
    }
  }
}
