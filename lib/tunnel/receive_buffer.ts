/**
 * What has come from the peer and is not yet written to the socket, and the
 * credit given for more.
 *
 * @module
 */
import type { BufferPool } from "../base/buffer_pool.ts";
import { TunnelError } from "../base/errors.ts";
import type { Budget } from "./memory_budget.ts";
import { type PathEstimate, REST_BYTES } from "./rtt.ts";

/**
 * Smallest window ever granted, in bytes: one full frame, so that a tunnel
 * moves on however scarce memory is.
 */
export const MIN_WINDOW_BYTES = 16 * 1024;

/** Window every tunnel starts with, in bytes (yamux and rust-yamux: the same). */
export const INITIAL_WINDOW_BYTES = 256 * 1024;

/**
 * Most bytes left unacknowledged before an ACK goes at once. Half of the
 * window if that is less; a larger window needs no rarer ACKs, and each lets
 * the sender give memory back.
 */
const MAX_ACK_DISTANCE = 256 * 1024;

/**
 * Payloads up to this many bytes do not take a slab: one that waits alone is
 * kept in an array of its size, a few in arrays of this one. So a reader that
 * stalls on small messages costs no 64 KiB for some bytes.
 */
const SMALL_BYTES = 4 * 1024;

/**
 * Round trip in ms that a window is to be enough for, however short the path.
 * Under load a process waits for its turn for milliseconds, and a window that
 * bridges only the round trip of an idle machine leaves it nothing to do:
 * with 512 KiB one stream reached 1.6 Gbit/s here, with 8 MiB 2.4. What waits
 * on a path that is slower than that delays others by twice this at most.
 */
const MIN_PATH_MS = 8;

/** What became of the bytes of a DATA frame. */
export type Accepted =
  /** In order: at least one byte was new. */
  | "new"
  /** Everything was here already. */
  | "repeat"
  /** Bytes before these are missing. */
  | "gap"
  /** In order, but no memory: as if they had been lost. */
  | "no-memory";

/**
 * The receiving half of a tunnel's flow control. Payloads are copied in, in
 * order, and handed out in large pieces; credit is given for what was written.
 */
export class ReceiveBuffer {
  readonly #pool: BufferPool;
  readonly #budget: Budget;
  readonly #path: PathEstimate;
  readonly #maxWindow: number;
  #queue: Uint8Array[] = [];
  /** Bytes used of the array at the end of the queue; 0 when that one is full. */
  #tailUsed = 0;
  #received = 0;
  #written = 0;
  #final: number | undefined;
  #discarding = false;
  #window: number;
  #limit: number;
  #ackSent = 0;
  #grantedAt: number;

  /** An empty buffer whose first `window` bytes of credit the peer already has. */
  constructor(options: {
    readonly pool: BufferPool;
    readonly budget: Budget;
    readonly path: PathEstimate;
    readonly window: number;
    readonly maxWindow: number;
    readonly now: number;
  }) {
    this.#pool = options.pool;
    this.#budget = options.budget;
    this.#path = options.path;
    this.#window = this.#limit = options.window;
    this.#maxWindow = Math.max(options.maxWindow, options.window);
    this.#grantedAt = options.now;
  }

  /** Every byte below this offset has arrived. */
  get received(): number {
    return this.#received;
  }

  /** Every byte below this offset was written to the socket. */
  get written(): number {
    return this.#written;
  }

  /** Bytes held: arrived and not yet written. */
  get held(): number {
    return this.#received - this.#written;
  }

  /** Window now, in bytes. */
  get window(): number {
    return this.#window;
  }

  /** The offset up to which the peer may send. */
  get limit(): number {
    return this.#limit;
  }

  /** The cumulative acknowledgement: a FIN that arrived counts as one byte. */
  get ack(): number {
    return this.finished ? this.#received + 1 : this.#received;
  }

  /** Whether the peer's FIN and every byte before it have arrived. */
  get finished(): boolean {
    return this.#received === this.#final;
  }

  /** Whether the peer does not know yet how much has arrived. */
  get ackPending(): boolean {
    return this.ack > this.#ackSent;
  }

