/**
 * A bus that may have a second connection for what is express: a broker keeps
 * the order of what one connection publishes, and of what it delivers to one,
 * so what is small waits behind what is large on every queue of the way. By
 * two connections it does not.
 *
 * The second is opened when it is wanted, to the broker of the first, and lasts
 * no longer than that link. Until then, and after, the first carries both.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { backoffDelay } from "../base/backoff.ts";
import type { BrokerAddress } from "../base/broker_address.ts";
import type { Encodable } from "../base/encodable.ts";
import { messageOf } from "../base/errors.ts";
import type {
  BusSubscription,
  LinkEvent,
  MessageHandler,
  PublishOptions,
  SubscribeOptions,
} from "./bus.ts";
import type { NatsBus, NatsStats } from "./connection.ts";
import { Listeners } from "./listeners.ts";
import type { Unconfirmed } from "./subscriptions.ts";

/** Opens a connection to the broker at `address`, and rejects when it cannot. */
export type OpenExpress = (
  address: BrokerAddress,
  signal: AbortSignal,
) => Promise<NatsBus>;

/** Waits before a connection that failed or broke is opened again, in ms: it is a help, and a limit of the account may forbid it for good. */
const OPEN_AGAIN = { base: 10_000, cap: 600_000 } as const;

/** A second connection that lasted so long, in ms, was a good one, and the next is tried soon. */
const GOOD_MS = 60_000;

const log = getLogger(["sproxy", "nats"]);

/** A {@linkcode NatsBus} over one connection or two. */
export class ExpressBus implements NatsBus {
  readonly #main: NatsBus;
  readonly #open: OpenExpress;
  readonly #links = new Listeners<LinkEvent>();
  readonly #drains = new Listeners<void>();
  readonly #splits = new Set<SplitSubscription>();
  /** The second connection, while it carries what is express. */
  #express: NatsBus | undefined;
  /** What the earlier ones counted. */
  readonly #before = { messagesIn: 0, bytesIn: 0, messagesOut: 0, bytesOut: 0 };
  /** Ends what is done for the second connection while the first is linked. */
  #wanted: AbortController | undefined;
  #failures = 0;
  /** Since when it has been in use. */
  #since = 0;
  #again: ReturnType<typeof setTimeout> | undefined;

