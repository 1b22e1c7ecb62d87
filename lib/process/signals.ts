/**
 * The signals that end a process: the first asks for a drain, the second for
 * an end at once. SIGHUP drains where there was a terminal, which is gone;
 * without one it is a word to a service that its files have changed. SIGUSR1,
 * which would end a process that does not listen to it, asks for nothing.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";

/** How a process or a worker is told to end. */
export interface StopSignals {
  /** Aborts first: take nothing new, let what is open finish. */
  readonly drain: AbortSignal;
  /** Aborts after `drain`, if at all: end at once. */
  readonly now: AbortSignal;
}

/** The signals that end a process, with their numbers. */
const ENDS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** The reason of an abort. */
class Stopped extends Error {
  /** What came. */
  readonly signal: keyof typeof ENDS;

  constructor(signal: keyof typeof ENDS) {
    super(`received ${signal}`);
    this.signal = signal;
  }
}

/** What a process exits with that was stopped before it was done: what a shell says of one that the signal killed. */
export function exitCodeOf({ drain }: StopSignals): number {
  const { reason } = drain;
  return 128 + (reason instanceof Stopped ? ENDS[reason.signal] : 0);
}

/** Tells of each signal that is to end the process, so that its log says who ended it. */
export function logStops({ drain, now }: StopSignals): void {
  const log = getLogger(["sproxy", "drain"]);
  const tell = (signal: AbortSignal, how: "drain" | "now"): void => {
    signal.addEventListener("abort", () => {
      const { reason } = signal;
      if (reason instanceof Stopped) {
        log.info("told to stop", { signal: reason.signal, how });
      }
    }, { once: true });
  };
  tell(drain, "drain");
  tell(now, "now");
}

/** Whether `error` is only the word that the process is to end. */
export function isStop(error: unknown, { drain }: StopSignals): boolean {
  return drain.aborted && error === drain.reason;
}

/** The part of `Deno` that listens to signals. */
export interface SignalSource
  extends Pick<typeof Deno, "addSignalListener" | "removeSignalListener"> {
  /** Whether a person started the process in a terminal. */
  readonly stdin: { isTerminal(): boolean };
  /** Whether its log is read there. */
  readonly stderr: { isTerminal(): boolean };
}

/** What is to happen at signals that do not end the process. */
export interface OtherSignals {
  /** Called at each SIGHUP to a process without a terminal; default it ends of that, too. */
  readonly onHangup?: (() => void) | undefined;
  /** Called at each signal that would end the process; returns whether another has it. */
  readonly pass?: ((signal: Deno.Signal) => boolean) | undefined;
  /** Called at each SIGUSR1. */
  readonly onUser1: () => void;
}

/**
 * Listens for signals, or for those of them that the platform has, until
 * disposed. The reason of each abort is an `Error` that names the signal.
 *
 * @param source Where signals come from; default the system.
 */
export function watchSignals(
  { onHangup, onUser1, pass }: OtherSignals,
  source: SignalSource = Deno,
): StopSignals & Disposable & {
  /** Does what a first SIGTERM does; nothing where one has come. */
  readonly askDrain: () => void;
} {
  const drain = new AbortController();
  const now = new AbortController();
  // An operator who has it drain is none: what follows may be part of one plan.
  let signalled = false;
  using listeners = new DisposableStack();
  const hasTerminal = source.stdin.isTerminal() || source.stderr.isTerminal();
  for (const signal of ["SIGUSR1", "SIGINT", "SIGTERM", "SIGHUP"] as const) {
    const listener = (): void => {
      if (signal === "SIGUSR1") {
        onUser1();
        return;
      }
      if (signal === "SIGHUP" && !hasTerminal && onHangup !== undefined) {
        onHangup();
        return;
      }
      if (pass?.(signal)) return;
      const next = signalled ? now : drain;
      signalled = true;
      next.abort(new Stopped(signal));
    };
    try {
      source.addSignalListener(signal, listener);
    } catch (error) {
      // Windows has but a few of them.
      if (!(error instanceof TypeError)) throw error;
      continue;
    }
    listeners.defer(() => source.removeSignalListener(signal, listener));
  }
  const owned = listeners.move();
  return {
    drain: drain.signal,
    now: now.signal,
    askDrain: () => drain.abort(new Stopped("SIGTERM")),
    [Symbol.dispose]: () => owned.dispose(),
  };
}
