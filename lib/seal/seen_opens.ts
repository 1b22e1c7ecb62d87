/**
 * The sealed opens that have come, so that none is taken twice: whoever recorded
 * one may send it again.
 *
 * @module
 */
import { FairShares } from "../base/fair_shares.ts";

/** How far the clock of a client may be off, in ms: what is older may be a repetition that nobody remembers. */
export const MAX_CLOCK_SKEW_MS = 60_000;

/** How long opens are remembered, in ms: as long as one of them would still be in time. */
const MEMORY_MS = 2 * MAX_CLOCK_SKEW_MS;

/**
 * Opens remembered, at about 150 bytes each: more than a server dials in that
 * time. A client has as many of them as are free, alone half.
 */
const MAX_REMEMBERED = 200_000;

/** What an open is beside those that came before. */
export type Freshness =
  /** It has not come before, and is remembered. */
  | "new"
  /** It has come before: somebody repeats it. */
  | "repeated"
  /** Its client's clock is too far off: nobody could say later that it has come. */
  | "clock"
  /** No more can be remembered of this client. */
  | "full";

interface Seen {
  readonly client: string;
  readonly until: number;
}

/** The opens that have come lately. */
export class SeenOpens {
  /** By what no two of them have in common, the oldest first. */
  readonly #seen = new Map<string, Seen>();
  readonly #places = new FairShares(MAX_REMEMBERED);

  /** An open that its `client` sealed at `sealedAt` comes at `now`, both in ms since 1970. */
  take(
    id: string,
    { client, sealedAt, now }: {
      readonly client: string;
      readonly sealedAt: number;
      readonly now: number;
    },
  ): Freshness {
    if (Math.abs(sealedAt - now) > MAX_CLOCK_SKEW_MS) return "clock";
    this.#forget(now);
    if (this.#seen.has(id)) return "repeated";
    if (!this.#places.take(client)) return "full";
    this.#seen.set(id, { client, until: now + MEMORY_MS });
    return "new";
  }

  /** Forgets what would no longer be in time. */
  #forget(now: number): void {
    for (const [id, { client, until }] of this.#seen) {
      if (until >= now) return;
      this.#seen.delete(id);
      this.#places.release(client);
    }
  }
}
