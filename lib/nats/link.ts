/**
 * Keeps the link to a broker: nats-core dials, logs in, pings and dials
 * again; here is decided when the link counts as up, as down and as hopeless.
 *
 * @module
 */

import {
  PermissionViolationError,
  ProtocolHandler,
  type Publisher,
  QueuedIteratorImpl,
  setTransportFactory,
  type Status,
} from "@nats-io/nats-core/internal";
import { backoffDelay } from "../base/backoff.ts";
import { messageOf, RunError } from "../base/errors.ts";
import {
  coreOptions,
  type FailedAttempt,
  type Login,
  loginOf,
  type NatsOptions,
  type NatsTls,
} from "./options.ts";
import {
  adoptTransports,
  type LinkCounts,
  NatsTransport,
  type TransportEnd,
  type TransportHost,
} from "./transport.ts";
import { type SubscriptionHost, SubscriptionTable } from "./subscriptions.ts";
import { quote } from "../base/text.ts";

/** Whom a link tells what happens; none of it may throw. */
export interface LinkOwner extends SubscriptionHost {
  /** The outbox of the link has room again. */
  drained(): void;
  /** The link is up: subscriptions are in place. */
  up(transport: NatsTransport): void;
  /** The broker takes messages of another size now. */
  limitChanged(transport: NatsTransport): void;
  /** The link that was up is lost. */
  down(reason: string): void;
  /** An attempt to connect failed. */
  attemptFailed(attempt: FailedAttempt): void;
  /** nats-core gave up; it never should. */
  gaveUp(reason: string): void;
  /** The broker refuses to take messages for `subject`. */
  publishRefused(subject: string, reason: string): void;
  /** The broker at `server` is about to shut down. */
  leaving(server: string): void;
}

/** Waits between attempts, in ms: soon enough to resume promptly, rare enough for a broker that starts. */
const BACKOFF = { base: 50, cap: 2000 };

/**
 * A link that lasted this long, in ms, was a good one, and the back-off begins
 * anew after it; one that breaks sooner, again and again, is not hammered.
 */
const GOOD_LINK_MS = 5000;

/** Refusals of a login that trying again does not change. */
const LOGIN_REFUSED =
  /authorization violation|authentication (?:expired|revoked)/i;

/** nats-core wants to know how to answer messages; it gets none to answer. */
const NO_PUBLISHER: Publisher = { publish: () => {} };

/** The link of one bus. */
export class NatsLink implements TransportHost {
  /** What came in so far. */
  readonly counts: LinkCounts = { messagesIn: 0, bytesIn: 0, dropped: 0 };
  /** The subscriptions, which come back with each connection. */
  readonly subscriptions: SubscriptionTable;

  readonly #core: ProtocolHandler;
  readonly #options: NatsOptions;
  readonly #owner: LinkOwner;
  readonly #random: () => number;
  readonly #firstUp = Promise.withResolvers<void>();
  /** The connection that nats-core made last, and the one that is up. */
  #latest: NatsTransport | undefined;
  #login: Login;
  #up: NatsTransport | undefined;
  #upSince = 0;
  #everUp = false;
  #closing: Promise<void> | undefined;
  /** Attempts that failed since the link was up. */
  #failures = 0;
  /** The same and short links, in a row, and the wait that follows from them, in ms. */
  #setbacks = 0;
  #delay = 0;
  #lastFailure = "no attempt was made";
  /** Rejects when the link that is up is lost. */
  #loss: PromiseWithResolvers<never> | undefined;

