/**
 * How long a tunnel may be without a byte before it is given up.
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";

/** The idle timeout of a tunnel and that of a half-closed one; probes are no activity. */
export class IdleTimer {
  readonly #idle: number;
  readonly #halfClosed: number;
  #movedAt: number;

  /** A timer that starts at `now`; timeouts in ms, 0 = never. */
  constructor(options: {
    readonly now: number;
    readonly idleTimeout: number;
    readonly halfCloseTimeout: number;
  }) {
    this.#movedAt = options.now;
    this.#idle = options.idleTimeout || Infinity;
    this.#halfClosed = options.halfCloseTimeout || Infinity;
  }

  /** When a byte or an end of stream moved last. */
  get movedAt(): number {
    return this.#movedAt;
  }

  /** A byte or an end of stream moved. */
  moved(now: number): void {
    this.#movedAt = now;
  }

  /** When the tunnel has been quiet for too long. */
  endsAt(halfClosed: boolean): number {
    return this.#movedAt + this.#limit(halfClosed);
  }

  /** Why it is cut then. */
  reason(halfClosed: boolean): Reason {
    const limit = this.#limit(halfClosed);
    return limit === this.#idle
      ? { code: "idle", text: `no byte moved for ${limit} ms (--idle-timeout)` }
      : {
        code: "half-closed",
        text:
          `one direction has ended and no byte moved for ${limit} ms (--half-close-timeout)`,
      };
  }

  #limit(halfClosed: boolean): number {
    return halfClosed ? Math.min(this.#idle, this.#halfClosed) : this.#idle;
  }
}
