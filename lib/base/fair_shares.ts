/**
 * Places that several share without any of them being able to take all: each
 * has as many as are free (the dynamic threshold of switches that share one
 * memory among their ports: Choudhury and Hahne, 1998).
 *
 * @module
 */

/** How many places each owner has taken. */
export class FairShares {
  readonly #limit: number;
  readonly #countByOwner = new Map<string, number>();
  #count = 0;

  /** `limit` places, all of them free. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many are free. */
  get free(): number {
    return this.#limit - this.#count;
  }

  /** Takes a place for `owner`; false when it has as many as are free. */
  take(owner: string): boolean {
    const count = this.#countByOwner.get(owner) ?? 0;
    if (count >= this.free) return false;
    this.#countByOwner.set(owner, count + 1);
    this.#count++;
    return true;
  }

  /** Gives back a place that `owner` took. */
  release(owner: string): void {
    const count = this.#countByOwner.get(owner);
    if (count === undefined) return;
    this.#count--;
    if (count > 1) this.#countByOwner.set(owner, count - 1);
    else this.#countByOwner.delete(owner);
  }

  /** All are given back. */
  clear(): void {
    this.#countByOwner.clear();
    this.#count = 0;
  }
}
