/**
 * What a tunnel has read from its socket and the peer has not yet
 * acknowledged: kept to be sent again.
 *
 * @module
 */
import type { BufferPool } from "../base/buffer_pool.ts";
import { TunnelError } from "../base/errors.ts";
import type { DataFrame } from "../wire/frame.ts";
import type { Budget } from "./memory_budget.ts";

/** A piece of the stream that travels as one DATA frame. */
interface Piece {
  readonly offset: number;
  readonly payload: Uint8Array;
  /** The buffer to give back once this piece, its last, is acknowledged. */
  readonly chunk: Uint8Array | undefined;
  /** The frame as first sent: sent again, it is the same bytes. */
  frame: DataFrame | undefined;
}

/**
 * Bytes counted for a piece beside its payload: its objects and views take
 * about 440 bytes of heap (measured, Deno 2.9.6). Without them an application
 * that sends byte by byte to a stalled reader would cost 100 MB per window.
 */
export const PIECE_OVERHEAD_BYTES = 512;

/** Fewest bytes worth reading while others are held: less only makes small frames. */
const MIN_READ_BYTES = 4 * 1024;

/** Acknowledged pieces are cut off the front of the array in runs of this many. */
const COMPACT_AT = 64;

/**
 * Pieces sent again before the first of them is acknowledged; with each
 * acknowledgement twice as many, as in TCP's slow start (RFC 5681, 3.1). A
 * peer that is short of memory drops what it cannot hold: to send it the
 * whole window again for every piece that it took would flood the broker.
 */
const RESTART_PIECES = 4;

/**
 * The sending half of a tunnel's flow control: bytes by absolute offset, what
 * of them was sent, what was acknowledged, and how far the peer lets us go.
 */
export class SendBuffer {
  readonly #pool: BufferPool;
  readonly #budget: Budget;
  #pieces: Piece[] = [];
  /** Index of the first piece that is not acknowledged. */
  #head = 0;
  /** Index of the next piece to send. */
  #next = 0;
  #acked = 0;
  #end = 0;
  /** Offset after the last byte that was ever put on the wire. */
  #highest = 0;
  #held = 0;
  #limit: number;
  /** Most pieces on the wire and not acknowledged. */
  #burst = Infinity;

  /** An empty buffer that may send up to offset `limit`. */
  constructor(options: {
    readonly pool: BufferPool;
    readonly budget: Budget;
    readonly limit: number;
  }) {
    this.#pool = options.pool;
    this.#budget = options.budget;
    this.#limit = options.limit;
  }

  /** Every byte below this offset was acknowledged. */
  get acked(): number {
    return this.#acked;
  }

  /** Offset after the last byte taken from the application. */
  get end(): number {
    return this.#end;
  }

  /** Offset of the next byte to put on the wire. */
  get sent(): number {
    return this.#pieces[this.#next]?.offset ?? this.#end;
  }

  /** Bytes of memory held for resending, what each piece costs included. */
  get held(): number {
    return this.#held;
  }

