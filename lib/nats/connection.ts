/**
 * The bus over a real broker: nats-core keeps the link, and messages go past
 * it, between our buffers and the socket.
 *
 * @module
 */

import { getLogger } from "@logtape/logtape";
import type {
  Bus,
  BusSubscription,
  LinkEvent,
  MessageHandler,
  PublishOptions,
} from "./bus.ts";
import type { Encodable } from "../base/encodable.ts";
import { backoffDelay } from "../base/backoff.ts";
import { Throttle } from "../base/throttle.ts";
import { messageOf } from "../base/errors.ts";
import { PublishEncoder } from "./encoder.ts";
import { type LinkOwner, NatsLink } from "./link.ts";
import type { FailedAttempt, NatsOptions } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import type { NatsTransport } from "./transport.ts";

/** Counts since the bus was made. */
export interface NatsStats {
  /** Messages received. */
  readonly messagesIn: number;
  /** Messages published while connected. */
  readonly messagesOut: number;
  /** Bytes read from the broker, the protocol's own included. */
  readonly bytesIn: number;
  /** Bytes published, the protocol's own included. */
  readonly bytesOut: number;
  /** Messages for a subscription that is gone, or larger than the broker itself takes. */
  readonly dropped: number;
  /** Writes to the broker's socket. */
  readonly writes: number;
  /** Times the link came back after it was lost. */
  readonly reconnects: number;
}

/** A {@linkcode Bus} over NATS. Disposing of it closes it. */
export interface NatsBus extends Bus, AsyncDisposable {
  /** `host:port` of the broker connected to now, or last. */
  readonly server: string;
  /** What went through so far. */
  stats(): NatsStats;
}

/** How long `close` tries to send what is queued, unless told otherwise, in ms. */
const DEFAULT_CLOSE_TIMEOUT = 1000;

/** Time between two lines about one subject whose messages are refused, in ms. */
const DENIED_LINE_MS = 60_000;

/** Subjects of refused messages that are remembered for the log. */
const MAX_DENIED_SUBJECTS = 1024;

/** Waits before a refused subscription is asked for again, in ms: rules change by hand. */
const ASK_AGAIN = { base: 1_000, cap: 30_000 } as const;

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
  const bus = new CoreNatsBus(options);
  try {
    await bus.start();
  } catch (error) {
    await bus.close(0);
    throw error;
  }
  return bus;
}

class CoreNatsBus implements NatsBus, LinkOwner {
  readonly #options: NatsOptions;
  readonly #link: NatsLink;
  readonly #encoder = new PublishEncoder();
  readonly #linkListeners = new Set<(event: LinkEvent) => void>();
  readonly #drainListeners = new Set<() => void>();
  /** Where to publish to; undefined while the link is down. */
  #outbox: Outbox | undefined;
  #maxPayload = 0;
  #closing: Promise<void> | undefined;
  /** The last event, once the bus has ended. */
  #ended: LinkEvent | undefined;
  #ups = 0;
  #messagesOut = 0;
  #bytesOut = 0;
  #earlierWrites = 0;
  /** Subjects whose messages were refused, and when the log was last told. */
  readonly #denials = new Map<string, Throttle>();
  /** Subjects that were told to be refused. */
  readonly #refused = new Set<string>();
  #refusals = 0;
  #askAgain: ReturnType<typeof setTimeout> | undefined;

  constructor(options: NatsOptions) {
    this.#options = options;
    this.#link = new NatsLink(options, this);
  }

