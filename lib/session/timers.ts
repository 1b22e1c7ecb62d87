/**
 * The one timer for the timeouts of all tunnels: a timer for each would cost
 * milliseconds with tens of thousands (skupperproject/skupper-router#1145).
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { Tunnel } from "./tunnel.ts";

/** Shortest turn, for acks and probes, in ms: that of the delayed ack. */
const TICK_MS = 25;

/** Tunnels whose next timeout is further off than this are left to the sweep, in ms. */
const TICK_HORIZON_MS = 10_000;

/**
 * How often the tunnels with far timeouts are looked through, in ms: half of
 * what counts as far.
 */
const FAR_SWEEP_MS = TICK_HORIZON_MS / 2;

/** Calls each tunnel's `tick` in time. */
export class TunnelTimers<
  T extends Pick<Tunnel, "nextTimeout" | "step" | "tick">,
> implements Disposable {
  readonly #clock: Clock;
  /** Tunnels with a timeout in the near future. */
  readonly #near = new Set<T>();
  #timer: Disposable | undefined;
  #at = 0;
  #sweepAt = 0;

  /** Timers of no tunnel yet. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Sees to it that the next timeout of `tunnel` is kept, if it is near. */
  watch(tunnel: T, now: number): void {
    const wait = tunnel.nextTimeout - now;
    if (wait >= TICK_HORIZON_MS) return;
    this.#near.add(tunnel);
    this.#start(now, wait);
  }

  /** Forgets `tunnel`. */
  forget(tunnel: T): void {
    this.#near.delete(tunnel);
  }

  /** Finds, every few seconds, the tunnels whose timeout has come near. */
  sweep(tunnels: Iterable<T>, now: number): void {
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + FAR_SWEEP_MS;
    for (const tunnel of tunnels) this.watch(tunnel, now);
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#near.clear();
  }

  /** Sets the timer to `wait` ms from `now`, unless it is to go off before. */
  #start(now: number, wait: number): void {
    const delay = Math.max(wait, TICK_MS);
    const at = now + delay;
    // A turn that comes a little late spares setting the timer anew each time.
    if (this.#timer !== undefined && this.#at <= at + TICK_MS) return;
    this.#timer?.[Symbol.dispose]();
    this.#at = at;
    this.#timer = this.#clock.after(delay, this.#tick);
  }

  readonly #tick = (): void => {
    this.#timer = undefined;
    const now = this.#clock.now();
    let earliest = Infinity;
    for (const tunnel of this.#near) {
      if (tunnel.nextTimeout <= now) {
        tunnel.tick(now);
        tunnel.step(now);
      }
      const due = tunnel.nextTimeout;
      if (due > now + TICK_HORIZON_MS) this.#near.delete(tunnel);
      else if (due < earliest) earliest = due;
    }
    if (earliest < Infinity) this.#start(now, earliest - now);
  };
}
