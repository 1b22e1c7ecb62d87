/**
 * The cap on what one process holds in one direction, shared fairly.
 *
 * @module
 */

/**
 * Counts the bytes held by all tunnels of a process in one direction and says
 * how much one of them may hold.
 *
 * The rule is the dynamic threshold of shared-memory switches (Choudhury and
 * Hahne, 1998): a tunnel may hold as much as is still free. One alone can take
 * half of the budget; `n` stalled ones settle at `limit / (n + 1)` each, and
 * as much is left for the next, whatever `n` is. The total never passes
 * `limit` but for the one frame each tunnel may always hold.
 */
export class MemoryBudget {
  /** The cap, in bytes. */
  readonly limit: number;
  #used = 0;

  /** A budget of `limit` bytes, of which nothing is used. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes held now. */
  get used(): number {
    return this.#used;
  }

  /** The most one tunnel may hold at this moment, in bytes. */
  get allowance(): number {
    return Math.max(0, this.limit - this.#used);
  }

  /** Counts `bytes` as held. */
  reserve(bytes: number): void {
    this.#used += bytes;
  }

  /** Counts `bytes` as let go. */
  release(bytes: number): void {
    this.#used -= bytes;
  }
}
