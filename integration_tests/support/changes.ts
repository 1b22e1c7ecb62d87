/**
 * Waits for a state that something else changes, without polling.
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import { currentSignal } from "./integration_test.ts";

/** How a wait can be given up. */
export interface WaitOptions {
  /** Ends the wait; by default the running test's own signal. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A promise that rejects with the signal's reason when it aborts, or
 * otherwise settles as `start` says; `stop` is called in both cases.
 *
 * @throws the reason of the signal, when it aborts first.
 */
export async function abortable<T>(
  start: (resolve: (value: T) => void, reject: (e: unknown) => void) => void,
  options: WaitOptions & { readonly stop?: () => void } = {},
): Promise<T> {
  const signal = options.signal ?? currentSignal();
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    start(resolve, reject);
    return await promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    options.stop?.();
  }
}

/**
 * Waits for `ms` milliseconds, for 0 not at all: how long something is away, or
 * the pause between two looks at what can only be asked for.
 *
 * @throws {Error} an `AbortError` when `signal` aborts first.
 */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (ms > 0) await setTimeout(ms, undefined, signal && { signal });
}

/**
 * Runs `body`, and gives it up after `limit` ms: its signal aborts then, after
 * `onHang` has had its look.
 *
 * @throws {Error} when it did not end in time, or what `body` throws.
 */
export async function within<T>(
  limit: number,
  body: (signal: AbortSignal) => Promise<T>,
  { onHang = () => Promise.resolve(), complaint = "it did not end" }: {
    readonly onHang?: () => Promise<void>;
    /** What the error says is wrong, before the time. */
    readonly complaint?: string;
  } = {},
): Promise<T> {
  const controller = new AbortController();
  const hung = Promise.withResolvers<never>();
  const timer = globalThis.setTimeout(async () => {
    await onHang();
    const error = new Error(`${complaint} within ${limit / 1000} s`);
    controller.abort(error);
    hung.reject(error);
  }, limit);
  try {
    return await Promise.race([body(controller.signal), hung.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Something whose changes others wait for. */
export class Changes {
  readonly #waiters = new Set<() => void>();

  /** Says that something changed: everyone waiting looks again. */
  notify(): void {
    for (const look of [...this.#waiters]) look();
  }

  /**
   * Waits until `probe` gives something other than undefined or false; it is
   * called now and after each {@linkcode Changes.notify}.
   *
   * @throws the reason of the signal, or what `probe` throws.
   */
  async until<T>(
    probe: () => T | undefined | false,
    options: WaitOptions = {},
  ): Promise<T> {
    let look = (): void => {};
    return await abortable<T>((resolve, reject) => {
      look = () => {
        try {
          const value = probe();
          if (value !== undefined && value !== false) resolve(value);
        } catch (error) {
          reject(error);
        }
      };
      this.#waiters.add(look);
      look();
    }, {
      signal: options.signal,
      stop: () => void this.#waiters.delete(look),
    });
  }
}
