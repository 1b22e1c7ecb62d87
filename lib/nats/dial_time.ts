/**
 * The time of one dial: it passes while something of the dial runs, and stands
 * still while all of it waits for its turn.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";

/** A time that can be used up. */
export class DialTime {
  /** Whether something of the dial was ended for another, to begin anew. */
  interrupted = false;
  readonly #clock: Clock;
  readonly #over: () => void;
  #left: number;
  #running = 0;
  #since = 0;
  #timer: Disposable | undefined;

  /** Calls `over` when something has run for `left` ms in all. */
  constructor(left: number, clock: Clock, over: () => void) {
    this.#left = left;
    this.#clock = clock;
    this.#over = over;
  }

  /** How much is left, in ms. */
  get left(): number {
    const passed = this.#running > 0 ? this.#clock.now() - this.#since : 0;
    return this.#left - passed;
  }

  /** Something runs, until disposed. */
  run(): Disposable {
    if (this.#running++ === 0) {
      this.#since = this.#clock.now();
      this.#timer = this.#clock.after(this.#left, this.#over);
    }
    return { [Symbol.dispose]: () => this.#stop() };
  }

  #stop(): void {
    const { left } = this;
    if (--this.#running > 0) return;
    this.#left = left;
    this.#timer?.[Symbol.dispose]();
  }
}
