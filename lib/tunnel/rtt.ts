/**
 * What is known of the way to a peer, shared by all tunnels with it.
 *
 * The least round trip is that of the way without queues. A round trip that is
 * less is believed at once: no way is shorter than it was seen to be. Those that
 * are longer may come from queues, and a transfer that lasts fills them. To
 * believe these let windows grow to their limit, and made a small request beside
 * it wait 29 times as long as through ssh (measured). So when several in a row
 * were longer, the bulk of this process rests until a few more are measured (as
 * in ProbeRTT of BBR): where the queues were its own, they are empty then.
 *
 * @module
 */

/**
 * Longer round trips in a row that raise a doubt: one or two may have waited for
 * a packet that was lost, or for a process.
 */
export const DOUBT_SAMPLES = 3;

/**
 * Round trips measured while bulk rests: the first empties the queues before
 * it, the second those of what came by credit already given.
 */
export const REST_SAMPLES = 3;

/** Bulk rests no longer than so many of the longer round trips, should their pings be lost. */
const MAX_REST_ROUND_TRIPS = 6;

/** Longer is what takes so many times as long as the least, */
const LONGER = 1.5;

/** and at least so many ms more: less is what processes wait for their turn. */
const LONGER_BY_MS = 10;

/**
 * Time between two rests that queues were found to be the cause of, in ms: what
 * they cost is 3 round trips in this (BBR: the same). A way that is longer than
 * those queues made it is found out without this wait.
 */
export const REST_PAUSE_MS = 10_000;

/** Bytes under way in one direction of a tunnel that go on while bulk rests: small tunnels do not notice. */
export const REST_BYTES = 16 * 1024;

/** Whether a way whose round trips take `rtt` ms is longer than one of `other`, waits of processes aside. */
export function isLonger(rtt: number, other: number): boolean {
  return rtt > Math.max(other * LONGER, other + LONGER_BY_MS);
}

/** Round-trip time to one peer: the least that the way takes now, free of queueing. */
export class PathEstimate {
  #min = 0;
  /** How many in a row were longer, and the least of these. */
  #longer = 0;
  #least = Infinity;
  /** How many are still to be measured while bulk rests, and until when it does at most. */
  #awaited = 0;
  #restUntil = -Infinity;
  /** What queues were found to make of round trips, and when. */
  #queued = 0;
  #queuedAt = -Infinity;

  /** Least round trip in ms; 0 while none was measured. */
  get minRtt(): number {
    return this.#min;
  }

  /** Whether to measure again at once: the way may have become longer. */
  doubted(now: number): boolean {
    return this.rests(now) || (this.#longer > 0 && this.#mayRest(now));
  }

  /** Whether tunnels are to have no more than {@linkcode REST_BYTES} under way. */
  rests(now: number): boolean {
    return this.#awaited > 0 && now < this.#restUntil;
  }

  /** The way may be another one now. */
  reset(): void {
    this.#min = this.#queued = 0;
    this.#queuedAt = -Infinity;
    this.#calm();
  }

  /** A round trip took `rtt` ms, what waited on its way included: news if that is less. */
  atMost(rtt: number): void {
    if (rtt < this.#min) this.#min = rtt;
  }

  /** Takes one round trip, in ms, that was measured at `now`. */
  sample(rtt: number, now: number): void {
    if (this.#min === 0 || !isLonger(rtt, this.#min)) {
      if (this.#awaited > 0) {
        this.#queued = this.#least;
        this.#queuedAt = now;
      }
      if (this.#min === 0 || rtt < this.#min) this.#min = rtt;
      this.#calm();
      return;
    }
    this.#least = Math.min(this.#least, rtt);
    this.#longer++;
    if (this.rests(now)) {
      if (--this.#awaited > 0) return;
      // Our queues are empty: that is what the way takes.
      this.#min = this.#least;
      this.#calm();
    } else if (this.#longer >= DOUBT_SAMPLES && this.#mayRest(now)) {
      this.#awaited = REST_SAMPLES;
      this.#restUntil = now + MAX_REST_ROUND_TRIPS * rtt;
    }
  }

  #mayRest(now: number): boolean {
    return now >= this.#queuedAt + REST_PAUSE_MS ||
      this.#least > this.#queued * LONGER;
  }

  #calm(): void {
    this.#longer = this.#awaited = 0;
    this.#least = Infinity;
  }
}
