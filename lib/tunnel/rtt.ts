/**
 * What is known of the way to a peer, shared by all tunnels with it.
 *
 * @module
 */

/**
 * Round trips kept for the minimum: with a ping every two seconds ten minutes
 * of them. A transfer that lasts fills the queues on its way, and every round
 * trip with them; believed after half a minute, that let windows grow to their
 * limit and made a small request beside it wait 29 times as long as through
 * ssh (measured). A route that became longer is believed later for it.
 */
export const PATH_SAMPLES = 300;

/** Round-trip time to one peer: the smallest of the last few, free of queueing. */
export class PathEstimate {
  #samples: number[] = [];
  #min = 0;

  /** Smallest recent round trip in ms; 0 while none was measured. */
  get minRtt(): number {
    return this.#min;
  }

  /** The way may be another one now. */
  reset(): void {
    this.#samples = [];
    this.#min = 0;
  }

  /** A round trip took `rtt` ms, what waited on its way included: news if that is less. */
  atMost(rtt: number): void {
    if (rtt < this.#min) this.sample(rtt);
  }

  /** Takes one measured round trip, in ms. */
  sample(rtt: number): void {
    this.#samples.push(rtt);
    if (this.#samples.length > PATH_SAMPLES) this.#samples.shift();
    this.#min = Math.min(...this.#samples);
  }
}
