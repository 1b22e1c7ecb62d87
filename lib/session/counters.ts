/**
 * Running totals of a process, for its metrics page.
 *
 * @module
 */
import type { ErrorCode } from "../base/errors.ts";
import {
  DurationHistogram,
  LATENCY_BOUNDS,
  LIFE_BOUNDS,
  ROUND_TRIP_BOUNDS,
} from "../base/histogram.ts";
import type { TunnelStats } from "../tunnel/types.ts";
import { FrameCounts, type FrameTraffic } from "./frame_counts.ts";
import { Tallies, type Tally } from "./tallies.ts";

/** What a tunnel has counted that has done nothing. */
export const NO_STATS: TunnelStats = {
  bytesSent: 0,
  bytesReceived: 0,
  replays: 0,
  gaps: 0,
};

/** What a tunnel or an open is counted by, beside all of them together. */
export interface CountedBy {
  /** The way in by which it came. */
  readonly way?: CountedWay | undefined;
  /** The service that it is for. */
  readonly service?: string | undefined;
  /** Name of the client, where its key says who it is. */
  readonly client?: string | undefined;
}

/** A way in, as far as it is counted. */
export interface CountedWay {
  /** What it is called in metrics: nothing that whoever connects can choose. */
  readonly label: string;
}

/** How long something took, by whether it came to something. */
export interface Outcomes {
  /** What it took where it did. */
  readonly ok: DurationHistogram;
  /** What it took where it did not. */
  readonly failed: DurationHistogram;
}

/** Running totals since the process started. */
export class Counters {
  /** Tunnels that were opened. */
  opened = 0;
  /** What tunnels that have ended counted, together. */
  ended: TunnelStats = NO_STATS;
  /** Times that a tunnel went on after the link to NATS was away. */
  resumes = 0;
  /** Messages that were malformed. */
  malformed = 0;
  /** Messages for sealed tunnels that the other end did not seal, or that came late or twice. */
  rejected = 0;
  /** Frames for tunnels that do not exist. */
  unknownTunnel = 0;
  /** Accepts that failed (out of descriptors, for example). */
  acceptErrors = 0;
  /** Connections that may not come in (`--allow-from`). */
  acceptsRefused = 0;
  /** Ended tunnels by code; `ok` for a clean end. */
  readonly closedByCode: Map<ErrorCode, number> = new Map();
  /** Opens that came to nothing, by code. */
  readonly refusedByCode: Map<ErrorCode, number> = new Map();
  /** Frames of version 2, by their types. */
  readonly frames: FrameTraffic = {
    sent: new FrameCounts(),
    received: new FrameCounts(),
  };

  /** What dials took, at a server. */
  readonly dials: Outcomes = latencies();
  /** What opens took, at a client. */
  readonly opens: Outcomes = latencies();
  /** How long tunnels were open that have ended. */
  readonly lives: DurationHistogram = new DurationHistogram(LIFE_BOUNDS);
  /** Round trips to the processes at the other ends. */
  readonly roundTrips: DurationHistogram = new DurationHistogram(
    ROUND_TRIP_BOUNDS,
  );

  /** What is counted for each way in of a client. */
  readonly forwards: Tallies = new Tallies();
  /** What is counted for each service of a server. */
  readonly services: Tallies = new Tallies();
  /** What is counted for each client that a server knows. */
  readonly clients: Tallies = new Tallies();

  /** Counts a tunnel that opens; what comes back is for its end. */
  begun(by: CountedBy): readonly Tally[] {
    this.opened++;
    const tallies = this.#talliesOf(by);
    for (const tally of tallies) {
      tally.opened++;
      tally.open++;
    }
    return tallies;
  }

  /** Counts a tunnel that ended after `ms`, and that counted in these `tallies`. */
  closed(
    code: ErrorCode,
    stats: TunnelStats,
    { tallies = [], ms }: {
      readonly tallies?: readonly Tally[] | undefined;
      readonly ms: number;
    },
  ): void {
    this.ended = sumOf(this.ended, stats);
    this.lives.observe(ms);
    count(this.closedByCode, code);
    for (const tally of tallies) {
      for (const kind of [this.forwards, this.services, this.clients]) {
        kind.ended(tally, stats);
      }
    }
  }

  /** Counts an open that came to nothing. */
  refused(code: ErrorCode, by: CountedBy = {}): void {
    count(this.refusedByCode, code);
    for (const tally of this.#talliesOf(by)) tally.refused++;
  }

  #talliesOf({ way, service, client }: CountedBy): readonly Tally[] {
    return [
      this.forwards.find(way?.label),
      this.services.find(service),
      this.clients.find(client),
    ].filter((tally) => tally !== undefined);
  }
}

function latencies(): Outcomes {
  return {
    ok: new DurationHistogram(LATENCY_BOUNDS),
    failed: new DurationHistogram(LATENCY_BOUNDS),
  };
}

function count(byCode: Map<ErrorCode, number>, code: ErrorCode): void {
  byCode.set(code, (byCode.get(code) ?? 0) + 1);
}

/** The counts of both. */
export function sumOf(one: TunnelStats, other: TunnelStats): TunnelStats {
  return {
    bytesSent: one.bytesSent + other.bytesSent,
    bytesReceived: one.bytesReceived + other.bytesReceived,
    replays: one.replays + other.replays,
    gaps: one.gaps + other.gaps,
  };
}
