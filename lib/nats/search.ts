/**
 * The search for a broker that greets us: one after the other is dialled, soon
 * side by side, each again and again, until one has greeted. One that accepts
 * and says nothing holds nobody up, also where descriptors are few: then dials
 * take turns.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { HEAD_START_MS } from "../base/happy_eyeballs.ts";
import type { Broker, Brokers } from "./brokers.ts";
import { DialTime } from "./dial_time.ts";
import type { Greeted } from "./greeting.ts";
import type { LinkReserve } from "./options.ts";
import { isUntried, type TakeTurn, Turns, Untried } from "./turns.ts";

/** A broker that was found. */
export interface Found extends Greeted {
  /** Which it is. */
  readonly broker: Broker;
  /** When it must have let us in, by the clock of the search. */
  readonly deadline: number;
}

/** What a search needs. */
export interface SearchOptions {
  /** Whom to dial. */
  readonly brokers: Brokers;
  /** Dials one, up to its greeting; what takes descriptors for long takes turns. */
  readonly greet: (
    broker: Broker,
    takeTurn: TakeTurn,
    signal: AbortSignal,
  ) => Promise<Greeted>;
  /** Told of each broker that could not be reached. */
  readonly onFailed: (broker: Broker, error: unknown) => void;
  /** Where the descriptors come from; without it, there are enough. */
  readonly reserve?: LinkReserve | undefined;
  /** How long one broker may take, login included, in ms; a wait for descriptors does not count. */
  readonly dialTimeout: number;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Ends the search. */
  readonly signal: AbortSignal;
}

/**
 * Most brokers that are dialled at the same time, and how many of those may
 * be announced ones, so that the configured ones always have room. With the
 * head start, so many are begun before the first has had its time.
 */
const MAX_DIALS = { all: 16, discovered: 8 } as const;

/** What a broker is told whose time is over, as a clause about it. */
export function noAnswer(dialTimeout: number): Error {
  return new Error(`no answer within ${dialTimeout / 1000} s`);
}

/** Finds a broker; rejects only with the reason of the signal. */
export function findBroker(options: SearchOptions): Promise<Found> {
  return new Search(options).found;
}

class Search {
  readonly #options: SearchOptions;
  readonly #result = Promise.withResolvers<Found>();
  readonly #dials = new Map<Broker, AbortController>();
  readonly #turns: Turns;
  #ended = false;
  /** The broker begun last, and when the next may begin beside it. */
  #latest: Broker | undefined;
  #headStartEnd = -Infinity;
  #timer: Disposable | undefined;

  constructor(options: SearchOptions) {
    this.#options = options;
    const { signal, reserve, clock, dialTimeout: longest } = options;
    this.#turns = new Turns({ reserve, clock, longest });
    if (signal.aborted) this.#abort();
    else {
      signal.addEventListener("abort", this.#abort, { once: true });
      this.#step();
    }
  }

  get found(): Promise<Found> {
    return this.#result.promise;
  }

  readonly #abort = (): void => {
    if (!this.#end()) return;
    this.#result.reject(this.#options.signal.reason);
  };

  /** Begins the next dial, or waits until one may begin. */
  readonly #step = (): void => {
    this.#timer?.[Symbol.dispose]();
    if (this.#ended) return;
    const { brokers, clock } = this.#options;
    const now = clock.now();
    const next = now < this.#headStartEnd || this.#dials.size >= MAX_DIALS.all
      ? undefined
      : brokers.next(now, this.#busy());
    if (next !== undefined && next.at <= now) this.#dial(next.broker, now);
    const at = now < this.#headStartEnd ? this.#headStartEnd : next?.at;
    // Else the end of a dial brings us here again.
    if (at !== undefined) this.#timer = clock.after(at - now, this.#step);
  };

  /** Whom not to dial now. */
  #busy(): { has(broker: Broker): boolean } {
    const dials = this.#dials;
    const discovered =
      [...dials.keys()].filter(({ configured }) => !configured).length;
    const full = discovered >= MAX_DIALS.discovered;
    return {
      has: (broker) => dials.has(broker) || (full && !broker.configured),
    };
  }

  #dial(broker: Broker, now: number): void {
    const { greet, dialTimeout, brokers, clock } = this.#options;
    this.#headStartEnd = now + HEAD_START_MS;
    const stop = new AbortController();
    this.#dials.set(broker, stop);
    this.#latest = broker;
    const time = new DialTime(dialTimeout, clock, () => {
      const late = noAnswer(dialTimeout);
      stop.abort(time.interrupted ? new Untried(late.message) : late);
    });
    const takeTurn = this.#turns.of(time, brokers.workedLast(broker));
    greet(broker, takeTurn, stop.signal).then((greeted) => {
      const deadline = clock.now() + time.left;
      this.#onGreeted({ ...greeted, broker, deadline });
    }, (error) => this.#onFailed(broker, error));
  }

  #onGreeted(found: Found): void {
    this.#dials.delete(found.broker);
    if (this.#end()) this.#result.resolve(found);
    else found.socket[Symbol.dispose]();
  }

  #onFailed(broker: Broker, error: unknown): void {
    this.#dials.delete(broker);
    if (this.#ended) return;
    const { brokers, onFailed, clock } = this.#options;
    brokers.failed(broker, clock.now(), { untried: isUntried(error) });
    onFailed(broker, error);
    // Its head start is over with it.
    if (broker === this.#latest) this.#headStartEnd = -Infinity;
    this.#step();
  }

  /** Ends the other dials; false when there is an outcome already. */
  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#options.signal.removeEventListener("abort", this.#abort);
    this.#timer?.[Symbol.dispose]();
    for (const stop of this.#dials.values()) {
      stop.abort(new Error("another was first"));
    }
    return true;
  }
}
