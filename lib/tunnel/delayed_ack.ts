/**
 * When an ACK goes on its own, and when it asks for bytes again.
 *
 * @module
 */

/**
 * How long an acknowledgement waits for data to ride on, in ms. Below the
 * 40 ms of delayed TCP acks, above the answer time of a local service.
 */
export const ACK_DELAY_MS = 25;

/** The acknowledgements that one end of a tunnel owes. */
export class DelayedAck {
  #dueAt = Infinity;
  #gap = false;
  #askedAt = -1;
  #droppedForMemory = false;

  /** When an ACK is due at the latest. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /** Whether bytes were dropped for want of memory and not yet asked for. */
  get droppedForMemory(): boolean {
    return this.#droppedForMemory;
  }

  /** Bytes came: an ACK may wait for company. */
  later(now: number): void {
    this.#dueAt = Math.min(this.#dueAt, now + ACK_DELAY_MS);
  }

  /** There is news that the peer waits for. */
  at(now: number): void {
    this.#dueAt = now;
  }

  /**
   * Bytes after `received` are missing: ask, once for each offset. If that or
   * the answer is lost, the sender's probe finds out.
   *
   * @returns whether this was news.
   */
  missing(received: number, now: number): boolean {
    if (this.#droppedForMemory || this.#askedAt === received) return false;
    this.#ask(received, now);
    return true;
  }

  /** Bytes after `received` were dropped for want of memory. */
  dropped(): void {
    this.#droppedForMemory = true;
  }

  /** There is memory again: ask for what was dropped. */
  relieved(received: number, now: number): void {
    if (!this.#droppedForMemory) return;
    this.#droppedForMemory = false;
    this.#ask(received, now);
  }

  /** A frame that carries the present ack goes out: only an ACK that asks for bytes is still due. */
  sent(): void {
    if (!this.#gap) this.#dueAt = Infinity;
  }

  /** The ACK that is due goes out; returns whether it asks to send again. */
  take(): boolean {
    const gap = this.#gap;
    this.#gap = false;
    this.#dueAt = Infinity;
    return gap;
  }

  #ask(received: number, now: number): void {
    this.#askedAt = received;
    this.#gap = true;
    this.#dueAt = now;
  }
}
