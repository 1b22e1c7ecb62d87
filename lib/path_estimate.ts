/**
 * What is known of the way to a peer, shared by all tunnels with it.
 *
 * @module
 */

/**
 * Round trips kept for the minimum: with a ping every two seconds about half
 * a minute, so that a route that became longer is believed in that time.
 */
const SAMPLES = 16;

/** Round-trip time to one peer: the smallest of the last few, free of queueing. */
export class PathEstimate {
  #samples: number[] = [];
  #min = Infinity;

  /** Smallest recent round trip in ms; Infinity while none was measured. */
  get minRtt(): number {
    return this.#min;
  }

  /** Takes one measured round trip, in ms. */
  sample(rtt: number): void {
    this.#samples.push(rtt);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    this.#min = Math.min(...this.#samples);
  }
}
