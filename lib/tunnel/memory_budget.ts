/**
 * The cap on what one process holds in one direction, shared fairly.
 *
 * @module
 */

/** Where a tunnel counts what it holds. */
export interface Budget {
  /** The most one tunnel may hold at this moment, in bytes. */
  readonly allowance: number;
  /** Counts `bytes` as held. */
  reserve(bytes: number): void;
  /** Counts `bytes` as let go. */
  release(bytes: number): void;
}

/**
 * All tunnels of one payer together may hold so many times what is still free.
 * With 2 a tunnel that is alone has half of the budget, as without shares,
 * and any number of stalled ones of one payer settle at two thirds.
 */
const SHARE_OF_FREE = 2;

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
export class MemoryBudget implements Budget {
  #used = 0;
  readonly #limit: number;

  /** A budget of `limit` bytes, of which nothing is used. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held now. */
  get used(): number {
    return this.#used;
  }

  /** The most one tunnel may hold at this moment, in bytes. */
  get allowance(): number {
    return Math.max(0, this.#limit - this.#used);
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

/** What the tunnels of one payer hold of a budget: the same rule once more. */
export class BudgetShare implements Budget {
  readonly #whole: MemoryBudget;
  #used = 0;

  /** A share of `whole`, of which nothing is used. */
  constructor(whole: MemoryBudget) {
    this.#whole = whole;
  }

  /** The most one tunnel of this payer may hold at this moment, in bytes. */
  get allowance(): number {
    const free = this.#whole.allowance;
    return Math.max(0, Math.min(free, SHARE_OF_FREE * free - this.#used));
  }

  /** Counts `bytes` as held. */
  reserve(bytes: number): void {
    this.#used += bytes;
    this.#whole.reserve(bytes);
  }

  /** Counts `bytes` as let go. */
  release(bytes: number): void {
    this.#used -= bytes;
    this.#whole.release(bytes);
  }
}
