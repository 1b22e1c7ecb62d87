/**
 * The times without NATS in the last hour: pure.
 *
 * @module
 */
import type { Outage } from "./snapshot.ts";

/** How far back they are told, in ms. */
export const OUTAGE_SPAN_MS = 3_600_000;

/** Most that are kept: beyond that a link that flaps tells nothing new. */
const MAX_OUTAGES = 60;

/** Longest reason that is kept, in UTF-16 units: a broker may have written part of it. */
const MAX_WHY = 200;

/** The outages of one connection. */
export class Outages {
  #all: readonly Outage[] = [];

  /** The link was lost at `wallTime`, in ms since 1970. */
  down(wallTime: number, why: string): void {
    if (this.#open !== undefined) return;
    const outage = { from: wallTime, why: why.slice(0, MAX_WHY) };
    this.#all = [...this.#all, outage].slice(-MAX_OUTAGES);
  }

  /** It came back. */
  up(wallTime: number): void {
    const open = this.#open;
    if (open === undefined) return;
    const ended = { ...open, to: Math.max(open.from, wallTime) };
    this.#all = [...this.#all.slice(0, -1), ended];
  }

  /** Those that are no older than {@linkcode OUTAGE_SPAN_MS}, the oldest first. */
  since(wallTime: number): readonly Outage[] {
    return this.#all.filter(({ to }) =>
      to === undefined || to > wallTime - OUTAGE_SPAN_MS
    );
  }

  /** The one that has not ended. */
  get #open(): Outage | undefined {
    const last = this.#all.at(-1);
    return last?.to === undefined ? last : undefined;
  }
}
