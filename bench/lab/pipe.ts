/**
 * One direction of a line: packets wait for its rate, take its delay, and some
 * are lost. Pure: time comes in with every call.
 *
 * @module
 */

/** How one direction of a line treats packets. */
export interface Line {
  /** How long a packet is under way, in ms. */
  readonly delay: number;
  /** The share of packets that are lost, 0 to 1. */
  readonly loss: number;
  /** Bits a second that it carries; `undefined` for no bound. */
  readonly rate?: number | undefined;
  /** How long a packet may wait for its turn, in ms; one that had to for longer is dropped. Matters with a rate. */
  readonly queue: number;
}

/** A packet that has come through. */
export interface Through<T> {
  /** What was put in. */
  readonly packet: T;
  /** When it came through, in ms: not later than it was asked for. */
  readonly at: number;
}

/** A queue of packets on one direction of a line: what goes in first comes out first. */
export class Pipe<T> {
  /** How it treats packets that come from now on. */
  line: Line;
  readonly #random: () => number;
  #waiting: Through<T>[] = [];
  /** Those before it have come out. */
  #head = 0;
  #freeAt = -Infinity;
  #lastAt = -Infinity;

  /** An empty one; `random` gives values from 0 to 1 that say what is lost. */
  constructor(line: Line, random: () => number) {
    this.line = line;
    this.#random = random;
  }

  /** When the next packet comes through; `Infinity` when none is under way. */
  get dueAt(): number {
    return this.#waiting[this.#head]?.at ?? Infinity;
  }

  /** Takes a packet of `bytes` at `now`; false when it is lost. */
  push(packet: T, bytes: number, now: number): boolean {
    const { delay, loss, rate, queue } = this.line;
    // Drawn for each packet, so that the next ones are lost all the same.
    const isLost = this.#random() < loss;
    const from = Math.max(now, this.#freeAt);
    if (from - now > queue) return false;
    if (rate !== undefined) this.#freeAt = from + bytes * 8_000 / rate;
    if (isLost) return false;
    const sent = rate === undefined ? now : this.#freeAt;
    // A line that became shorter does not let packets overtake each other.
    const at = this.#lastAt = Math.max(this.#lastAt, sent + delay);
    this.#waiting.push({ packet, at });
    return true;
  }

  /** The next packet that has come through by `now`. */
  take(now: number): Through<T> | undefined {
    const first = this.#waiting[this.#head];
    if (first === undefined || first.at > now) return undefined;
    this.#head++;
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    } else if (this.#head >= 4096) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return first;
  }
}

/** Numbers from 0 to 1 that follow from `seed` (a linear congruence, its upper bits). */
export function numbersOf(seed: number): () => number {
  let state = BigInt.asUintN(64, BigInt(seed));
  return () => {
    state = BigInt.asUintN(64, state * FACTOR + STEP);
    return Number(state >> 32n) / 2 ** 32;
  };
}

/** Of D. Knuth's generator MMIX. */
const FACTOR = 6_364_136_223_846_793_005n;

/** As {@linkcode FACTOR}. */
const STEP = 1_442_695_040_888_963_407n;
