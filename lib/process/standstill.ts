/**
 * Tells when this process, or worker, has not run for a while: stopped by a
 * signal, without a processor, or on a machine that slept. All that is seen
 * then, such as peers that are lost, has that cause.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";

/** How often it is looked, in ms: seldom enough to cost nothing. */
export const LOOK_MS = 5_000;

/** How late a look has to be to be told, in ms: clients take a server that is silent for as long for dead. */
export const LATE_MS = 4_000;

/** Looks until it is disposed. */
export class Standstill implements Disposable {
  readonly #clock: Pick<Clock, "now" | "after">;
  #timer: Disposable;

  /** Begins to look. */
  constructor(clock: Pick<Clock, "now" | "after">) {
    this.#clock = clock;
    this.#timer = this.#next();
  }

  /** Looks no more. */
  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }

  #next(): Disposable {
    const dueAt = this.#clock.now() + LOOK_MS;
    return this.#clock.after(LOOK_MS, () => {
      const late = this.#clock.now() - dueAt;
      this.#timer = this.#next();
      if (late < LATE_MS) return;
      getLogger(["sproxy", "process"]).warn("this process stood still", {
        ms: Math.round(late),
        hint: "it was stopped, had no processor, or the machine slept",
      });
    });
  }
}
