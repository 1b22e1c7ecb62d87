/**
 * What the open tunnels of a process come to at one moment, looked at one by one.
 *
 * @module
 */
import { type Pause, PAUSES, type TunnelStats } from "../tunnel/types.ts";
import { sumOf } from "./counters.ts";
import type { Tally } from "./tallies.ts";
import type { Tunnel } from "./tunnel.ts";

/** All tunnels of a process. */
export interface Survey {
  /** What all of them counted, ended and open. */
  readonly totals: TunnelStats;
  /** Bytes of those open, by where they are counted. */
  readonly byTally: ReadonlyMap<Tally, Pick<TunnelStats, BytesKey>>;
  /** How many are not read, and why. */
  readonly paused: ReadonlyMap<Pause, number>;
  /** How much the other ends may have under way, all together, in bytes. */
  readonly windows: number;
  /** The largest of these windows. */
  readonly largestWindow: number;
}

type BytesKey = "bytesSent" | "bytesReceived";

/** Adds up tunnels. */
export class TunnelSurvey implements Survey {
  totals: TunnelStats;
  readonly byTally = new Map<Tally, Record<BytesKey, number>>();
  readonly paused = new Map<Pause, number>(PAUSES.map((pause) => [pause, 0]));
  windows = 0;
  largestWindow = 0;

  /** No tunnel is open; those that have ended counted this. */
  constructor(ended: TunnelStats) {
    this.totals = ended;
  }

  /** One more is open. */
  add(
    { stats, info, pause, window }: Pick<
      Tunnel,
      "stats" | "info" | "pause" | "window"
    >,
  ): void {
    this.totals = sumOf(this.totals, stats);
    this.windows += window;
    this.largestWindow = Math.max(this.largestWindow, window);
    if (pause !== undefined) {
      this.paused.set(pause, (this.paused.get(pause) ?? 0) + 1);
    }
    for (const tally of info.tallies ?? []) {
      const bytes = this.byTally.get(tally);
      if (bytes === undefined) {
        const { bytesSent, bytesReceived } = stats;
        this.byTally.set(tally, { bytesSent, bytesReceived });
      } else {
        bytes.bytesSent += stats.bytesSent;
        bytes.bytesReceived += stats.bytesReceived;
      }
    }
  }
}
