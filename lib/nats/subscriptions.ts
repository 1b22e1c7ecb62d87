/**
 * The subscriptions of a bus: which handler gets the messages of which
 * subscription ID, and what becomes of one that the broker refuses.
 *
 * @module
 */

import {
  type ProtocolHandler,
  SubscriptionImpl,
} from "@nats-io/nats-core/internal";
import type { BusMessage, BusSubscription, MessageHandler } from "./bus.ts";

/** Whom a table tells what goes wrong. */
export interface SubscriptionHost {
  /** The broker refuses `subject`; it is asked again now and then. */
  refused(subject: string, reason: string): void;
  /** The handler of `subject` threw `error`. */
  handlerFailed(subject: string, error: unknown): void;
}

/** One subscription. */
interface Entry {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly handler: MessageHandler;
  /** What nats-core keeps of it; undefined while the broker refuses it. */
  core: SubscriptionImpl | undefined;
}

/** All subscriptions of a bus. nats-core asks for them again after a reconnect. */
export class SubscriptionTable {
  readonly #core: ProtocolHandler;
  readonly #host: SubscriptionHost;
  readonly #entries = new Set<Entry>();
  readonly #bySid = new Map<number, Entry>();

  /** Makes an empty table over `core`. */
  constructor(core: ProtocolHandler, host: SubscriptionHost) {
    this.#core = core;
    this.#host = host;
  }

  /** Subscribes; messages go to `handler` until the result is disposed of. */
  add(
    subject: string,
    handler: MessageHandler,
    options: { readonly queue?: string } = {},
  ): BusSubscription {
    const entry: Entry = {
      subject,
      handler,
      queue: options.queue,
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
      this.#host.handlerFailed(entry.subject, error);
    }
    return true;
  }

  /** The subjects that the broker refuses. */
  get refused(): string[] {
    return [...this.#entries].filter(({ core }) => core === undefined)
      .map(({ subject }) => subject);
  }

  /**
   * The broker has taken a subject away. When its rules change it leaves out
   * the queue group, and nats-core does not find the subscription.
   */
  refuse(subject: string, reason: string): void {
    for (const entry of this.#entries) {
      if (entry.subject !== subject || entry.core === undefined) continue;
      const { core } = entry;
      this.#forget(entry);
      core.unsubscribe();
      this.#host.refused(subject, reason);
    }
  }

  /** Asks again for what the broker refused: its rules may have changed. */
  restore(): void {
    for (const entry of this.#entries) {
      if (entry.core === undefined) this.#subscribe(entry);
    }
  }

  #subscribe(entry: Entry): void {
    const { subject, queue } = entry;
    const core = new SubscriptionImpl(this.#core, subject, {
      ...(queue !== undefined && { queue }),
      // Messages never come this way, only the end of a refused one.
      callback: (error) => {
        if (error === null || entry.core !== core) return;
        this.#forget(entry);
        this.#host.refused(subject, error.message);
      },
    });
    entry.core = core;
    this.#core.subscribe(core);
    this.#bySid.set(core.getID(), entry);
    // Out at once, not at the end of the turn: the answer to what is published
    // next may come this way. Lost with the link, it is asked for again.
    this.#core.flush().catch(() => {});
  }

  #remove(entry: Entry): void {
    if (!this.#entries.delete(entry)) return;
    const { core } = entry;
    this.#forget(entry);
    core?.unsubscribe();
  }

  async #drain(entry: Entry): Promise<void> {
    if (!this.#entries.delete(entry)) return;
    const { core } = entry;
    core?.unsubscribe();
    try {
      await this.#core.flush();
    } catch {
      // The link is lost: nothing more is on its way.
    }
    if (core !== undefined) this.#bySid.delete(core.getID());
    entry.core = undefined;
  }

  #forget(entry: Entry): void {
    if (entry.core !== undefined) this.#bySid.delete(entry.core.getID());
    entry.core = undefined;
  }
}
