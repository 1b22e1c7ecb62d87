/**
 * Whether a service is in order, as its checks say: pure, so that a check's end
 * goes in and what follows comes out.
 *
 * One success puts it in order; what is in order is out of it after as many
 * failures in a row as its entry says.
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";

/** What a check's end changes. */
export type HealthChange = "up" | "down" | undefined;

/** The health of one service. */
export class ServiceHealth {
  #state: "unknown" | "up" | "down";
  /** In order as far as anybody knows, of a target that was never tried. */
  #presumed: boolean;
  #failed = 0;
  #why: Reason | undefined;

  /**
   * Nothing is known at first. Where it is `presumed` to be in order it is, until
   * its first check says otherwise.
   */
  constructor({ presumed = false }: { readonly presumed?: boolean } = {}) {
    this.#state = presumed ? "up" : "unknown";
    this.#presumed = presumed;
  }

  /** Whether it is in order. */
  get up(): boolean {
    return this.#state === "up";
  }

  /** Why the last check failed; undefined if it did not, or there was none. */
  get why(): Reason | undefined {
    return this.#why;
  }

  /** A check has ended, with `failure` if it failed; `most` failures in a row are too many. */
  note(failure: Reason | undefined, most: number): HealthChange {
    const presumed = this.#presumed;
    this.#presumed = false;
    this.#why = failure;
    if (failure === undefined) {
      this.#failed = 0;
      return this.#become("up");
    }
    this.#failed++;
    // What has never been in order need not fail for long.
    const wasUp = this.#state === "up" && !presumed;
    if (wasUp && this.#failed < most) return undefined;
    return this.#become("down");
  }

  #become(state: "up" | "down"): HealthChange {
    if (this.#state === state) return undefined;
    this.#state = state;
    return state;
  }
}
