/**
 * The bus over a real broker: nats-core dials, logs in, pings and dials again;
 * here is decided when the link is up, down or hopeless. Messages go past
 * nats-core, between our buffers and the socket.
 *
 * Its few timers are the runtime's, not `base/clock.ts`: nats-core times dials
 * and pings with those, and a clock of tests could not move them.
 *
 * @module
 */

import { getLogger } from "@logtape/logtape";
import {
  deadline,
  PermissionViolationError,
  ProtocolHandler,
  type Publisher,
  QueuedIteratorImpl,
  setTransportFactory,
  type Status,
} from "@nats-io/nats-core/internal";
import { formatAddress, parseIp, withZoneHint } from "../base/address.ts";
import { wakefulClock } from "../base/clock.ts";
import type { BrokerAddress } from "../base/broker_address.ts";
import type { Encodable } from "../base/encodable.ts";
import { messageOf, RunError } from "../base/errors.ts";
import { MAX_ADDRESSES, tryInTurn } from "../base/happy_eyeballs.ts";
import { quote } from "../base/text.ts";
import { Throttle } from "../base/throttle.ts";
import type {
  Bus,
  BusSubscription,
  LinkEvent,
  MessageHandler,
  PublishOptions,
  SubscribeOptions,
} from "./bus.ts";
import { type Broker, Brokers } from "./brokers.ts";
import { PublishEncoder } from "./encoder.ts";
import { greet, type Greeted } from "./greeting.ts";
import { GRANT_HINT, hintFor, LOGIN_REFUSED, loginText } from "./hints.ts";
import { guarded, Listeners } from "./listeners.ts";
import {
  coreOptions,
  DEFAULT_DIAL_TIMEOUT,
  type Login,
  loginOf,
  type NatsOptions,
  type NatsTls,
} from "./options.ts";
import type { Outbox } from "./outbox.ts";
import { findBroker, type Found } from "./search.ts";
import { SubscriptionTable, type Unconfirmed } from "./subscriptions.ts";
import {
  adoptTransports,
  NatsTransport,
  type TrafficCounts,
  type TransportEnd,
  type TransportHost,
} from "./transport.ts";
import { isUntried, type TakeTurn } from "./turns.ts";

/** Counts since the bus was made. */
export interface NatsStats extends Readonly<TrafficCounts> {
  /** Times the link came back after it was lost. */
  readonly reconnects: number;
  /** How long there was no link since the first one, in ms. */
  readonly downMs: number;
}

/** A {@linkcode Bus} over NATS. Disposing of it closes it. */
export interface NatsBus extends Bus, AsyncDisposable {
  /** `host:port` of the broker connected to now, or last. */
  readonly server: string;
  /** The subscription that has waited longest for the broker to confirm it; undefined where all are in place, or refused. */
  readonly unconfirmed: Unconfirmed | undefined;
  /** Where the broker is that is connected to now; undefined where none is. */
  readonly broker: BrokerAddress | undefined;
  /** Version of the broker connected to now, or last, as it says. */
  readonly brokerVersion: string;
  /** What went through so far. */
  stats(): NatsStats;
}

/** How long `close` tries to send what is queued, unless told otherwise, in ms. */
const DEFAULT_CLOSE_TIMEOUT = 1000;

/**
 * A link that lasted this long, in ms, was a good one, and its broker is tried
 * first after it; one that breaks sooner, again and again, is not hammered.
 */
const GOOD_LINK_MS = 5000;

/** Time between two lines about one subject whose messages are refused, in ms. */
const DENIED_LINE_MS = 60_000;

/** Subjects of refused messages that are remembered for the log. */
const MAX_DENIED_SUBJECTS = 1024;

/** The user may not have one more subscription (`max_subscriptions`, or a limit of the account). */
const TOO_MANY_SUBSCRIPTIONS = /maximum subscriptions exceeded/i;

/** nats-core wants to know how to answer messages; it gets none to answer. */
const NO_PUBLISHER: Publisher = { publish: () => {} };

const log = getLogger(["sproxy", "nats"]);

