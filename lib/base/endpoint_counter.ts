/**
 * What is counted of a place where requests are answered: how many, how many in
 * vain, and how long that took.
 *
 * @module
 */

/** Nanoseconds of a millisecond. */
const NANOSECONDS = 1_000_000;

/** The requests of one place since the process started. */
export class EndpointCounter {
  /** Requests that were answered. */
  requests = 0;
  /** Those of them whose answer was an error. */
  errors = 0;
  /** The last error, as a word; empty while there was none. */
  lastError = "";
  #ms = 0;

  /** Counts a request that was answered after `ms`, with an error if there is one. */
  note(ms: number, error?: string): void {
    this.requests++;
    this.#ms += Math.max(0, ms);
    if (error === undefined) return;
    this.errors++;
    this.lastError = error;
  }

  /** Time from all requests to their answers, in ns. */
  get time(): number {
    return Math.round(this.#ms * NANOSECONDS);
  }

  /** The same of one request, on average. */
  get averageTime(): number {
    return this.requests === 0 ? 0 : Math.round(this.time / this.requests);
  }
}
