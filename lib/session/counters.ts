/**
 * Running totals of a process, for its metrics page.
 *
 * @module
 */
import type { ErrorCode } from "../base/errors.ts";
import type { TunnelStats } from "../tunnel/types.ts";

/** What a tunnel has counted that has done nothing. */
export const NO_STATS: TunnelStats = {
  bytesSent: 0,
  bytesReceived: 0,
  replays: 0,
  gaps: 0,
};

/** Running totals since the process started. */
export class Counters {
  /** Tunnels that were opened. */
  opened = 0;
  /** What tunnels that have ended counted, together. */
  ended: TunnelStats = NO_STATS;
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

  /** What the tunnels that have ended of each client counted, by the names of those that are known. */
  readonly endedByClient: Map<string, TunnelStats> = new Map();

  /** Counts a tunnel that ended, of a client that is known if it has a name. */
  closed(code: ErrorCode, stats: TunnelStats, client?: string): void {
    this.ended = sumOf(this.ended, stats);
    count(this.closedByCode, code);
    if (client === undefined) return;
    const before = this.endedByClient.get(client) ?? NO_STATS;
    this.endedByClient.set(client, sumOf(before, stats));
  }

  /** Forgets the clients that are none of these. */
  keepClients(names: readonly string[]): void {
    const kept = new Set(names);
    for (const name of this.endedByClient.keys()) {
      if (!kept.has(name)) this.endedByClient.delete(name);
    }
  }

  /** Counts an open that came to nothing. */
  refused(code: ErrorCode): void {
    count(this.refusedByCode, code);
  }
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
