/**
 * When to tell of something that may happen often: the first time at once,
 * then now and then with the count, so that a flood is a few lines.
 *
 * @module
 */

/** Counts what happens, and says when it is time to tell. */
export class Throttle {
  readonly #interval: number;
  #count = 0;
  #toldAt = -Infinity;

  /** Nothing has happened; what does is told at most every `interval` ms. */
  constructor(interval: number) {
    this.#interval = interval;
  }

  /** It happened (again): how often since it was last told, if that is to be told now. */
  note(now: number): number | undefined {
    this.#count++;
    if (now < this.#toldAt + this.#interval) return undefined;
    const count = this.#count;
    this.#toldAt = now;
    this.#count = 0;
    return count;
  }
}
