/**
 * Turns at what few descriptors there are: dials run side by side as long as
 * there are enough, and else by turns. The oldest is ended early for one that
 * waits, and begun anew when its turn comes again, which then is longer.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { isShortage } from "../base/errors.ts";
import { HEAD_START_MS } from "../base/happy_eyeballs.ts";
import type { DialTime } from "./dial_time.ts";
import type { LinkReserve } from "./options.ts";

/** What is dialled, or asked for. */
export interface Way {
  /** Where it leads: each has its turns. */
  readonly name: string;
  /**
   * `address`: a socket. `name`: a socket whose address the runtime finds.
   * `lookup`: of a name, which cannot be ended and so keeps its turn.
   */
  readonly kind: "address" | "name" | "lookup";
}

/** Runs `attempt` when there are descriptors for it, perhaps more than once; `signal` gives it up. */
export type TakeTurn = <T>(
  way: Way,
  attempt: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
) => Promise<T>;

/** A dial that failed for want of descriptors or of an unbroken turn, which says nothing about the broker. */
export class Untried extends Error {
  /** What stack traces call it. */
  override readonly name = "Untried";
}

/** Whether `error`, or one of those that it is made of, is an {@linkcode Untried}. */
export function isUntried(error: unknown): boolean {
  return error instanceof AggregateError
    ? error.errors.some(isUntried)
    : error instanceof Untried;
}

/**
 * Descriptors that must be free for a dial beside others, which it is not to
 * take them from: the resolver's, or its own and one more.
 */
const DIAL_DESCRIPTORS = 2;

/**
 * How many more for one whose turn was ended before: a first turn is short, so
 * that a broker that has come back waits for no longer one.
 */
const LATER_TURN_DESCRIPTORS = 1;

/**
 * How long a first turn lasts at least, in ms; each one after it lasts twice as
 * long, so that a slow broker has time enough in the end. A greeting takes two
 * round trips, and a quarter of a second is a long one.
 */
const FIRST_TURN_MS = 2 * HEAD_START_MS;

/**
 * How many turns a preferred way has before the others have one: 3.5 s in all.
 * Always would be too often, where there is room for no more than one.
 */
const PREFERRED_TURNS = 3;

/**
 * Ways whose turns are remembered: those of 16 brokers with eight addresses
 * each are 128, and a name whose addresses change does not fill our memory.
 */
const MAX_REMEMBERED = 1024;

/** A way that is dialled, or waits for its turn. */
interface Entry {
  readonly way: Way;
  readonly time: DialTime;
  readonly preferred: boolean;
  readonly signal: AbortSignal;
  /** Runs it once; what it gives is taken care of. */
  readonly attempt: (signal: AbortSignal) => Promise<void>;
  /** It failed for good. */
  readonly fail: (error: unknown) => void;
}

/** Turns of one search for a broker. */
export class Turns {
  readonly #reserve: LinkReserve | undefined;
  readonly #clock: Clock;
  readonly #longest: number;
  /** Those that wait, in the order in which they came; at most as many as addresses are tried at once. */
  readonly #waiting = new Set<Entry>();
  /** Those that run, the oldest first. */
  readonly #running = new Map<
    Entry,
    { readonly began: number; readonly end: AbortController }
  >();
  /** How many turns of a way in a row were ended early. */
  readonly #ended = new Map<string, number>();
  #timer: Disposable | undefined;

  /** Turns at the descriptors of `reserve`; without it, there are enough. No turn needs to be longer than `longest`, in ms. */
  constructor(
    { reserve, clock, longest }: {
      readonly reserve: LinkReserve | undefined;
      readonly clock: Clock;
      readonly longest: number;
    },
  ) {
    this.#reserve = reserve;
    this.#clock = clock;
    this.#longest = longest;
  }