  /** Bytes the peer's credit still allows to be taken from the application. */
  get credit(): number {
    return Math.max(0, this.#limit - this.#end);
  }

  /**
   * How many bytes may be taken from the application: what the peer's credit,
   * `maxWindow` and the memory of the process leave room for. One frame always
   * has room, so that a tunnel moves on however scarce memory is.
   */
  allowance(frameBytes: number, maxWindow: number): number {
    const frame = frameBytes + PIECE_OVERHEAD_BYTES;
    const most = Math.min(maxWindow, this.#budget.allowance);
    const room = Math.max(frame, most) - this.#held;
    if (this.#held > 0 && room < MIN_READ_BYTES) return 0;
    return Math.min(this.credit, Math.floor(room * frameBytes / frame));
  }

  /** Whether something waits to be put on the wire. */
  get hasUnsent(): boolean {
    return this.#next < this.#pieces.length;
  }

  /**
   * Takes the peer's new limit; one below what we have is late and ignored.
   *
   * @returns whether it is news.
   */
  raiseLimit(limit: number): boolean {
    if (limit <= this.#limit) return false;
    this.#limit = limit;
    return true;
  }

  /**
   * Takes over `chunk`, read from the application, cut into pieces of at most
   * `frameBytes`. The chunk goes back to the pool when it is acknowledged.
   */
  append(chunk: Uint8Array, frameBytes: number): void {
    for (let at = 0; at < chunk.length; at += frameBytes) {
      const last = at + frameBytes >= chunk.length;
      this.#pieces.push({
        offset: this.#end + at,
        payload: last
          ? chunk.subarray(at)
          : chunk.subarray(at, at + frameBytes),
        chunk: last ? chunk : undefined,
        frame: undefined,
      });
    }
    this.#end += chunk.length;
    const pieces = Math.ceil(chunk.length / frameBytes);
    this.#hold(chunk.length + pieces * PIECE_OVERHEAD_BYTES);
  }

  /**
   * The next DATA frame to put on the wire, or undefined while there is none
   * or an acknowledgement has to come first. A piece sent before gives the
   * very frame it gave then.
   */
  next(ack: number, limit: number): DataFrame | undefined {
    const piece = this.#pieces[this.#next];
    if (piece === undefined || this.#next - this.#head >= this.#burst) {
      return undefined;
    }
    this.#next++;
    const { offset, payload } = piece;
    const end = offset + payload.length;
    if (end > this.#highest) this.#highest = end;
    return piece.frame ??= { type: "data", offset, ack, limit, payload };
  }

  /**
   * Lets go of what is below `ack`.
   *
   * @returns whether that is news.
   * @throws {TunnelError} `protocol` when those bytes were never sent.
   */
  acknowledge(ack: number): boolean {
    if (ack > this.#highest) {
      throw new TunnelError(
        "protocol",
        `peer acknowledged ${ack} bytes, but only ${this.#highest} were sent`,
      );
    }
    if (ack <= this.#acked) return false;
    this.#acked = ack;
    this.#burst *= 2;
    let piece = this.#pieces[this.#head];
    while (
      piece !== undefined && piece.offset + piece.payload.length <= ack
    ) {
      this.#hold(-piece.payload.length - PIECE_OVERHEAD_BYTES);
      if (piece.chunk !== undefined) this.#pool.release(piece.chunk);
      piece = this.#pieces[++this.#head];
    }
    if (this.#next < this.#head) this.#next = this.#head;
    this.#compact();
    return true;
  }

  /** Sends again from `offset` on (or from what is acknowledged, if later), gently at first. */
  rewind(offset: number): void {
    this.#burst = RESTART_PIECES;
    this.#seek(offset);
  }

  /** Cuts what is held so that no piece is longer than `frameBytes`: the broker takes less now. */
  recut(frameBytes: number): void {
    const sent = this.sent;
    const cut: Piece[] = [];
    for (const piece of this.#pieces.slice(this.#head)) {
      const { offset, payload } = piece;
      if (payload.length <= frameBytes) {
        cut.push(piece);
        continue;
      }
      for (let at = 0; at < payload.length; at += frameBytes) {
        const part = payload.subarray(at, at + frameBytes);
        const last = at + part.length === payload.length;
        if (offset + at + part.length <= this.#acked) continue;
        cut.push({
          offset: offset + at,
          payload: part,
          chunk: last ? piece.chunk : undefined,
          frame: undefined,
        });
      }
    }
    const cost = cut.reduce(
      (sum, { payload }) => sum + payload.length + PIECE_OVERHEAD_BYTES,
      0,
    );
    this.#hold(cost - this.#held);
    this.#pieces = cut;
    this.#head = 0;
    this.#next = cut.length;
    this.#seek(sent);
  }

  /** Forgets everything and gives the memory back. */
  clear(): void {
    for (const piece of this.#pieces.slice(this.#head)) {
      if (piece.chunk !== undefined) this.#pool.release(piece.chunk);
    }
    this.#hold(-this.#held);
    this.#pieces = [];
    this.#head = this.#next = 0;
  }

  #hold(bytes: number): void {
    this.#held += bytes;
    this.#budget.reserve(bytes);
  }

  #seek(offset: number): void {
    while (this.#next > this.#head) {
      const piece = this.#pieces[this.#next - 1];
      if (piece === undefined) break;
      if (piece.offset + piece.payload.length <= offset) break;
      this.#next--;
    }
  }

  #compact(): void {
    if (this.#head === this.#pieces.length) {
      if (this.#head > 0) this.#pieces = [];
      this.#next -= this.#head;
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT) {
      this.#pieces.splice(0, this.#head);
      this.#next -= this.#head;
      this.#head = 0;
    }
  }
}
