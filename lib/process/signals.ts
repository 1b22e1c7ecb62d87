/**
 * The signals that end a process: the first asks for a drain, the second for
 * an end at once.
 *
 * @module
 */

/** How a process or a worker is told to end. */
export interface StopSignals {
  /** Aborts first: take nothing new, let what is open finish. */
  readonly drain: AbortSignal;
  /** Aborts after `drain`, if at all: end at once. */
  readonly now: AbortSignal;
}

/** Whether `error` is only the word that the process is to end. */
export function isStop(error: unknown, { drain }: StopSignals): boolean {
  return drain.aborted && error === drain.reason;
}

/** The part of `Deno` that listens to signals. */
export type SignalSource = Pick<
  typeof Deno,
  "addSignalListener" | "removeSignalListener"
>;

/**
 * Listens for SIGINT and SIGTERM, or for the one of them that the platform
 * has, until disposed. The reason of each abort is an `Error` that names the
 * signal.
 */
export function watchSignals(
  source: SignalSource = Deno,
): StopSignals & Disposable {
  const drain = new AbortController();
  const now = new AbortController();
  using listeners = new DisposableStack();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const listener = (): void => {
      const next = drain.signal.aborted ? now : drain;
      next.abort(new Error(`received ${signal}`));
    };
    try {
      source.addSignalListener(signal, listener);
    } catch (error) {
      // Windows has no SIGTERM to listen for.
      if (!(error instanceof TypeError)) throw error;
      continue;
    }
    listeners.defer(() => source.removeSignalListener(signal, listener));
  }
  const owned = listeners.move();
  return {
    drain: drain.signal,
    now: now.signal,
    [Symbol.dispose]: () => owned.dispose(),
  };
}