  /** What one dial takes its turns with; `time` passes in them. Those of a `preferred` one come sooner. */
  of(time: DialTime, preferred: boolean): TakeTurn {
    return <T>(
      way: Way,
      attempt: (signal: AbortSignal) => Promise<T>,
      signal: AbortSignal,
    ): Promise<T> => {
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      const entry: Entry = {
        way,
        time,
        preferred,
        signal,
        attempt: (signal) => attempt(signal).then(resolve),
        fail: reject,
      };
      if (signal.aborted) reject(signal.reason);
      else {
        signal.addEventListener("abort", () => this.#leave(entry), {
          once: true,
        });
        this.#waiting.add(entry);
        this.#step();
      }
      return promise;
    };
  }

  /** Begins the next, makes room for it, or waits. */
  readonly #step = (): void => {
    this.#timer?.[Symbol.dispose]();
    const next = this.#next();
    if (next === undefined) return;
    const now = this.#clock.now();
    // Nobody tells of descriptors that others give back: they are looked for.
    let again = now + HEAD_START_MS;
    if (!this.#begin(next, now)) {
      const victim = this.#victim(next);
      if (victim !== undefined) {
        if (victim.at > now) again = Math.min(again, victim.at);
        else victim.end.abort();
      }
    }
    if (this.#waiting.size > 0) {
      this.#timer = this.#clock.after(again - now, this.#step);
    }
  };

  /** The one of those that wait that had the fewest turns, and of those the first. */
  #next(): Entry | undefined {
    let best: Entry | undefined;
    for (const entry of this.#waiting) {
      if (best === undefined || this.#rank(entry) < this.#rank(best)) {
        best = entry;
      }
    }
    return best;
  }

  /** Begins a turn of `entry`; false when there are too few descriptors. */
  #begin(entry: Entry, began: number): boolean {
    const { attempt, time, signal, way } = entry;
    const reserve = this.#reserve;
    using cleanup = new DisposableStack();
    // For each anew: those that were enough for the first are guests' by now.
    cleanup.use(reserve?.lend());
    const needed = DIAL_DESCRIPTORS +
      (this.#rank(entry) > 0 ? LATER_TURN_DESCRIPTORS : 0);
    if (this.#running.size > 0 && reserve?.has(needed) === false) return false;
    const end = new AbortController();
    this.#waiting.delete(entry);
    this.#running.set(entry, { began, end });
    cleanup.use(time.run());
    const whileRunning = cleanup.move();
    const over = (): void => {
      whileRunning.dispose();
      this.#running.delete(entry);
    };
    attempt(AbortSignal.any([signal, end.signal])).then(() => {
      over();
      this.#ended.delete(way.name);
      this.#step();
    }, (error) => {
      const untried = this.#lacked(way, error);
      over();
      if (signal.aborted) entry.fail(error);
      else if (end.signal.aborted) this.#again(entry, began);
      else {
        this.#ended.delete(way.name);
        entry.fail(
          untried
            ? new Untried("too few open files to try it (raise ulimit -n)", {
              cause: error,
            })
            : error,
        );
      }
      this.#step();
    });
    return true;
  }

  /** Who is to end for `next`, and when: the oldest one that may. */
  #victim(
    next: Entry,
  ): { readonly at: number; readonly end: AbortController } | undefined {
    const turns = [...this.#running].map(([entry, { began, end }]) => ({
      at: began + this.#least(entry),
      end,
      kept: entry.way.kind === "lookup",
      later: this.#rank(entry) > 0,
    }));
    // The room of one that is about to end is room enough.
    if (turns.some(({ end }) => end.signal.aborted)) return undefined;
    const later = this.#rank(next) > 0 && turns.some(({ later }) => later);
    return turns.filter((turn) => !turn.kept && (!later || turn.later))
      .reduce<typeof turns[number] | undefined>(
        (first, turn) =>
          first === undefined || turn.at < first.at ? turn : first,
        undefined,
      );
  }

  /** How long a turn of `entry` lasts at least, in ms. */
  #least(entry: Entry): number {
    return Math.min(FIRST_TURN_MS * 2 ** this.#count(entry), this.#longest);
  }

  /** The lower, the sooner it has its turn; above 0 it is a later one. */
  #rank(entry: Entry): number {
    return this.#count(entry) - (entry.preferred ? PREFERRED_TURNS : 0);
  }

  #count({ way }: Entry): number {
    return this.#ended.get(way.name) ?? 0;
  }

  /** The turn of `entry` was ended for another: it waits for the next. */
  #again(entry: Entry, began: number): void {
    const { name } = entry.way;
    const count = this.#count(entry);
    entry.time.interrupted = true;
    if (this.#ended.size >= MAX_REMEMBERED) this.#ended.clear();
    // All that it may have it had: it begins anew.
    if (this.#clock.now() - began >= this.#longest) this.#ended.delete(name);
    else this.#ended.set(name, count + 1);
    this.#waiting.add(entry);
  }

  /** `entry` is given up while it waits; one that runs ends by itself. */
  #leave(entry: Entry): void {
    if (!this.#waiting.delete(entry)) return;
    entry.fail(entry.signal.reason);
    this.#step();
  }

  /** Whether a dial failed for want of descriptors: the resolver does not say so, nor does who reads a file. */
  #lacked({ kind }: Way, error: unknown): boolean {
    const own = kind === "address" ? 1 : DIAL_DESCRIPTORS;
    return isShortage(error) || this.#reserve?.has(own) === false;
  }
}
