/**
 * Calls what users of the bus hand in, and survives when it throws.
 *
 * @module
 */

import { getLogger } from "@logtape/logtape";

/** Functions to call with each event. */
export class Listeners<T> {
  readonly #all = new Set<(event: T) => void>();

  /** Adds `listener` until `signal` aborts. */
  add(listener: (event: T) => void, signal?: AbortSignal): void {
    if (signal?.aborted) return;
    this.#all.add(listener);
    signal?.addEventListener("abort", () => this.#all.delete(listener), {
      once: true,
    });
  }

  /** Calls every listener; one that throws keeps no other from being called. */
  notify(event: T): void {
    for (const listener of this.#all) guarded(() => listener(event));
  }
}

/** Runs `callback`; logs what it throws, so that no user's fault breaks the link. */
export function guarded(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    getLogger(["sproxy", "nats"]).error("a listener of the NATS link failed", {
      error,
    });
  }
}
