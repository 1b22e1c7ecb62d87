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
  #shares = 0;
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

  /** What each payer may hold whatever the others do, in bytes. */
  get kept(): number {
    return this.#limit / (this.#shares + 1);
  }

  /** Counts `bytes` as held. */
  reserve(bytes: number): void {
    this.#used += bytes;
  }

  /** Counts `bytes` as let go. */
  release(bytes: number): void {
    this.#used -= bytes;
  }

  /** One payer more, or less, has a share. */
  shared(change: 1 | -1): void {
    this.#shares += change;
  }
}

/**
 * What the tunnels of one payer hold of a budget: the same rule once more.
 *
 * With enough tunnels the frame that each may always hold, and what it was
 * reading when memory was there yet, are more than the whole budget: 300 that
 * stall at one moment were seen with twice of 8 MiB. That is at the expense of
 * the process, not of the others: what is kept for them they may hold even then.
 */
export class BudgetShare implements Budget, Disposable {
  readonly #whole: MemoryBudget;
  #used = 0;

  /** A share of `whole`, of which nothing is used; dispose of it when its payer has no more tunnels. */
  constructor(whole: MemoryBudget) {
    this.#whole = whole;
    whole.shared(1);
  }

  /** The most one tunnel of this payer may hold at this moment, in bytes. */
  get allowance(): number {
    const free = this.#whole.allowance;
    return Math.max(
      0,
      Math.min(free, SHARE_OF_FREE * free - this.#used),
      this.#whole.kept - this.#used,
    );
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

  /** Its payer has no more tunnels. */
  [Symbol.dispose](): void {
    this.#whole.shared(-1);
  }
}
