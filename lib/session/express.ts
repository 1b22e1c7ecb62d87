/**
 * Which frames of a tunnel may overtake what others have under way.
 *
 * A broker keeps the order of what one connection publishes, so what is small
 * waits behind what is large. What goes by the express subject may go by
 * another connection, and then what a tunnel has under way must all go the same
 * way, or frames would overtake their own: a tunnel goes express from when it
 * has nothing under way until it has too much, and then as ever. What it sends
 * then cannot overtake what went express, which had the shorter queue.
 *
 * @module
 */
import type { TunnelState } from "../tunnel/machine.ts";
import type { Frame } from "../wire/frame.ts";

/**
 * Most bytes of a tunnel under way express: a page or the answer to a query,
 * and of bulk no more than the start. With 300 MB/s a queue of 64 KiB is one of
 * 0.2 ms for others.
 */
export const EXPRESS_BYTES = 64 * 1024;

/**
 * How long after bulk nothing goes express, in ms: bulk whose reader is quick
 * has nothing under way again and again, and each change may have what follows
 * overtake what went express.
 */
export const AFTER_BULK_MS = 1_000;

/**
 * How long nothing goes express after a loss, in ms, and at most if it is lost
 * again each time: there may be no way for it, and each trial costs two
 * questions without an answer.
 */
const BAR_MS = { first: 10_000, most: 600_000 } as const;

/** What of a tunnel's machine decides. */
type Watched = Pick<TunnelState, "inFlight" | "replays" | "unanswered">;

/** The way of one tunnel's frames. */
export class ExpressWay {
  readonly #machine: Watched;
  readonly #isHeard: boolean;
  /** Whether what is under way went express. */
  #on = false;
  /** Whether any of it did. */
  #isMixed = false;
  /** Whether what came last did. */
  #came = false;
  #replays = 0;
  #barredUntil = -Infinity;
  #bar: number = BAR_MS.first;
  #isBarred = false;
  #now = -Infinity;
  #bulkAt = -Infinity;

  /** For a tunnel with this machine, whose peer hears what is express if `isHeard`. */
  constructor(machine: Watched, isHeard: boolean) {
    this.#machine = machine;
    this.#isHeard = isHeard;
  }

  /** Whether what is sent next goes express. */
  get open(): boolean {
    return this.#isHeard && !this.#isBarred &&
      (this.#on || this.#machine.inFlight === 0);
  }

  /** Whether anything went express lately, or came so, and may be under way. */
  get isUsed(): boolean {
    return this.#on || this.#came;
  }

  /** Looks whether what went express arrives; before frames are sent. */
  look(now: number): void {
    const { replays, unanswered, inFlight } = this.#machine;
    this.#now = now;
    if (this.#isMixed && (replays > this.#replays || unanswered)) {
      // One that was good for as long as it was barred starts afresh.
      this.#bar = now - this.#barredUntil > this.#bar
        ? BAR_MS.first
        : Math.min(2 * this.#bar, BAR_MS.most);
      this.#barredUntil = now + this.#bar;
      this.#on = false;
    }
    if (inFlight === 0) this.#isMixed = false;
    this.#replays = replays;
    this.#isBarred = now < this.#barredUntil ||
      now < this.#bulkAt + AFTER_BULK_MS;
  }

  /** Whether `frame`, which is sent now, goes express. */
  take(frame: Frame): boolean {
    switch (frame.type) {
      case "ack":
        // Where its data came: credit for bulk stays with the bulk.
        return this.#came && !this.#isBarred;
      case "pong":
        // Behind what is under way, or else the way that the question came.
        return this.open && (this.#came || this.#machine.inFlight > 0);
      case "data": {
        const { inFlight } = this.#machine;
        const wasDrained = inFlight <= frame.payload.length;
        const isBulk = inFlight > EXPRESS_BYTES;
        if (isBulk) this.#bulkAt = this.#now;
        return this.#go(
          this.#isHeard && !this.#isBarred && !isBulk &&
            (this.#on || wasDrained),
        );
      }
      default:
        return this.#go(this.open);
    }
  }

  #go(express: boolean): boolean {
    if (express) this.#isMixed = true;
    return this.#on = express;
  }

  /** A frame came, `express` or not. */
  came(express: boolean): void {
    this.#came = express;
  }

  /** What went express may be lost: what follows goes as ever until all has arrived. */
  lost(): void {
    this.#on = this.#came = this.#isMixed = false;
  }

  /** The broker does not take what is express. */
  denied(now: number): void {
    this.lost();
    this.#bar = BAR_MS.most;
    this.#barredUntil = now + this.#bar;
    this.#isBarred = true;
  }
}