  /** `main` alone, until more is wanted. */
  constructor(main: NatsBus, open: OpenExpress) {
    this.#main = main;
    this.#open = open;
    main.onLink((event) => {
      const hadExpress = this.#express !== undefined;
      if (event.type === "down") this.#end();
      else if (event.type === "closed") this.#close();
      this.#links.notify(event);
      if (hadExpress && this.#express === undefined) this.#drains.notify();
    });
    main.onDrain(() => this.#drains.notify());
  }

  get server(): string {
    return this.#main.server;
  }

  get broker(): BrokerAddress | undefined {
    return this.#main.broker;
  }

  get unconfirmed(): Unconfirmed | undefined {
    return this.#main.unconfirmed;
  }

  get brokerVersion(): string {
    return this.#main.brokerVersion;
  }

  get maxPayload(): number {
    return this.#main.maxPayload;
  }

  get connected(): boolean {
    return this.#main.connected;
  }

  get refusedSubjects(): readonly string[] {
    return this.#main.refusedSubjects;
  }

  get pendingBytes(): number {
    return this.#main.pendingBytes + (this.#express?.pendingBytes ?? 0);
  }

  get congested(): boolean {
    return this.#main.congested;
  }

  get expressCongested(): boolean {
    return this.#express?.congested ?? this.#main.expressCongested;
  }

  stats(): NatsStats {
    const stats = this.#main.stats();
    return { ...stats, ...sumOf(stats, sumOf(this.#before, this.#counts)) };
  }

  publish(
    subject: string,
    message: Encodable,
    options?: PublishOptions,
  ): boolean {
    const express = options?.lane === "express" ? this.#express : undefined;
    return (express ?? this.#main).publish(subject, message, options);
  }

  mayPublish(
    subject: string,
    message: Encodable,
    options?: PublishOptions,
  ): Promise<boolean> {
    return this.#main.mayPublish(subject, message, options);
  }

  subscribe(
    subject: string,
    handler: MessageHandler,
    options: SubscribeOptions = {},
  ): BusSubscription {
    const { split } = options;
    if (split === undefined) {
      return this.#main.subscribe(subject, handler, options);
    }
    const subscription = new SplitSubscription({
      ...{ main: this.#main, subject, handler, options, split },
      onEnd: () => this.#splits.delete(subscription),
    });
    this.#splits.add(subscription);
    if (this.#express !== undefined) subscription.divide(this.#express);
    return subscription;
  }

  wantExpress(wanted: boolean): void {
    if (!wanted) {
      this.#end();
      return;
    }
    if (this.#wanted !== undefined || !this.#main.connected) return;
    this.#wanted = new AbortController();
    void this.#begin(this.#wanted.signal);
  }

  onLink(listener: (event: LinkEvent) => void, signal?: AbortSignal): void {
    // One that has ended says so at once.
    let ended = false;
    const heard = new AbortController();
    this.#main.onLink(() => ended = true, heard.signal);
    heard.abort();
    if (ended) this.#main.onLink(listener, signal);
    else this.#links.add(listener, signal);
  }

  onDrain(listener: () => void, signal?: AbortSignal): void {
    this.#drains.add(listener, signal);
  }

  async flush(): Promise<void> {
    await Promise.all([this.#main.flush(), this.#express?.flush()]);
  }

  async close(timeout?: number): Promise<void> {
    await Promise.all([this.#close(timeout), this.#main.close(timeout)]);
  }

  /** Ends the second connection for good: nothing is heard any more. */
  async #close(timeout = 0): Promise<void> {
    const express = this.#express;
    // Before the rest, which would close it at once.
    const closed = express?.close(timeout);
    this.#express = undefined;
    this.#wanted?.abort();
    clearTimeout(this.#again);
    if (express !== undefined) this.#count(express);
    await closed;
  }

  /** Closes both connections. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #counts(): Counts {
    return this.#express?.stats() ?? NOTHING;
  }

  /** Opens the second connection, and lets what is express go by it once it is heard there. */
  async #begin(signal: AbortSignal): Promise<void> {
    const address = this.#main.broker;
    if (address === undefined) {
      this.#wanted = undefined;
      return;
    }
    let bus: NatsBus | undefined;
    try {
      bus = await this.#open(address, signal);
      const opened = bus;
      signal.throwIfAborted();
      // What is asked of a broker that has stopped would not end by itself.
      signal.addEventListener("abort", () => void opened.close(0), {
        once: true,
      });
      opened.onLink((event) => {
        if (event.type === "down") this.#lost(opened, event.reason, signal);
        else if (event.type === "closed") {
          this.#lost(opened, event.reason ?? "it was closed", signal);
        }
      }, signal);
      opened.onDrain(() => this.#drains.notify(), signal);
      for (const split of this.#splits) split.listen(opened);
      await opened.flush();
      signal.throwIfAborted();
      if (!opened.connected) throw new Error("NATS is not connected");
      const [refused] = opened.refusedSubjects;
      if (refused !== undefined) {
        throw new Error(`NATS refuses the subscription to ${refused}`);
      }
    } catch (error) {
      if (bus !== undefined) {
        for (const split of this.#splits) split.leave(bus);
        this.#count(bus);
        void bus.close(0);
      }
      if (!signal.aborted) this.#failed(messageOf(error), signal);
      return;
    }
    this.#express = bus;
    this.#since = performance.now();
    for (const split of this.#splits) split.divide(bus);
    this.#drains.notify(); // by this one there is room
    log.info("second connection to NATS: what is small overtakes bulk", {
      server: bus.server,
    });
  }

  /** The second connection broke while it was in use. */
  #lost(bus: NatsBus, reason: string, signal: AbortSignal): void {
    if (this.#express !== bus) return;
    if (performance.now() > this.#since + GOOD_MS) this.#failures = 0;
    this.#leave();
    this.#links.notify({ type: "express-lost", reason });
    this.#drains.notify(); // what waited for it goes by the first one
    this.#failed(reason, signal);
  }

  #failed(why: string, signal: AbortSignal): void {
    const delay = backoffDelay(this.#failures++, {
      ...OPEN_AGAIN,
      random: Math.random,
    });
    log.info("no second connection to NATS: what is small waits behind bulk", {
      why,
      retry: Math.round(delay),
    });
    this.#again = setTimeout(() => void this.#begin(signal), delay);
  }

  /** The first connection is lost, or nothing is wanted any more. */
  #end(): void {
    this.#wanted?.abort();
    this.#wanted = undefined;
    this.#failures = 0;
    clearTimeout(this.#again);
    this.#leave();
  }

  #leave(): void {
    const bus = this.#express;
    if (bus === undefined) return;
    this.#count(bus);
    this.#express = undefined;
    for (const split of this.#splits) split.leave(bus);
    void bus.close(0);
  }

  #count(bus: NatsBus): void {
    Object.assign(this.#before, sumOf(this.#before, bus.stats()));
  }
}

type Counts = Pick<
  NatsStats,
  "messagesIn" | "bytesIn" | "messagesOut" | "bytesOut"
>;

const NOTHING: Counts = {
  messagesIn: 0,
  bytesIn: 0,
  messagesOut: 0,
  bytesOut: 0,
};

function sumOf(one: Counts, other: Counts): Counts {
  return {
    messagesIn: one.messagesIn + other.messagesIn,
    bytesIn: one.bytesIn + other.bytesIn,
    messagesOut: one.messagesOut + other.messagesOut,
    bytesOut: one.bytesOut + other.bytesOut,
  };
}

/** A subscription, whole by one connection or in parts by two. */
class SplitSubscription implements BusSubscription {
  readonly subject: string;
  readonly #main: NatsBus;
  readonly #handler: MessageHandler;
  readonly #options: SubscribeOptions;
  readonly #split: NonNullable<SubscribeOptions["split"]>;
  readonly #onEnd: () => void;
  /** By the first connection: the whole, or what is ordinary. */
  #there: BusSubscription;
  /** By the second, and which one that is. */
  #express: BusSubscription | undefined;
  #bus: NatsBus | undefined;
  #isWhole = true;

  constructor(about: {
    readonly main: NatsBus;
    readonly subject: string;
    readonly handler: MessageHandler;
    readonly options: SubscribeOptions;
    readonly split: NonNullable<SubscribeOptions["split"]>;
    readonly onEnd: () => void;
  }) {
    this.subject = about.subject;
    this.#main = about.main;
    this.#handler = about.handler;
    this.#options = about.options;
    this.#split = about.split;
    this.#onEnd = about.onEnd;
    this.#there = this.#whole();
  }

  /** Hears what is express by `bus`, too. */
  listen(bus: NatsBus): void {
    if (this.#bus === bus) return;
    this.#express?.[Symbol.dispose]();
    this.#bus = bus;
    this.#express = bus.subscribe(this.#split.express, this.#handler);
  }

  /** Hears it there alone. */
  divide(bus: NatsBus): void {
    this.listen(bus);
    if (!this.#isWhole) return;
    this.#isWhole = false;
    const { ordinary } = this.#split;
    this.#replace(this.#main.subscribe(ordinary, this.#handler, {
      ...this.#options,
      // Where rules name the whole only, it is the whole again.
      onRefused: () => this.unite(),
    }));
  }

  /** Hears all by the first connection, if it is by `bus` that it hears what is express. */
  leave(bus: NatsBus): void {
    if (this.#bus === bus) this.unite();
  }

  /** Hears all by the first connection. */
  unite(): void {
    this.#express?.[Symbol.dispose]();
    this.#express = this.#bus = undefined;
    if (this.#isWhole) return;
    this.#isWhole = true;
    this.#replace(this.#whole());
  }

  async drain(): Promise<void> {
    this.#onEnd();
    await Promise.all([this.#there.drain(), this.#express?.drain()]);
  }

  [Symbol.dispose](): void {
    this.#onEnd();
    this.#there[Symbol.dispose]();
    this.#express?.[Symbol.dispose]();
  }

  #whole(): BusSubscription {
    return this.#main.subscribe(this.subject, this.#handler, this.#options);
  }

  /** One begins and the other ends in one write; what is on its way by that one is heard out. */
  #replace(by: BusSubscription): void {
    void this.#there.drain();
    this.#there = by;
  }
}
