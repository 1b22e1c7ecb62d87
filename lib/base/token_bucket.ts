/**
 * How often something may happen: so many times a second, and as many at once
 * after a rest of a second.
 *
 * @module
 */

/** A bucket that is full at first and fills again with time. */
export class TokenBucket {
  readonly #rate: number;
  #tokens: number;
  #filledAt: number;

  /** A bucket of `rate` tokens, into which as many come each second. */
  constructor(options: { readonly rate: number; readonly now: number }) {
    this.#rate = options.rate;
    this.#tokens = options.rate;
    this.#filledAt = options.now;
  }

  /** Takes a token; returns whether there was one. */
  take(now: number): boolean {
    this.#fill(now);
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Whether nothing was taken for so long that it is as a new one. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#tokens >= this.#rate;
  }

  #fill(now: number): void {
    const grown = (now - this.#filledAt) / 1000 * this.#rate;
    this.#tokens = Math.min(this.#rate, this.#tokens + grown);
    this.#filledAt = now;
  }
}