  /**
   * Makes a link that is not connected yet.
   *
   * @throws {UsageError} for options that cannot be used.
   */
  constructor(options: NatsOptions, owner: LinkOwner) {
    this.#options = options;
    this.#owner = owner;
    this.#random = options.random ?? Math.random;
    this.#login = loginOf(options);
    const core = coreOptions(options, {
      delay: () => this.#delay,
      login: () => this.#login,
    });
    adoptTransports(core, this);
    setTransportFactory({ factory: () => new NatsTransport() });
    this.#core = new ProtocolHandler(core, NO_PUBLISHER);
    this.subscriptions = new SubscriptionTable(this.#core, owner);
    this.#core.listeners.push(
      new StatusListener((status) => this.#onStatus(status)),
    );
  }

  /** `host:port` of the broker connected to now, or last. */
  get server(): string {
    return this.#latest?.server ?? "";
  }

  /**
   * Connects.
   *
   * @throws {RunError} when the login is refused or the time is over.
   * @throws the reason of the options' signal when it aborts.
   */
  async start(): Promise<void> {
    const { connectTimeout = 0, signal } = this.#options;
    const { promise, reject } = this.#firstUp;
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const timer = connectTimeout > 0
      ? setTimeout(() => reject(this.#timeUp(connectTimeout)), connectTimeout)
      : undefined;
    void this.#dial();
    void this.#watchEnd();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  /**
   * Resolves when all that was published so far has passed the broker.
   *
   * @throws {Error} when the link is down, or lost before that.
   */
  async flush(): Promise<void> {
    const outbox = this.#up?.outbox;
    const loss = this.#loss;
    if (outbox === undefined || loss === undefined) {
      throw new Error("NATS is not connected");
    }
    // The ping of nats-core goes by the control lane: it must not overtake.
    await outbox.written();
    await Promise.race([this.#core.flush(), loss.promise]);
  }

  /** Ends the link. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** See {@linkcode TransportHost.dialing}. */
  dialing(transport: NatsTransport): void {
    if (this.#closing) throw new Error("the bus is closed");
    this.#latest = transport;
  }

  /** See {@linkcode TransportHost.tlsNow}. */
  tlsNow(): NatsTls | undefined {
    const { refresh } = this.#options;
    if (refresh !== undefined) {
      this.#login = loginOf({ ...this.#options, ...refresh() });
    }
    return this.#login.tls;
  }

  /** See {@linkcode TransportHost.drained}. */
  drained(): void {
    this.#owner.drained();
  }

  /** See {@linkcode TransportHost.limitChanged}. */
  limitChanged(transport: NatsTransport): void {
    // One that is not up yet tells its limit when it is.
    if (transport === this.#up) this.#owner.limitChanged(transport);
  }

  /** See {@linkcode TransportHost.ended}. */
  ended(transport: NatsTransport, end: TransportEnd): void {
    if (transport !== this.#latest) return;
    // Left alone, nats-core would wait for an answer until its time is over.
    if (end.from === "greeting") this.#core.connectError?.(end.error);
    if (this.#closing) return;
    const wasUp = this.#up === transport;
    const lived = wasUp ? performance.now() - this.#upSince : 0;
    this.#setbacks = lived >= GOOD_LINK_MS ? 0 : this.#setbacks + 1;
    this.#delay = backoffDelay(Math.max(0, this.#setbacks - 1), {
      ...BACKOFF,
      random: this.#random,
    });
    const { server } = transport;
    this.#lastFailure = `NATS at ${server}: ${end.reason}`;
    if (wasUp) this.#goDown();
    else this.#attemptFailed(transport, end);
  }

  async #dial(): Promise<void> {
    try {
      await this.#core.dialLoop();
    } catch (error) {
      // It tries for ever, so it ended because we closed it, or for a reason
      // that core.closed tells, too.
      this.#firstUp.reject(error);
      return;
    }
    await this.#confirm();
  }

  /** nats-core ends by itself only when something is wrong with it or with us. */
  async #watchEnd(): Promise<void> {
    const error = await this.#core.closed;
    if (this.#closing) return;
    const reason = error ? messageOf(error) : "no reason given";
    this.#firstUp.reject(new RunError(`The NATS client gave up: ${reason}`));
    this.#owner.gaveUp(reason);
  }

  /** nats-core has logged in and subscribed: up as soon as the broker has taken that in. */
  async #confirm(): Promise<void> {
    const transport = this.#latest;
    if (transport?.state !== "open" || this.#closing) return;
    this.subscriptions.restore();
    try {
      await this.#core.flush();
    } catch {
      // Lost again; the next connection confirms itself.
      return;
    }
    if (transport.isClosed || this.#closing || this.#up === transport) return;
    this.#up = transport;
    this.#upSince = performance.now();
    this.#everUp = true;
    this.#failures = 0;
    this.#loss = Promise.withResolvers<never>();
    // Nobody may be waiting for it.
    this.#loss.promise.catch(() => {});
    this.#owner.up(transport);
    this.#firstUp.resolve();
  }

  #goDown(): void {
    this.#up = undefined;
    this.#loss?.reject(new Error(this.#lastFailure));
    this.#owner.down(this.#lastFailure);
  }

  #attemptFailed(
    { server, lastServerError }: NatsTransport,
    end: TransportEnd,
  ): void {
    this.#owner.attemptFailed({
      server,
      reason: end.reason,
      failures: ++this.#failures,
    });
    if (
      !this.#everUp && lastServerError !== undefined &&
      LOGIN_REFUSED.test(lastServerError)
    ) {
      this.#firstUp.reject(
        new RunError(
          `NATS at ${server} refuses our login: ${
            quote(lastServerError)
          }. Check the user and password, token, nkey or credentials file`,
        ),
      );
    }
  }

  #timeUp(timeout: number): RunError {
    return new RunError(
      `Could not connect to NATS within ${
        timeout / 1000
      } s. The last attempt: ${this.#lastFailure}`,
    );
  }

  #onStatus(status: Status): void {
    switch (status.type) {
      case "reconnect":
        void this.#confirm();
        return;
      case "ldm":
        this.#owner.leaving(status.server);
        return;
      case "error": {
        const { error } = status;
        if (
          error instanceof PermissionViolationError &&
          error.operation === "publish"
        ) this.#owner.publishRefused(error.subject, error.message);
      }
    }
  }

  async #close(): Promise<void> {
    if (this.#latest === undefined) {
      // nats-core cannot be closed before its first dial has begun.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await this.#core.close();
    this.#latest?.discard();
    this.#loss?.reject(new Error("The bus is closed"));
  }
}

/** Gets the status events of nats-core as they happen, not from a queue. */
class StatusListener extends QueuedIteratorImpl<Status> {
  readonly #notify: (status: Status) => void;

  constructor(notify: (status: Status) => void) {
    super();
    this.#notify = notify;
  }

  override push(status: Status | (() => void)): void {
    if (typeof status !== "function") this.#notify(status);
  }
}
