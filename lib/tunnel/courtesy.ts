/**
 * How much bulk may have under way while other tunnels of the process speak.
 *
 * What is small overtakes bulk on its way (`session/express.ts`), but not in
 * the processes at its ends, nor in the processors that they and the broker
 * share: with 8 MiB under way each of them always has work, and what is small
 * waits for its turn at each. With less, they wait for credit between.
 *
 * @module
 */
import type { PathEstimate } from "./rtt.ts";

/**
 * Bytes under way of all bulk in one direction while others speak: 4 ms of a
 * process that moves 2 Gbit/s.
 */
export const COURTEOUS_BYTES = 1024 * 1024;

/** The same for one of many: four frames, or each would wait for each. */
export const LEAST_BYTES = 64 * 1024;

/** How long a tunnel counts as one that speaks, in ms: people type and pollers poll more often. */
export const SPEAKS_MS = 1_000;

/** On a way of longer round trips, in ms, bulk needs what it has: what is small waits for the way. */
export const SHORT_PATH_MS = 4;

/** What the tunnels of a process know of each other. */
export class Courtesy {
  /** The two that spoke last, and when. */
  #last: { readonly who: Guest; readonly at: number } | undefined;
  #other: { readonly who: Guest; readonly at: number } | undefined;
  #bulk = 1;

  /** How many tunnels have much under way. */
  set bulk(count: number) {
    this.#bulk = Math.max(1, count);
  }

  /** What each of those may have under way while others speak, in bytes. */
  get share(): number {
    return Math.max(LEAST_BYTES, COURTEOUS_BYTES / this.#bulk);
  }

  /** A tunnel over `path`. */
  guest(path: PathEstimate): Guest {
    return new Guest(this, path);
  }

  /** What is small came from `who`, or went there. */
  spoke(who: Guest, at: number): void {
    if (this.#last !== undefined && this.#last.who !== who) {
      this.#other = this.#last;
    }
    this.#last = { who, at };
  }

  /** Whether any but `who` spoke lately. */
  othersSpeak(who: Guest, now: number): boolean {
    const other = this.#last?.who === who ? this.#other : this.#last;
    return other !== undefined && now < other.at + SPEAKS_MS;
  }
}

/** One tunnel among others. */
export class Guest {
  readonly #courtesy: Courtesy;
  readonly #path: PathEstimate;

  /** One that has said nothing. */
  constructor(courtesy: Courtesy, path: PathEstimate) {
    this.#courtesy = courtesy;
    this.#path = path;
  }

  /** What is small came, or goes. */
  spoke(now: number): void {
    this.#courtesy.spoke(this, now);
  }

  /** Most bytes that it may have under way in one direction; no limit while nobody else speaks. */
  most(now: number): number {
    return this.#path.minRtt <= SHORT_PATH_MS &&
        this.#courtesy.othersSpeak(this, now)
      ? this.#courtesy.share
      : Infinity;
  }
}
