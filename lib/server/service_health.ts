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

/** The health of one service, of which nothing is known at first. */
export class ServiceHealth {
  #state: "unknown" | "up" | "down" = "unknown";
  #failed = 0;
  #why: Reason | undefined;

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
    this.#why = failure;
    if (failure === undefined) {
      this.#failed = 0;
      return this.#become("up");
    }
    this.#failed++;
    // What has never been in order need not fail for long.
    if (this.#state === "up" && this.#failed < most) return undefined;
    return this.#become("down");
  }

  #become(state: "up" | "down"): HealthChange {
    if (this.#state === state) return undefined;
    this.#state = state;
    return state;
  }
}
