/**
 * Whether a side of a tunnel takes the bytes that wait for it: the local socket
 * what came from the peer, or the peer what the local socket sends.
 *
 * @module
 */

/**
 * How long a side may take nothing before that is told, in ms: longer than a
 * reader that merely works through what it got, or a disk that flushes, and
 * long before people begin to look for a tunnel that hangs. As long as a peer
 * may be gone. A reader so slow that the system's buffers hide what it takes
 * (Linux says that a full one of 4 MiB has room only when a third is free, so
 * below about 140 KiB/s) looks the same for as long.
 */
export const STALL_MS = 10_000;

/**
 * A timer that is later than this, in ms, shows that this process stood still:
 * what its sockets took meanwhile it has not read yet.
 */
const LATE_MS = 2_000;

/** A side of a tunnel that takes nothing while bytes wait for it. */
export interface Stall {
  /** The socket here, or the other end. */
  readonly side: "here" | "there";
  /** When it last took any, or the first of those that wait came. */
  readonly since: number;
  /** Bytes that wait for it in this process. */
  readonly waiting: number;
  /** Whether the side is known to be alive; while NATS is away or the peer silent nobody knows. */
  readonly certain: boolean;
}

/** When one side took something, and whether that is too long ago. */
export class StallTimer {
  #since: number;
  #stalled = false;

  /** A side for which nothing waits. */
  constructor(now: number) {
    this.#since = now;
  }

  /** When the side last took something, or the first of what waits came. */
  get since(): number {
    return this.#since;
  }

  /** Whether the side has taken nothing for too long. */
  get stalled(): boolean {
    return this.#stalled;
  }

  /** When it will have, if it takes nothing until then; never once it has. */
  get dueAt(): number {
    return this.#stalled ? Infinity : this.#since + STALL_MS;
  }

  /** The side took something, or the first byte came that waits for it. */
  moved(now: number): void {
    this.#since = now;
    this.#stalled = false;
  }

  /** Nobody can know what it took until now. */
  restart(now: number): void {
    if (!this.#stalled) this.#since = now;
  }

  /** Bytes still wait, as the side says itself. */
  judge(now: number): void {
    if (now >= this.dueAt) this.#stalled = true;
  }

  /** Bytes still wait; due when `dueAt` has come. */
  tick(now: number): void {
    if (now >= this.dueAt + LATE_MS) this.restart(now);
    else this.judge(now);
  }
}