/**
 * Connects to NATS, and stays connected until the bus is closed.
 *
 * @returns the bus, once it is connected.
 * @throws {UsageError} for options that cannot be used.
 * @throws {RunError} when the broker refuses the login, or `connectTimeout`
 * has passed.
 * @throws the reason of `options.signal` when it aborts.
 */
export async function connectNats(options: NatsOptions): Promise<NatsBus> {
  options.signal?.throwIfAborted();
  const bus = new NatsConnection(options);
  try {
    await bus.start();
  } catch (error) {
    await bus.close(0);
    throw error;
  }
  return bus;
}

class NatsConnection implements NatsBus, TransportHost {
  readonly counts: TrafficCounts = {
    messagesIn: 0,
    bytesIn: 0,
    dropped: 0,
    messagesOut: 0,
    bytesOut: 0,
    congestions: 0,
    congestedMs: 0,
  };
  readonly subscriptions: SubscriptionTable;

  readonly drained = (): void => this.#drainListeners.notify();
  readonly dialTimeout: number;

  readonly #options: NatsOptions;
  readonly #core: ProtocolHandler;
  readonly #brokers: Brokers;
  #login: Login;
  /** What that was made of. */
  #dialledWith: Pick<NatsOptions, "credentials" | "tls">;
  readonly #encoder = new PublishEncoder();
  readonly #linkListeners = new Listeners<LinkEvent>();
  readonly #drainListeners = new Listeners<void>();
  readonly #firstUp = Promise.withResolvers<void>();
  /** Broker of the link that is up, or was last. */
  #server = "";
  /** The connection that nats-core made last, and the one that is up. */
  #latest: NatsTransport | undefined;
  #up: NatsTransport | undefined;
  #upSince = 0;
  #ups = 0;
  /** Since when there is no link that was there before, and how long that was in all till then. */
  #downAt: number | undefined;
  #downMs = 0;
  /** Rejects when the link that is up is lost. */
  #loss: PromiseWithResolvers<never> | undefined;
  /** Where to publish to; undefined while the link is down, and once the bus closes. */
  #outbox: Outbox | undefined;
  #maxPayload = 0;
  /** Attempts that failed since the link was up. */
  #failures = 0;
  #lastFailure: string | undefined;
  /** Subjects that are asked for by publishing, and whether the broker refused. */
  readonly #asked = new Map<string, { refused: boolean }>();
  /** Subjects whose messages were refused, and when the log was last told. */
  readonly #denials = new Map<string, Throttle>();
  #closing: Promise<void> | undefined;
  /** The last event, once the bus has ended. */
  #ended: LinkEvent | undefined;

  constructor(options: NatsOptions) {
    this.#options = options;
    const random = options.random ?? Math.random;
    this.dialTimeout = options.dialTimeout ?? DEFAULT_DIAL_TIMEOUT;
    this.#brokers = new Brokers(options.servers, random);
    this.#dialledWith = options;
    this.#login = loginOf(options);
    const core = coreOptions(options, () => this.#login);
    adoptTransports(core, this);
    setTransportFactory({ factory: () => new NatsTransport() });
    this.#core = new ProtocolHandler(core, NO_PUBLISHER);
    this.#core.listeners.push(
      new StatusListener((status) => this.#onStatus(status)),
    );
    this.subscriptions = new SubscriptionTable(this.#core, {
      random,
      events: {
        refused: (subject, reason) =>
          guarded(() => options.onSubscriptionError?.(subject, reason)),
        changed: () => this.#linkListeners.notify({ type: "subscriptions" }),
      },
    });
  }

  get server(): string {
    return this.#server;
  }

  get maxPayload(): number {
    return this.#maxPayload;
  }

  get connected(): boolean {
    return this.#outbox !== undefined;
  }

  get pendingBytes(): number {
    return this.#outbox?.pendingBytes ?? 0;
  }

  get congested(): boolean {
    return this.#outbox?.congested ?? false;
  }

  get expressCongested(): boolean {
    return this.#outbox?.expressCongested ?? false;
  }

  get refusedSubjects(): readonly string[] {
    return this.subscriptions.refused;
  }

