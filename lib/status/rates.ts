/**
 * Rates between two looks at a process: nothing is measured while nobody looks.
 * Pure.
 *
 * @module
 */
import type { Flow, Snapshot, TunnelRow } from "./snapshot.ts";
import { grown } from "./throughput.ts";

/** Looks that are nearer than that, in ms, are compared with the one before: over less a rate is noise. */
const NEAR_MS = 700;

/** A look that is older, in ms, tells nothing of now. */
const STALE_MS = 60_000;

/** What was counted at one look. */
interface Look {
  readonly at: number;
  readonly total: Flow;
  readonly tunnels: ReadonlyMap<string, Flow>;
}

/** Compares each look with one before. */
export class Rates {
  #before: Look | undefined;
  #last: Look | undefined;

  /** `snapshot` with the rates since a look before it, where there was one lately. */
  of(snapshot: Snapshot): Snapshot {
    const { at, total, tunnels } = snapshot;
    const isNear = this.#last !== undefined && at >= this.#last.at &&
      at - this.#last.at < NEAR_MS;
    if (!isNear) {
      this.#before = this.#last;
      this.#last = {
        ...{ at, total },
        tunnels: new Map(tunnels.rows.map(({ id, sent, received }) => [
          id,
          { sent, received },
        ])),
      };
    }
    const before = this.#before;
    if (
      before === undefined || at <= before.at || at - before.at > STALE_MS
    ) return snapshot;
    const ms = at - before.at;
    return {
      ...snapshot,
      rate: rateOf(before.total, total, ms),
      tunnels: {
        ...tunnels,
        rows: tunnels.rows.map((row) => withRate(row, before, ms)),
      },
    };
  }
}

/** What a row comes to, `ms` after the look `before`. */
function withRate(row: TunnelRow, before: Look, ms: number): TunnelRow {
  const known = before.tunnels.get(row.id);
  if (known !== undefined) return { ...row, rate: rateOf(known, row, ms) };
  // Opened since; of one that was not told then nothing is known.
  if (row.ms > ms) return row;
  const none = { sent: 0, received: 0 };
  return { ...row, rate: rateOf(none, row, Math.max(row.ms, NEAR_MS)) };
}

/** Bytes a second. */
function rateOf(before: Flow, now: Flow, ms: number): Flow {
  const perSecond = (bytes: number): number => Math.round(bytes * 1000 / ms);
  return {
    sent: perSecond(grown(before.sent, now.sent)),
    received: perSecond(grown(before.received, now.received)),
  };
}
