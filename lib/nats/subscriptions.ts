/**
 * The subscriptions of a bus: which handler gets the messages of which
 * subscription ID, and what becomes of one that the broker refuses.
 *
 * @module
 */

import { getLogger } from "@logtape/logtape";
import {
  type ProtocolHandler,
  SubscriptionImpl,
} from "@nats-io/nats-core/internal";
import { backoffDelay } from "../base/backoff.ts";
import type {
  BusMessage,
  BusSubscription,
  MessageHandler,
  SubscribeOptions,
} from "./bus.ts";
import { guarded } from "./listeners.ts";

/** What a table tells. */
export interface SubscriptionEvents {
  /** The broker refuses `subject`; called each time that it does. */
  readonly refused: (subject: string, reason: string) => void;
  /** Which subjects are refused has changed. */
  readonly changed: () => void;
}

/** Waits before a refused subscription is asked for again, in ms: rules change by hand. */
const ASK_AGAIN = { base: 1_000, cap: 30_000 } as const;

const log = getLogger(["sproxy", "nats"]);

/** A subscription that the broker has not confirmed. */
export interface Unconfirmed {
  /** Its subject. */
  readonly subject: string;
  /** For how long, in ms. */
  readonly ms: number;
}

/** One subscription. */
interface Entry {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly handler: MessageHandler;
  /** Told of a refusal, where it can be done without. */
  readonly onRefused: SubscribeOptions["onRefused"];
  /** What nats-core keeps of it; undefined while the broker refuses it. */
  core: SubscriptionImpl | undefined;
}

/** All subscriptions of a bus. nats-core asks for them again after a reconnect. */
export class SubscriptionTable {
  readonly #core: ProtocolHandler;
  readonly #events: SubscriptionEvents;
  readonly #random: () => number;
  readonly #entries = new Set<Entry>();
  readonly #bySid = new Map<number, Entry>();
  /** Subjects that are refused, and since when. */
  readonly #refused = new Map<string, number>();
  /** What was asked for and not confirmed yet, and when, by `performance.now()`. */
  readonly #unconfirmed = new Map<Entry, number>();
  #refusals = 0;
  #askAgain: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /** Makes an empty table over `core`; `random` is for the back-off's jitter. */
  constructor(
    core: ProtocolHandler,
    options: {
      readonly events: SubscriptionEvents;
      readonly random: () => number;
    },
  ) {
    this.#core = core;
    this.#events = options.events;
    this.#random = options.random;
  }

