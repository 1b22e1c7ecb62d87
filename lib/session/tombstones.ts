/**
 * What is remembered of tunnels that have ended, for frames that come late.
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";

/** How a tunnel ended, as far as its peer may still ask. */
export type Epitaph =
  /** Clean: everything up to this ack has arrived here. */
  | { readonly ack: number }
  /** Cut, for this reason. */
  | { readonly reason: Reason };

/** Tunnels remembered: some seconds of the highest rate of short connections, at about 250 bytes each. */
const MAX_TOMBSTONES = 4096;

/** Shortest time one is remembered, in ms: twice the default resume time. */
const MIN_LIFETIME_MS = 60_000;

/** The last words of tunnels, by connection ID; the oldest are forgotten first. */
export class Tombstones {
  readonly #stones = new Map<
    string,
    { readonly epitaph: Epitaph; readonly until: number }
  >();
  readonly #lifetime: number;

  /** No tunnel has ended; links may be away for `resumeTimeout` ms. */
  constructor(resumeTimeout: number) {
    this.#lifetime = Math.max(MIN_LIFETIME_MS, 2 * resumeTimeout);
  }

  /** Remembers how tunnel `id` ended. */
  add(id: string, epitaph: Epitaph, now: number): void {
    if (this.#stones.size >= MAX_TOMBSTONES) {
      for (const oldest of this.#stones.keys()) {
        this.#stones.delete(oldest);
        break;
      }
    }
    this.#stones.set(id, { epitaph, until: now + this.#lifetime });
  }

  /** How tunnel `id` ended, if that is remembered. */
  find(id: string): Epitaph | undefined {
    return this.#stones.get(id)?.epitaph;
  }

  /** Forgets what is too old. */
  sweep(now: number): void {
    for (const [id, { until }] of this.#stones) {
      if (until > now) return;
      this.#stones.delete(id);
    }
  }
}
