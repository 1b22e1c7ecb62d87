/**
 * How durations are spread: counted in buckets, as Prometheus has them.
 *
 * @module
 */

/** Counts durations by how long they were. */
export class DurationHistogram {
  /** The upper end of each bucket, in seconds, ascending; behind the last is one more without an end. */
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** Nothing is counted yet, in buckets up to these `bounds`. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Array(bounds.length + 1).fill(0);
  }

  /** Counts a duration, in ms; one below 0, of a clock that was set back, is none. */
  observe(ms: number): void {
    const seconds = Math.max(0, ms) / 1000;
    const at = this.bounds.findIndex((bound) => seconds <= bound);
    const bucket = at < 0 ? this.bounds.length : at;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += seconds;
  }

  /** How many there were that took no longer than each of the bounds, and at last how many there were. */
  get cumulative(): readonly number[] {
    let below = 0;
    return this.#counts.map((count) => below += count);
  }

  /** All durations together, in seconds. */
  get sum(): number {
    return this.#sum;
  }
}

/**
 * Bounds for what should take a round trip or two, in seconds: from one within a
 * machine, through one around the earth (0.3 s), to the longest that an open or
 * a dial may take unless configured otherwise (15 and 10 s), and one beyond.
 */
export const LATENCY_BOUNDS = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
  ...[1, 2.5, 5, 10, 15, 30],
] as const;

/**
 * Bounds for the life of a tunnel, in seconds: a request, a page, a minute's
 * poll, a session, a working day, a pool's connection of a week.
 */
export const LIFE_BOUNDS = [
  ...[0.01, 0.1, 1, 10, 60, 300, 1800, 3600],
  ...[4 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600],
] as const;

/**
 * Bounds for one round trip between two processes, in seconds: a broker on the
 * same machine answers within 0.2 ms (measured), one around the earth within
 * 0.3 s, and what is beyond 1 s waits behind something.
 */
export const ROUND_TRIP_BOUNDS = [
  ...[0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05],
  ...[0.1, 0.25, 0.5, 1, 2.5],
] as const;