  get unconfirmed(): Unconfirmed | undefined {
    return this.subscriptions.unconfirmed;
  }

  get broker(): BrokerAddress | undefined {
    return this.#up?.broker?.address;
  }

  get brokerVersion(): string {
    return this.#core.info?.version ?? "";
  }

  /** Waits for the first link; see {@linkcode connectNats}. */
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

  publish(
    subject: string,
    message: Encodable,
    options?: PublishOptions,
  ): boolean {
    const outbox = this.#outbox;
    if (outbox === undefined) return false;
    const encoder = this.#encoder;
    const size = encoder.prepare(subject, message, options);
    if (encoder.payloadBytes > this.#maxPayload) {
      throw new RangeError(
        `A message of ${encoder.payloadBytes} bytes is larger than the ${this.#maxPayload} that NATS takes`,
      );
    }
    const lane = options?.lane === undefined || options.lane === "data"
      ? "data"
      : "control";
    this.counts.messagesOut++;
    const batch = outbox.reserve(lane, size);
    outbox.commit(lane, encoder.write(batch.bytes, batch.end));
    return true;
  }

  async mayPublish(
    subject: string,
    message: Encodable,
    options?: PublishOptions,
  ): Promise<boolean> {
    const question = { refused: false };
    this.#asked.set(subject, question);
    try {
      this.publish(subject, message, options);
      await this.flush();
    } finally {
      if (this.#asked.get(subject) === question) this.#asked.delete(subject);
    }
    return !question.refused;
  }

  subscribe(
    subject: string,
    handler: MessageHandler,
    options: SubscribeOptions = {},
  ): BusSubscription {
    return this.subscriptions.add(subject, handler, options);
  }

  /** One connection has but its lanes; see `express.ts` for more. */
  wantExpress(_wanted: boolean): void {}

  onLink(listener: (event: LinkEvent) => void, signal?: AbortSignal): void {
    const ended = this.#ended;
    if (ended !== undefined) guarded(() => listener(ended));
    else this.#linkListeners.add(listener, signal);
  }

  onDrain(listener: () => void, signal?: AbortSignal): void {
    this.#drainListeners.add(listener, signal);
  }

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

  close(timeout: number = DEFAULT_CLOSE_TIMEOUT): Promise<void> {
    return this.#closing ??= this.#close(timeout);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  stats(): NatsStats {
    const downMs = this.#downMs + this.#downFor();
    return {
      ...this.counts,
      reconnects: Math.max(0, this.#ups - 1),
      downMs,
    };
  }

  /** For how long there has been no link that was there before, in ms. */
  #downFor(): number {
    return this.#downAt === undefined ? 0 : performance.now() - this.#downAt;
  }

  /** See {@linkcode TransportHost.find}. */
  async find(transport: NatsTransport, signal: AbortSignal): Promise<Found> {
    if (this.#closing) throw new Error("the bus is closed");
    this.#latest = transport;
    return await findBroker({
      brokers: this.#brokers,
      greet: (...about) => this.#greet(...about),
      onFailed: (broker, error) =>
        this.#attemptFailed(broker, reasonOf(broker, error)),
      reserve: this.#options.reserve,
      dialTimeout: this.dialTimeout,
      clock: wakefulClock,
      signal,
    });
  }

  /** See {@linkcode TransportHost.discovered}. */
  discovered(addresses: readonly string[], broker: Broker): void {
    if (this.#options.ignoreDiscovered) return;
    this.#brokers.discovered(addresses, broker);
  }

  /** See {@linkcode TransportHost.limitChanged}. */
  limitChanged(transport: NatsTransport): void {
    // One that is not up yet tells its limit when it is.
    if (transport !== this.#up) return;
    const { maxPayload } = transport;
    this.#maxPayload = maxPayload;
    this.#linkListeners.notify({ type: "limit", maxPayload });
  }

  /** See {@linkcode TransportHost.ended}. */
  ended(transport: NatsTransport, end: TransportEnd): void {
    const { broker, lastServerError } = transport;
    // Without a broker it was closed before one was found.
    if (transport !== this.#latest || broker === undefined) return;
    // Left alone, nats-core would wait for an answer until its time is over.
    if (end.from === "greeting") this.#core.connectError?.(end.error);
    const now = performance.now();
    const wasUp = this.#up === transport;
    if (wasUp && now - this.#upSince >= GOOD_LINK_MS) {
      this.#brokers.lost(broker);
    } else this.#brokers.failed(broker, now);
    if (wasUp) {
      this.#lastFailure = failureAt(broker, end.reason);
      this.#goDown();
    } else if (!this.#closing) {
      this.#attemptFailed(broker, end.reason, lastServerError);
    }
  }

  /** How to speak TLS this time; credentials are read anew, too, while there is a descriptor for that. */
  #tlsNow(): NatsTls | undefined {
    const { refresh } = this.#options;
    if (refresh !== undefined) {
      this.#dialledWith = { ...this.#options, ...refresh() };
      this.#login = loginOf(this.#dialledWith);
    }
    return this.#login.tls;
  }

  /** Dials `broker` at each of its addresses, up to its greeting. */
  async #greet(
    broker: Broker,
    takeTurn: TakeTurn,
    signal: AbortSignal,
  ): Promise<Greeted> {
    this.#lastFailure ??= failureAt(broker, "no answer yet");
    const { tlsName, address } = broker;
    const { port } = address;
    const websocket = address.websocket && {
      ...address.websocket,
      authority: formatAddress(address),
    };
    const { proxy } = this.#options;
    const hosts = await this.#hostsOf(broker, takeTurn, signal);
    return await tryInTurn(hosts, {
      attempt: (hostname, signal) =>
        takeTurn(
          {
            name: formatAddress({ host: hostname, port }),
            kind: parseIp(proxy?.address.host ?? hostname) === undefined
              ? "name"
              : "address",
          },
          async (signal) =>
            await greet({
              ...{ hostname, port, tlsName, websocket, proxy, signal },
              tls: this.#tlsNow(),
            }),
          signal,
        ),
      discard: ({ socket }) => socket[Symbol.dispose](),
      clock: wakefulClock,
      signal,
    });
  }

  /** What to dial for `broker`: each address of its name, where that may be done, or the name. */
  async #hostsOf(
    { address: { host, port } }: Broker,
    takeTurn: TakeTurn,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { resolve, proxy } = this.#options;
    const isPlain = resolve === undefined || proxy !== undefined ||
      parseIp(host) !== undefined;
    if (isPlain) return [host];
    let found: readonly string[];
    try {
      found = await takeTurn(
        { name: host, kind: "lookup" },
        (signal) => resolve(host, signal),
        signal,
      );
    } catch (error) {
      signal.throwIfAborted();
      if (isUntried(error)) throw error;
      // The runtime, asked for the name itself, says what is wrong.
      return [host];
    }
    const some = found.slice(0, MAX_ADDRESSES);
    const all = some.length > 0 && some.every((ip) => mayDial(ip, port));
    return all ? some : [host];
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
    this.#closing = this.#close(0, reason);
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
    this.#server = transport.broker?.name ?? "";
    this.#downMs += this.#downFor();
    this.#downAt = undefined;
    this.#upSince = performance.now();
    this.#ups++;
    this.#failures = 0;
    this.#loss = Promise.withResolvers<never>();
    // Nobody may be waiting for it.
    this.#loss.promise.catch(() => {});
    this.#outbox = transport.outbox;
    this.#maxPayload = transport.maxPayload;
    this.#linkListeners.notify({ type: "up", server: this.#server });
    this.subscriptions.settled();
    this.#firstUp.resolve();
  }

  #goDown(): void {
    const outbox = this.#outbox;
    this.#up = this.#outbox = undefined;
    const reason = this.#lastFailure ?? "";
    this.#loss?.reject(new Error(reason));
    if (outbox === undefined) return;
    this.#downAt = performance.now();
    this.#linkListeners.notify({ type: "down", reason });
    if (outbox.congested) this.drained();
  }

  #attemptFailed(broker: Broker, reason: string, serverError = ""): void {
    const { name: server, address } = broker;
    const failures = ++this.#failures;
    const { credentials, tls } = this.#dialledWith;
    const websocket = address.websocket !== undefined;
    const hint = hintFor(reason, { credentials, tls, websocket });
    const isLogin = LOGIN_REFUSED.test(serverError);
    const login = isLogin ? loginText(this.#dialledWith) : undefined;
    const hinted = hint === undefined ? reason : `${reason} (${hint})`;
    this.#lastFailure = failureAt(broker, hinted);
    guarded(() =>
      this.#options.onAttemptFailed?.({ server, reason, failures, hint, login })
    );
    if (
      this.#ups === 0 && login !== undefined &&
      this.#brokers.othersFailed(broker)
    ) {
      this.#firstUp.reject(
        new RunError(
          `NATS at ${server} refuses our login, ${login}: ${
            quote(serverError)
          } (${hint})`,
        ),
      );
    }
  }