  /** Whether so much is unacknowledged that an ACK must go now. */
  get ackUrgent(): boolean {
    return this.#received - this.#ackSent >=
      Math.min(this.#window / 2, MAX_ACK_DISTANCE);
  }

  /**
   * Takes the payload of a DATA frame, copying what is new.
   *
   * @throws {TunnelError} `protocol` when it lies beyond the credit or the FIN.
   */
  accept(offset: number, payload: Uint8Array): Accepted {
    const end = offset + payload.length;
    if (end > this.#limit) {
      throw new TunnelError(
        "protocol",
        `peer sent up to offset ${end}, its credit ends at ${this.#limit}`,
      );
    }
    if (this.#final !== undefined && end > this.#final) {
      throw new TunnelError(
        "protocol",
        `peer sent up to offset ${end}, beyond its FIN at ${this.#final}`,
      );
    }
    if (offset > this.#received) return "gap";
    if (end <= this.#received) return "repeat";
    const fresh = offset === this.#received
      ? payload
      : payload.subarray(this.#received - offset);
    if (this.#discarding) {
      this.#received = this.#written = end;
      return "new";
    }
    if (
      this.held > 0 && this.held + fresh.length > this.#budget.allowance
    ) {
      return "no-memory";
    }
    this.#append(fresh);
    this.#received = end;
    this.#budget.reserve(fresh.length);
    return "new";
  }

  /**
   * Takes the final offset of a FIN.
   *
   * @returns false when bytes before it are missing.
   * @throws {TunnelError} `protocol` when it contradicts what is known.
   */
  finish(final: number): boolean {
    if (this.#final !== undefined && final !== this.#final) {
      throw new TunnelError(
        "protocol",
        `peer sent a FIN at ${final} after one at ${this.#final}`,
      );
    }
    if (final < this.#received) {
      throw new TunnelError(
        "protocol",
        `peer sent a FIN at ${final}, below the ${this.#received} bytes received`,
      );
    }
    if (final > this.#limit) {
      throw new TunnelError(
        "protocol",
        `peer sent a FIN at ${final}, its credit ends at ${this.#limit}`,
      );
    }
    this.#final = final;
    return this.finished;
  }

  /**
   * The next bytes to write to the socket, or undefined. They stay counted
   * as held until {@linkcode ReceiveBuffer.wrote}, which must follow with
   * the same view before more is taken.
   */
  take(): Uint8Array | undefined {
    const chunk = this.#queue.shift();
    if (chunk === undefined) return undefined;
    if (this.#queue.length > 0 || this.#tailUsed === 0) return chunk;
    const used = this.#tailUsed;
    this.#tailUsed = 0;
    return chunk.subarray(0, used);
  }

  /** Counts `chunk`, which was taken, as written and gives its memory back. */
  wrote(chunk: Uint8Array): void {
    this.#pool.release(chunk);
    if (this.#discarding) return;
    this.#written += chunk.length;
    this.#budget.release(chunk.length);
  }

  /**
   * Forgets what is held and gives the memory back. From now on bytes count
   * as written when they arrive: nobody reads them any more.
   */
  discard(): void {
    if (this.#discarding) return;
    this.#discarding = true;
    for (const chunk of this.#queue) this.#pool.release(chunk);
    this.#queue = [];
    this.#tailUsed = 0;
    this.#budget.release(this.held);
    this.#written = this.#received;
  }

  /**
   * Raises the limit if it is time to: half of the window, or of the memory
   * that is left if that is less, was written since the last grant. A window
   * used up in less than two round trips (of `MIN_PATH_MS` at least) was too
   * small for the path and doubles (as rust-yamux does).
   *
   * @returns whether there is new credit to tell the peer.
   */
  grant(now: number): boolean {
    if (this.#final !== undefined) return false;
    const rests = this.#path.rests(now);
    const room = rests ? Math.min(REST_BYTES, this.#memory) : this.#memory;
    const left = this.#limit - this.#written;
    if (left > Math.min(this.#window, room) / 2) return false;
    const { minRtt } = this.#path;
    if (!rests && now - this.#grantedAt < 2 * Math.max(minRtt, MIN_PATH_MS)) {
      this.#window = Math.min(
        this.#window * 2,
        this.#maxWindow,
        Math.max(this.#window, room),
      );
    }
    const limit = this.#written + Math.min(this.#window, room);
    if (limit <= this.#limit) return false;
    this.#limit = limit;
    if (!rests) this.#grantedAt = now;
    return true;
  }

  /**
   * The peer asks where it stands: one whose credit is used up gets what there
   * is, however little, so that it can tell a slow reader from one that has
   * stopped.
   */
  topUp(): void {
    if (this.#received < this.#limit || this.#final !== undefined) return;
    const limit = this.#written + Math.min(this.#window, this.#memory);
    this.#limit = Math.max(this.#limit, limit);
  }

  /** Notes that a frame with the present ack and limit is on its way. */
  acknowledged(): void {
    this.#ackSent = this.ack;
  }

  /** Bytes that memory has room for; one frame always has. */
  get #memory(): number {
    return Math.max(MIN_WINDOW_BYTES, this.#budget.allowance);
  }

  #append(payload: Uint8Array): void {
    let at = 0;
    while (at < payload.length) {
      let tail = this.#tailUsed > 0 ? this.#queue.at(-1) : undefined;
      if (tail === undefined) {
        tail = this.#space(payload.length - at);
        this.#queue.push(tail);
      }
      const part = payload.subarray(at, at + tail.length - this.#tailUsed);
      tail.set(part, this.#tailUsed);
      at += part.length;
      this.#tailUsed += part.length;
      if (this.#tailUsed === tail.length) this.#tailUsed = 0;
    }
  }

  /** A new array for the end of the queue, to begin with `length` bytes. */
  #space(length: number): Uint8Array {
    if (length > SMALL_BYTES) return this.#pool.acquire();
    if (this.#queue.length === 0) return new Uint8Array(length);
    return this.held < 2 * SMALL_BYTES
      ? new Uint8Array(SMALL_BYTES)
      : this.#pool.acquire();
  }
}
