/**
 * How many opens a second each client gets looked at: what is beyond costs
 * next to nothing.
 *
 * @module
 */
import { TokenBucket } from "../base/token_bucket.ts";

/**
 * Clients whose rate is remembered: those that have asked within a second, or
 * with more of them the latest ones. About 200 bytes each.
 */
const MAX_CLIENTS = 4096;

/** What becomes of an open. */
export type Verdict =
  /** It is looked at. */
  | "take"
  /** It is answered with `limit`. */
  | "refuse"
  /** It is not even answered: refusals have a rate, too. */
  | "drop";

interface Buckets {
  readonly rate: number;
  readonly opens: TokenBucket;
  readonly refusals: TokenBucket;
}

/** The rates of all clients. */
export class Rates {
  readonly #clients = new Map<string, Buckets>();

  /** An open of this client, which may make `rate` a second; with another rate than before it begins anew. */
  ask(client: string, rate: number, now: number): Verdict {
    const known = this.#clients.get(client);
    const { opens, refusals } = known?.rate === rate
      ? known
      : this.#add(client, rate, now);
    if (opens.take(now)) return "take";
    return refusals.take(now) ? "refuse" : "drop";
  }

  /** Clients that are remembered. */
  get size(): number {
    return this.#clients.size;
  }

  #add(client: string, rate: number, now: number): Buckets {
    if (this.#clients.size >= MAX_CLIENTS) this.#makeRoom(now);
    const buckets = {
      rate,
      opens: new TokenBucket({ rate, now }),
      refusals: new TokenBucket({ rate, now }),
    };
    this.#clients.set(client, buckets);
    return buckets;
  }

  #makeRoom(now: number): void {
    for (const [client, { opens }] of this.#clients) {
      if (opens.isFull(now)) this.#clients.delete(client);
    }
    const [oldest] = this.#clients.keys();
    if (this.#clients.size >= MAX_CLIENTS && oldest !== undefined) {
      this.#clients.delete(oldest);
    }
  }
}