  /** The subjects that the broker refuses; it is asked again now and then. */
  get refused(): readonly string[] {
    return [...this.#refused.keys()];
  }

  /** The subject that has waited longest for the broker to confirm it, and for how many ms; undefined where none does. */
  get unconfirmed(): Unconfirmed | undefined {
    const [oldest] = this.#unconfirmed;
    return oldest && {
      subject: oldest[0].subject,
      ms: performance.now() - oldest[1],
    };
  }

  /** Subscribes; messages go to `handler` until the result is disposed of. */
  add(
    subject: string,
    handler: MessageHandler,
    { queue, onRefused }: SubscribeOptions = {},
  ): BusSubscription {
    const entry: Entry = {
      ...{ subject, handler, queue, onRefused },
      core: undefined,
    };
    this.#entries.add(entry);
    this.#subscribe(entry);
    return {
      subject,
      drain: () => this.#drain(entry),
      [Symbol.dispose]: () => this.#remove(entry),
    };
  }

  /**
   * Hands `message` to the handler of subscription `sid`; never throws.
   *
   * @returns false when there is none.
   */
  deliver(sid: number, message: BusMessage): boolean {
    const entry = this.#bySid.get(sid);
    if (entry === undefined) return false;
    try {
      entry.handler(message);
    } catch (error) {
      const { subject } = entry;
      log.error("the handler of a message failed", { subject, error });
    }
    return true;
  }

  /**
   * The broker refuses a subject, or takes it away. nats-core tells only the
   * subscription of the same queue group, which a broker whose rules change
   * leaves out.
   */
  refuse(subject: string, reason: string): void {
    for (const entry of this.#entries) {
      if (entry.subject === subject) this.#leaveOut(entry, reason);
    }
  }

  /**
   * The broker takes no more subscriptions, and does not say which one it left
   * out. It leaves out all from one on, and says so for each: so the last.
   */
  exceed(reason: string): void {
    const last = [...this.#bySid.values()].at(-1);
    if (last !== undefined) this.#leaveOut(last, reason);
  }

  /** Asks again, on a new connection, for what the broker refused: its rules may have changed. */
  restore(): void {
    for (const entry of this.#entries) {
      if (entry.core === undefined) this.#subscribe(entry);
    }
  }

  /** The broker has taken in all that it was asked for: tells of what it no longer refuses. */
  settled(): void {
    this.#unconfirmed.clear();
    for (const [subject, since] of this.#refused) {
      if (this.#lacks(subject)) continue;
      this.#refused.delete(subject);
      this.#refusals = 0;
      log.info("NATS takes a subscription that it refused", {
        subject,
        ms: Math.round(performance.now() - since),
      });
      this.#events.changed();
    }
  }

  /** Asks for nothing more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#askAgain);
  }

  #leaveOut(entry: Entry, reason: string): void {
    const { core, subject, onRefused } = entry;
    if (core === undefined) return;
    this.#forget(entry);
    core.unsubscribe();
    if (onRefused === undefined) this.#refuse(subject, reason);
    else guarded(() => onRefused(reason));
  }

  #lacks(subject: string): boolean {
    for (const entry of this.#entries) {
      if (entry.subject === subject && isMissed(entry)) return true;
    }
    return false;
  }

  #refuse(subject: string, reason: string): void {
    this.#events.refused(subject, reason);
    if (!this.#refused.has(subject)) {
      this.#refused.set(subject, performance.now());
      this.#events.changed();
    }
    if (this.#closed) return;
    const delay = backoffDelay(this.#refusals++, {
      ...ASK_AGAIN,
      random: this.#random,
    });
    clearTimeout(this.#askAgain);
    this.#askAgain = setTimeout(() => void this.#retry(), delay);
  }

  async #retry(): Promise<void> {
    for (const entry of this.#entries) {
      if (isMissed(entry)) this.#subscribe(entry);
    }
    try {
      await this.#core.flush();
    } catch (error) {
      // The next connection asks again.
      log.debug("lost while it was asked for subscriptions", { error });
      return;
    }
    this.settled();
  }

  #subscribe(entry: Entry): void {
    const { subject, queue } = entry;
    const core = new SubscriptionImpl(this.#core, subject, {
      ...(queue !== undefined && { queue }),
      // Messages never come this way, and of refusals the table is told.
      callback: () => {},
    });
    entry.core = core;
    this.#core.subscribe(core);
    this.#bySid.set(core.getID(), entry);
    // Out at once, not at the end of the turn: the answer to what is published
    // next may come this way. Lost with the link, it is asked for again.
    this.#unconfirmed.set(entry, performance.now());
    this.#core.flush().then(() => this.#unconfirmed.delete(entry), () => {});
  }

  #remove(entry: Entry): void {
    if (!this.#entries.delete(entry)) return;
    const { core } = entry;
    this.#forget(entry);
    core?.unsubscribe();
  }

  async #drain(entry: Entry): Promise<void> {
    if (!this.#entries.delete(entry)) return;
    try {
      await entry.core?.drain();
    } catch {
      // The bus is closed: nothing more is on its way.
    }
    this.#forget(entry);
  }

  #forget(entry: Entry): void {
    if (entry.core !== undefined) this.#bySid.delete(entry.core.getID());
    entry.core = undefined;
    this.#unconfirmed.delete(entry);
  }
}

/** Whether the broker refuses it, and it cannot be done without. */
function isMissed({ core, onRefused }: Entry): boolean {
  return core === undefined && onRefused === undefined;
}
