/** Time as a test wants it. */
import type { Clock } from "../../lib/base/clock.ts";

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock that stands still until it is told to go on. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  /** What is set stays as far from `now`. */
  wallOffset = Date.UTC(2026, 0, 1);

  wallTime(): number {
    return this.#now + this.wallOffset;
  }

  after(delay: number, callback: () => void): Disposable {
    const timer = { at: this.#now + delay, callback };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
  }

  /** Timers that have not fired. */
  get timers(): number {
    return this.#timers.size;
  }

  /**
   * Lets `ms` pass. Timers fire one after the other at their time; `settle`
   * is awaited after each, so that what they start is done before the next.
   */
  async advance(
    ms: number,
    settle: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.at > until) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await settle();
    }
    this.#now = until;
    await settle();
  }

  /** The timer that fires next; of equal ones the older. */
  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.at < next.at) next = timer;
    }
    return next;
  }
}
