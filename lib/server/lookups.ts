/**
 * The look-ups of names under way, and who asked for them: the system's
 * resolver has few places, gives none back before it has an answer, and waits
 * for one as long as whoever has the name likes.
 *
 * @module
 */
import { untilAborted } from "../base/abort.ts";
import { FairShares } from "../base/fair_shares.ts";

/**
 * Look-ups at once: the runtime has 32 threads for what blocks (Deno 2.9.6),
 * and some are left to whoever else has a name to look up or a file to read.
 * Each client has as many as are free: alone half of them.
 */
const MAX_LOOKUPS = 28;

/** Finds the addresses of a name, however long that takes. */
export type LookUp = (host: string) => Promise<string[]>;

interface Waiting {
  readonly payer: string;
  readonly begin: () => void;
}

/** All look-ups of a server. */
export class Lookups {
  readonly #lookUp: LookUp;
  readonly #places = new FairShares(MAX_LOOKUPS);
  /** Those that wait for a place, in the order in which they came. */
  readonly #waiting = new Set<Waiting>();

  /** Nothing is looked up yet. */
  constructor(lookUp: LookUp) {
    this.#lookUp = lookUp;
  }

  /**
   * The addresses of a name that an open of `payer` is for. When it is given
   * up its place stays taken: nothing ends the system's resolver.
   *
   * @throws what the look-up throws, or the reason of `signal` when it aborts.
   */
  async resolve(
    host: string,
    { payer, signal }: {
      readonly payer: string;
      readonly signal: AbortSignal;
    },
  ): Promise<string[]> {
    await this.#turn(payer, signal);
    const looking = this.#lookUp(host).finally(() => this.#end(payer));
    return await untilAborted(looking, signal);
  }

  /** Waits for a place, and takes it. */
  async #turn(payer: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve: begin } = Promise.withResolvers<void>();
    const waiting = { payer, begin };
    this.#waiting.add(waiting);
    this.#next();
    try {
      await untilAborted(promise, signal);
    } catch (error) {
      // It may have had its turn in the same moment.
      if (!this.#waiting.delete(waiting)) this.#end(payer);
      throw error;
    }
  }

  /** Those begin that have waited longest, of those whose share is not used up. */
  #next(): void {
    for (const waiting of this.#waiting) {
      if (this.#places.free === 0) return;
      if (!this.#places.take(waiting.payer)) continue;
      this.#waiting.delete(waiting);
      waiting.begin();
    }
  }

  #end(payer: string): void {
    this.#places.release(payer);
    this.#next();
  }
}
