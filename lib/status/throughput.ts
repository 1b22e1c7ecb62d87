/**
 * What went through a process in the last minutes, in slots of time that begin
 * at the same moments in every thread: pure.
 *
 * @module
 */
import { Ring } from "../session/recent.ts";
import { type Flow, MAX_POINTS, type Point, SLOT_MS } from "./snapshot.ts";

/** How long after the begin of a slot a sample still belongs to the one before, in ms: timers are late. */
const LATE_MS = SLOT_MS / 2;

/** The throughput of the last {@linkcode MAX_POINTS} slots. */
export class Throughput {
  readonly #points = new Ring<Point>(MAX_POINTS);
  #before: Flow = { sent: 0, received: 0 };
  #lastSlot = -Infinity;

  /** How long after `wallTime` the next sample is due, in ms. */
  static untilNext(wallTime: number): number {
    return SLOT_MS - wallTime % SLOT_MS;
  }

  /**
   * Takes what went through since the start. Where it is less than before, as
   * under another identity, the counts have begun anew.
   */
  sample(
    { total, tunnels, wallTime }: {
      /** Bytes since the start. */
      readonly total: Flow;
      /** Tunnels open now. */
      readonly tunnels: number;
      /** The time, in ms since 1970. */
      readonly wallTime: number;
    },
  ): void {
    const slot = Math.floor((wallTime - LATE_MS) / SLOT_MS);
    // The clock was set back: what went through meanwhile comes with the next.
    if (slot <= this.#lastSlot && slot > this.#lastSlot - MAX_POINTS) return;
    const before = this.#before;
    this.#before = total;
    this.#lastSlot = slot;
    this.#points.add({
      at: slot * SLOT_MS,
      sent: grown(before.sent, total.sent),
      received: grown(before.received, total.received),
      tunnels,
    });
  }

  /** The points that are younger than all that are kept, at `wallTime`; the oldest first. */
  points(wallTime: number): readonly Point[] {
    const oldest = wallTime - (MAX_POINTS + 1) * SLOT_MS;
    return this.#points.items.filter(({ at }) =>
      at >= oldest && at <= wallTime
    );
  }
}

/** How much a count has grown that may have begun anew. */
export function grown(before: number, now: number): number {
  return now >= before ? now - before : now;
}
