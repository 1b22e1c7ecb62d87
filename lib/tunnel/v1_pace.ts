/**
 * How fast a version 1 peer is sent to: two token buckets, of bytes and of
 * messages.
 *
 * @module
 */
import { V1_MAX_DATA_BYTES } from "../wire/message.ts";

/** Messages that may go in one burst: the original drops the 101st that waits. */
const BURST_MESSAGES = 64;

/** Bytes that may go in one burst: sixteen of the largest messages. */
const BURST_BYTES = 16 * V1_MAX_DATA_BYTES;

/**
 * Messages a second, however small. The original writes a log line for each:
 * at this rate its queue overflows only when it stands still for 18 ms. Bulk
 * loses nothing by it, since bytes that wait leave in larger messages.
 */
const MESSAGES_PER_SECOND = 2_000;

/** Two buckets of tokens, full at first. */
export class V1Pace {
  readonly #rate: number;
  #bytes = BURST_BYTES;
  #messages = BURST_MESSAGES;
  #refilledAt: number;

  /** Full buckets; `rate` is in bytes a second. */
  constructor(options: { readonly rate: number; readonly now: number }) {
    this.#rate = options.rate;
    this.#refilledAt = options.now;
  }

  /** Whether a message may go. */
  get open(): boolean {
    return this.#bytes > 0 && this.#messages >= 1;
  }

  /** When a message may go, if it may not now; Infinity if it may. */
  get opensAt(): number {
    if (this.open) return Infinity;
    const bytes = Math.max(0, 1 - this.#bytes) / this.#rate;
    const messages = Math.max(0, 1 - this.#messages) / MESSAGES_PER_SECOND;
    return this.#refilledAt + Math.max(bytes, messages) * 1000;
  }

  /** Time has passed. */
  refill(now: number): void {
    const seconds = (now - this.#refilledAt) / 1000;
    this.#refilledAt = now;
    this.#bytes = Math.min(BURST_BYTES, this.#bytes + seconds * this.#rate);
    this.#messages = Math.min(
      BURST_MESSAGES,
      this.#messages + seconds * MESSAGES_PER_SECOND,
    );
  }

  /** A message with so many bytes goes. */
  take(bytes: number): void {
    this.#bytes -= bytes;
    this.#messages--;
  }
}
