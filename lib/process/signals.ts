/**
 * The signals that end a process: the first asks for a drain, the second for
 * an end at once.
 *
 * @module
 */

/** A signal that ends a process. */
export type EndSignal = "SIGINT" | "SIGTERM";

/** Where signals come from. */
export interface SignalSource {
  /**
   * Calls `listener` on each `signal`.
   *
   * @throws {TypeError} when the platform does not have that signal.
   */
  add(signal: EndSignal, listener: () => void): void;
  /** Stops calling `listener`. */
  remove(signal: EndSignal, listener: () => void): void;
}

/** What the signals ask for; disposal stops listening to them. */
export interface Shutdown extends Disposable {
  /** Aborts on the first signal: take nothing new, let what is open finish. */
  readonly drain: AbortSignal;
  /** Aborts on the second signal: end. */
  readonly now: AbortSignal;
}

const END_SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** The signals of this process. */
const processSignals: SignalSource = {
  add: (signal, listener) => Deno.addSignalListener(signal, listener),
  remove: (signal, listener) => Deno.removeSignalListener(signal, listener),
};

/**
 * Listens for SIGINT and SIGTERM, or for the one of them that the platform
 * has. The reason of each abort is an `Error` that names the signal.
 */
export function watchSignals(
  source: SignalSource = processSignals,
): Shutdown {
  const drain = new AbortController();
  const now = new AbortController();
  const listeners = new Map<EndSignal, () => void>();
  for (const signal of END_SIGNALS) {
    const listener = (): void => {
      const next = drain.signal.aborted ? now : drain;
      next.abort(new Error(`received ${signal}`));
    };
    try {
      source.add(signal, listener);
      listeners.set(signal, listener);
    } catch (error) {
      // Windows has no SIGTERM to listen for.
      if (!(error instanceof TypeError)) throw error;
    }
  }
  return {
    drain: drain.signal,
    now: now.signal,
    [Symbol.dispose](): void {
      for (const [signal, listener] of listeners) {
        source.remove(signal, listener);
      }
      listeners.clear();
    },
  };
}
