/**
 * Ends what runs when the program is told to end, so that nothing it started is
 * left behind.
 *
 * @module
 */

/** Aborts at SIGINT and SIGTERM, until it is disposed. */
export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #onSignal = () => this.#controller.abort(new Error("interrupted"));

  /** Listens for the signals from now on. */
  constructor() {
    Deno.addSignalListener("SIGINT", this.#onSignal);
    Deno.addSignalListener("SIGTERM", this.#onSignal);
  }

  /** What aborts. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Lets the signals do again what they do by themselves. */
  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGINT", this.#onSignal);
    Deno.removeSignalListener("SIGTERM", this.#onSignal);
  }
}
