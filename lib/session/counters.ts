/**
 * Running totals of a process, for its metrics page.
 *
 * @module
 */
import type { ErrorCode } from "../base/errors.ts";

/** Running totals since the process started. */
export class Counters {
  /** Tunnels that were opened. */
  opened = 0;
  /** Bytes taken from the local sockets of tunnels that have ended. */
  bytesSent = 0;
  /** Bytes that arrived in order for tunnels that have ended. */
  bytesReceived = 0;
  /** Times that tunnels which have ended sent frames again. */
  replays = 0;
  /** Times that tunnels which have ended found bytes missing. */
  gaps = 0;
  /** Messages that were malformed. */
  malformed = 0;
  /** Frames for tunnels that do not exist. */
  unknownTunnel = 0;
  /** Accepts that failed (out of descriptors, for example). */
  acceptErrors = 0;
  readonly #closed = new Map<ErrorCode, number>();
  readonly #refused = new Map<ErrorCode, number>();

  /** Counts a tunnel that ended; `ok` for a clean end. */
  closed(code: ErrorCode): void {
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