  get server(): string {
    return this.#link.server;
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

  get refusedSubjects(): readonly string[] {
    return [...this.#refused];
  }

  start(): Promise<void> {
    return this.#link.start();
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
    const lane = options?.lane ?? "data";
    const batch = outbox.reserve(lane, size);
    const start = batch.end;
    const end = encoder.write(batch.bytes, start);
    this.#messagesOut++;
    this.#bytesOut += end - start;
    outbox.commit(lane, end);
    return true;
  }

  subscribe(
    subject: string,
    handler: MessageHandler,
    options: { readonly queue?: string } = {},
  ): BusSubscription {
    return this.#link.subscriptions.add(subject, handler, options);
  }

  onLink(listener: (event: LinkEvent) => void, signal?: AbortSignal): void {
    const ended = this.#ended;
    if (ended !== undefined) guarded(() => listener(ended));
    else listen(this.#linkListeners, listener, signal);
  }

  onDrain(listener: () => void, signal?: AbortSignal): void {
    listen(this.#drainListeners, listener, signal);
  }

  flush(): Promise<void> {
    return this.#link.flush();
  }

  close(timeout: number = DEFAULT_CLOSE_TIMEOUT): Promise<void> {
    return this.#closing ??= this.#close(timeout);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  stats(): NatsStats {
    const { messagesIn, bytesIn, dropped } = this.#link.counts;
    return {
      messagesIn,
      bytesIn,
      dropped,
      messagesOut: this.#messagesOut,
      bytesOut: this.#bytesOut,
      writes: this.#earlierWrites + (this.#outbox?.writes ?? 0),
      reconnects: Math.max(0, this.#ups - 1),
    };
  }

  drained(): void {
    notify(this.#drainListeners, undefined);
  }

  up(transport: NatsTransport): void {
    if (this.#closing) return;
    this.#outbox = transport.outbox;
    this.#maxPayload = transport.info?.maxPayload ?? 0;
    this.#ups++;
    notify(this.#linkListeners, { type: "up", server: transport.server });
    this.#tellRestored();
  }

  limitChanged({ info }: NatsTransport): void {
    const { maxPayload = 0 } = info ?? {};
    this.#maxPayload = maxPayload;
    notify(this.#linkListeners, { type: "limit", maxPayload });
  }

  down(reason: string): void {
    const outbox = this.#forgetOutbox();
    if (outbox === undefined) return;
    notify(this.#linkListeners, { type: "down", reason });
    if (outbox.congested) this.drained();
  }

  attemptFailed(attempt: FailedAttempt): void {
    guarded(() => this.#options.onAttemptFailed?.(attempt));
  }

  gaveUp(reason: string): void {
    this.#closing ??= this.#close(0, reason);
  }

  leaving(server: string): void {
    log.info("NATS is about to shut down", { server });
  }

  publishRefused(subject: string, reason: string): void {
    notify(this.#linkListeners, { type: "denied", subject, reason });
    // A broker says it for each message.
    let throttle = this.#denials.get(subject);
    if (throttle === undefined) {
      if (this.#denials.size >= MAX_DENIED_SUBJECTS) this.#denials.clear();
      throttle = new Throttle(DENIED_LINE_MS);
      this.#denials.set(subject, throttle);
    }
    const count = throttle.note(performance.now());
    if (count === undefined) return;
    log.error("NATS refuses our messages", { subject, why: reason, count });
  }

  refused(subject: string, reason: string): void {
    // Told once, however often it is asked for.
    if (!this.#refused.has(subject)) {
      this.#refused.add(subject);
      guarded(() => this.#options.onSubscriptionError?.(subject, reason));
      notify(this.#linkListeners, { type: "subscriptions" });
    }
    if (this.#closing) return;
    const delay = backoffDelay(this.#refusals++, {
      ...ASK_AGAIN,
      random: this.#options.random ?? Math.random,
    });
    clearTimeout(this.#askAgain);
    this.#askAgain = setTimeout(() => void this.#restore(), delay);
  }

  /** Holds the subscriptions that are wanted against those that there are. */
  async #restore(): Promise<void> {
    if (!this.connected) return; // done with the next connection
    this.#link.subscriptions.restore();
    try {
      await this.#link.flush();
    } catch (error) {
      log.debug("lost while it was asked for subscriptions", { error });
      return;
    }
    this.#tellRestored();
  }

  /** Tells of subscriptions that the broker refused and now has. */
  #tellRestored(): void {
    const refused = this.#link.subscriptions.refused;
    for (const subject of this.#refused) {
      if (refused.includes(subject)) continue;
      this.#refused.delete(subject);
      this.#refusals = 0;
      log.info("NATS takes a subscription that it refused", { subject });
      notify(this.#linkListeners, { type: "subscriptions" });
    }
  }

  handlerFailed(subject: string, error: unknown): void {
    log.error("the handler of a message failed", { subject, error });
  }

  async #close(timeout: number, reason?: string): Promise<void> {
    clearTimeout(this.#askAgain);
    if (this.connected && timeout > 0) {
      const flushed = this.#link.flush();
      this.#forgetOutbox();
      await settledWithin(flushed, timeout);
    }
    this.#forgetOutbox();
    await this.#link.close();
    this.#ended = { type: "closed", ...(reason !== undefined && { reason }) };
    notify(this.#linkListeners, this.#ended);
  }

  /** From now on nothing is published. */
  #forgetOutbox(): Outbox | undefined {
    const outbox = this.#outbox;
    this.#outbox = undefined;
    this.#earlierWrites += outbox?.writes ?? 0;
    return outbox;
  }
}

/** Adds `listener` until `signal` aborts. */
function listen<T>(
  listeners: Set<(event: T) => void>,
  listener: (event: T) => void,
  signal: AbortSignal | undefined,
): void {
  if (signal?.aborted) return;
  // A wrapper, so that one function can listen twice.
  const entry = (event: T): void => listener(event);
  listeners.add(entry);
  signal?.addEventListener("abort", () => listeners.delete(entry), {
    once: true,
  });
}

/** Calls every listener; one that throws keeps no other from being called. */
function notify<T>(listeners: Set<(event: T) => void>, event: T): void {
  for (const listener of listeners) guarded(() => listener(event));
}

/** Runs what others gave us; its failure is theirs, and must not become ours. */
function guarded(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    log.error("a listener of the NATS link failed", { error });
  }
}

/** Waits for `promise`, but not longer than `timeout` ms. */
async function settledWithin(
  promise: Promise<void>,
  timeout: number,
): Promise<void> {
  const { promise: timedOut, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeout);
  try {
    await Promise.race([promise, timedOut]);
  } catch (error) {
    log.debug("not all was sent before the end", { why: messageOf(error) });
  } finally {
    clearTimeout(timer);
  }
}
