/**
 * Waiting that can be given up, and that ends after a time.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/**
 * What `promise` comes to, or, if `signal` aborts before, its reason: then what
 * comes of the promise is passed over.
 */
export function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { promise: either, resolve, reject } = Promise.withResolvers<T>();
  const giveUp = (): void => reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted) giveUp();
  promise.then(resolve, reject);
  return either.finally(() => signal.removeEventListener("abort", giveUp));
}

/**
 * Something that may take so long and no longer: its signal aborts with that of
 * whoever wants it, when time is up, or at its end.
 */
export class Deadline implements Disposable {
  readonly #stop = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timer: Disposable;
  readonly #giveUp = (): void => this.#stop.abort(this.#outer.reason);

  /** It begins; `late` makes the reason when it has taken `ms` ms. */
  constructor(
    outer: AbortSignal,
    { clock, ms, late }: {
      readonly clock: Pick<Clock, "after">;
      readonly ms: number;
      readonly late: () => unknown;
    },
  ) {
    this.#outer = outer;
    outer.addEventListener("abort", this.#giveUp, { once: true });
    if (outer.aborted) this.#giveUp();
    this.#timer = clock.after(ms, () => this.#stop.abort(late()));
  }

  /** Aborts when it is to be given up. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** It has ended: what is left of it is not needed. */
  [Symbol.dispose](): void {
    this.#outer.removeEventListener("abort", this.#giveUp);
    this.#timer[Symbol.dispose]();
    this.#stop.abort();
  }
}
