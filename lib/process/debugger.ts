/**
 * Keeps the runtime's debugger closed. At SIGUSR1 `deno run` opens it on
 * 127.0.0.1:9229, and whoever connects there runs code in this process, with
 * all its permissions and secrets. No flag, variable or listener prevents that:
 * Deno 2.9 (`spawn_sigusr1_inspector_listener` in its `cli/worker.rs`) asks
 * nobody, half a second after the start and later. But its port can be taken,
 * and what it opened can be closed.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { close } from "node:inspector";
import { type Clock, systemClock } from "../base/clock.ts";
import { occupy } from "../net/listen.ts";

/** What of the runtime's debugger is to be had from inside. */
export interface RuntimeDebugger {
  /** Closes it, if it is open. */
  close(): void;
  /** Keeps it from being opened until disposed; undefined where that cannot be. */
  block(): Disposable | undefined;
}

const DENO: RuntimeDebugger = {
  close,
  block: () => occupy({ host: "127.0.0.1", port: 9229 }),
};

/**
 * Pauses after which it is closed again, in ms. Deno hears the signal about
 * when we do, mostly a moment after, and says to nobody inside what it does: on
 * a machine short of CPU time, or where its port cannot be taken, the first
 * time may be too early.
 */
const CLOSE_AGAIN_MS = [0, 10, 100, 1_000] as const;

/** Sees at each SIGUSR1 that no debugger stays open. */
export class DebuggerGuard implements Disposable {
  readonly #clock: Clock;
  readonly #debugger: RuntimeDebugger;
  #block: Disposable | undefined;
  #timer: Disposable | undefined;

  /** A guard of the debugger of this process, unless told otherwise. */
  constructor(
    clock: Clock = systemClock,
    runtimeDebugger: RuntimeDebugger = DENO,
  ) {
    this.#clock = clock;
    this.#debugger = runtimeDebugger;
  }

  /** SIGUSR1 came to this process. */
  onSignal(): void {
    this.#block ??= this.#debugger.block();
    this.#close(0);
    getLogger(["sproxy", "process"]).warn(
      "SIGUSR1 asks for nothing here, and the debugger that Deno opens at it is kept closed",
    );
  }

  /** Does nothing more, and leaves the port. */
  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#block?.[Symbol.dispose]();
    this.#block = undefined;
  }

  #close(round: number): void {
    this.#debugger.close();
    this.#timer?.[Symbol.dispose]();
    const pause = CLOSE_AGAIN_MS[round];
    if (pause === undefined) this[Symbol.dispose]();
    else this.#timer = this.#clock.after(pause, () => this.#close(round + 1));
  }
}
