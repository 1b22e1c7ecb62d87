/**
 * How long to wait before trying again: capped exponential back-off with full
 * jitter, so that many processes which lost the same broker at the same moment
 * do not come back at the same moment.
 *
 * @module
 */

/** The bounds of a back-off and its source of chance. */
export interface BackoffOptions {
  /** Upper bound of the wait before attempt 0, in ms. */
  readonly base: number;
  /** Upper bound of every wait, in ms. */
  readonly cap: number;
  /** A number in [0, 1), as from `Math.random`. */
  readonly random: () => number;
}

/**
 * The wait in ms before attempt number `attempt` (0 for the first): a random
 * share of `base * 2^attempt`, at most `cap`.
 *
 * @throws {RangeError} when `attempt` is not a whole number of at least 0.
 */
export function backoffDelay(attempt: number, options: BackoffOptions): number {
  if (!Number.isInteger(attempt) || attempt < 0) {
    throw new RangeError(`Cannot back off before attempt ${attempt}`);
  }
  const { base, cap, random } = options;
  return random() * Math.min(cap, base * 2 ** attempt);
}
