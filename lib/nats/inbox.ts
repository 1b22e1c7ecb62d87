/**
 * What has been read from a broker and not yet been taken apart: one buffer,
 * used again and again.
 *
 * @module
 */

import { InboundMessage } from "./message.ts";
import { MAX_LINE_BYTES, NatsParser, OP, type Op } from "./parser.ts";

/**
 * Size of the read buffer in bytes: large enough that bulk takes few reads,
 * small enough to stay in a processor's cache. (Measured: from 64 KiB on it
 * makes no difference, below that reads cost more.)
 */
export const READ_BYTES = 128 * 1024;

/** Reads operations out of what arrives. */
export class Inbox {
  /** Describes the operation found last. */
  readonly parser = new NatsParser();
  /** The message found last; valid until the next operation. */
  readonly message = new InboundMessage(this.parser);

  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(READ_BYTES);
  /** Bytes not taken apart lie from `#start` to `#limit`. */
  #start = 0;
  #limit = 0;
  /** Bytes to come of an operation that is skipped. */
  #skip = 0;
  /** Where the operation found last begins. */
  #found = 0;
  #oversized = 0;

  /** Whether there are bytes behind the operation found last. */
  get hasMore(): boolean {
    return this.#limit > this.#start;
  }

  /** Messages that were larger than they may be. */
  get oversized(): number {
    return this.#oversized;
  }

  /** Where to read to. What an operation that is still incomplete needs, is there. */
  room(): Uint8Array {
    const left = this.#limit - this.#start;
    const size = Math.max(READ_BYTES, left === 0 ? 0 : this.parser.needed);
    if (size !== this.#bytes.length) {
      const other = new Uint8Array(size);
      other.set(this.#bytes.subarray(this.#start, this.#limit));
      this.#bytes = other;
    } else if (left > 0) {
      this.#bytes.copyWithin(0, this.#start, this.#limit);
    }
    this.#start = 0;
    this.#limit = left;
    return left === 0 ? this.#bytes : this.#bytes.subarray(left);
  }

  /** `count` bytes were read into the room. */
  add(count: number): void {
    const skipped = Math.min(this.#skip, count);
    this.#skip -= skipped;
    // While something is skipped, nothing else is in the buffer.
    this.#start += skipped;
    this.#limit += count;
  }

  /**
   * The next operation; `OP.incomplete` when there is no whole one. An
   * operation of more than `maxPayload` bytes and its line is skipped:
   * another broker of the cluster may let such through, and nobody must be
   * able to make us hold more than we must.
   *
   * @throws {NatsProtocolError} when the bytes are not NATS.
   */
  next(maxPayload: number): Op {
    const start = this.#start;
    const op = this.parser.parse(this.#bytes, start, this.#limit);
    if (op === OP.incomplete) {
      const { needed } = this.parser;
      if (needed > maxPayload + MAX_LINE_BYTES) {
        this.#oversized++;
        this.#skip = needed - (this.#limit - start);
        this.#start = this.#limit;
      }
      return op;
    }
    this.#found = start;
    this.#start = this.parser.end;
    if (op === OP.message) this.message.moveTo(this.#bytes);
    return op;
  }

  /** A copy of the operation found last. */
  copy(): Uint8Array {
    return this.#bytes.slice(this.#found, this.parser.end);
  }

  /** The argument of the operation found last; valid until more is read. */
  argument(): Uint8Array {
    const { argStart, argEnd } = this.parser;
    return this.#bytes.subarray(argStart, argEnd);
  }
}
