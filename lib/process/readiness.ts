/**
 * Since when a process can or cannot do its work, and what went wrong last:
 * pure, so that what is so now goes in and what is told of it comes out.
 *
 * @module
 */

import type { LastError } from "../status/snapshot.ts";

/** What is told beside whether it is ready. */
export interface Since {
  /** Since when it is as it is, in ms since 1970. */
  readonly since: number;
  /** What went wrong last; undefined where nothing did. */
  readonly lastError?: LastError | undefined;
}

/** The memory of a process for its readiness. */
export class Readiness {
  #ready = false;
  #since: number;
  #lastError: LastError | undefined;

  /** Not ready, as it starts `now`. */
  constructor(now: number) {
    this.#since = now;
  }

  /** It is ready, or not, as `reason` says. */
  note(reason: string | undefined, now: number): void {
    const ready = reason === undefined;
    if (ready === this.#ready) return;
    this.#ready = ready;
    this.#since = now;
  }

  /** Something went wrong; undefined is nothing. */
  noteError(text: string | undefined, now: number): void {
    if (text !== undefined) this.#lastError = { text, at: now };
  }

  /** What is told. */
  get told(): Since {
    const lastError = this.#lastError;
    return { since: this.#since, ...(lastError && { lastError }) };
  }
}
