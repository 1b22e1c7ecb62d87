/**
 * Running totals of a process, for its metrics page.
 *
 * @module
 */
import type { ErrorCode } from "../base/errors.ts";
import type { TunnelStats } from "../tunnel/types.ts";

/** Running totals since the process started. */
export class Counters {
  /** Tunnels that were opened. */
  opened = 0;
  /** What tunnels that have ended counted, together. */
  ended: TunnelStats = { bytesSent: 0, bytesReceived: 0, replays: 0, gaps: 0 };
  /** Messages that were malformed. */
  malformed = 0;
  /** Frames for tunnels that do not exist. */
  unknownTunnel = 0;
  /** Accepts that failed (out of descriptors, for example). */
  acceptErrors = 0;
  readonly #closed = new Map<ErrorCode, number>();
  readonly #refused = new Map<ErrorCode, number>();

  /** Counts a tunnel that ended; `ok` for a clean end. */
  closed(code: ErrorCode, stats: TunnelStats): void {
    this.ended = sumOf(this.ended, stats);
    this.#closed.set(code, (this.#closed.get(code) ?? 0) + 1);
  }

  /** Counts an open that came to nothing. */
  refused(code: ErrorCode): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  /** Ended tunnels by code. */
  get closedByCode(): ReadonlyMap<ErrorCode, number> {
    return this.#closed;
  }

  /** Opens that came to nothing, by code. */
  get refusedByCode(): ReadonlyMap<ErrorCode, number> {
    return this.#refused;
  }
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