  #timeUp(timeout: number): RunError {
    return new RunError(
      `Could not connect to NATS within ${
        timeout / 1000
      } s. The last attempt: ${this.#lastFailure ?? "none was made"}`,
    );
  }

  #onStatus(status: Status): void {
    if (status.type === "reconnect") void this.#confirm();
    else if (status.type === "ldm") {
      log.info("NATS is about to shut down", { server: this.#server });
    } else if (status.type === "error") this.#onServerError(status.error);
  }

  /** The broker has said -ERR; those that end the connection are told by its end. */
  #onServerError(error: Error): void {
    if (error instanceof PermissionViolationError) {
      const { operation, subject, message } = error;
      if (operation === "publish") this.#denied(subject, message);
      else this.subscriptions.refuse(subject, message);
    } else if (TOO_MANY_SUBSCRIPTIONS.test(error.message)) {
      this.subscriptions.exceed(error.message);
    }
  }

  #denied(subject: string, reason: string): void {
    const question = this.#asked.get(subject);
    if (question !== undefined) {
      question.refused = true;
      return;
    }
    this.#linkListeners.notify({ type: "denied", subject, reason });
    // A broker says it for each message.
    let throttle = this.#denials.get(subject);
    if (throttle === undefined) {
      if (this.#denials.size >= MAX_DENIED_SUBJECTS) this.#denials.clear();
      throttle = new Throttle(DENIED_LINE_MS);
      this.#denials.set(subject, throttle);
    }
    const count = throttle.note(performance.now());
    if (count === undefined) return;
    log.error("NATS refuses our messages", {
      subject,
      why: reason,
      hint: GRANT_HINT,
      ...(count > 1 && { count }),
      server: this.#server,
    });
  }

  async #close(timeout: number, reason?: string): Promise<void> {
    const flushed = this.connected && timeout > 0 ? this.flush() : undefined;
    this.subscriptions.close();
    // From now on nothing is published.
    this.#outbox = undefined;
    if (flushed !== undefined) {
      try {
        await deadline(flushed, timeout);
      } catch (error) {
        log.debug("not all was sent before the end", { why: messageOf(error) });
      }
    }
    this.#loss?.reject(new Error("The bus is closed"));
    if (this.#latest === undefined) {
      // nats-core cannot be closed before its first dial has begun.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await this.#core.close();
    this.#latest?.discard();
    this.#ended = { type: "closed", ...(reason !== undefined && { reason }) };
    this.#linkListeners.notify(this.#ended);
  }
}

function failureAt({ name }: Broker, reason: string): string {
  return `NATS at ${name}: ${reason}`;
}

/** Why no address of a broker could be reached. */
function reasonOf({ address: { host } }: Broker, error: unknown): string {
  const errors = error instanceof AggregateError ? error.errors : [error];
  const reasons = [...new Set(errors.map(messageOf))].join("; ");
  return withZoneHint(reasons, host);
}

/** Whether the permissions cover an address; not asked for: the question would wait on a terminal. */
function mayDial(ip: string, port: number): boolean {
  const host = formatAddress({ host: ip, port });
  return Deno.permissions.querySync({ name: "net", host }).state === "granted";
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
