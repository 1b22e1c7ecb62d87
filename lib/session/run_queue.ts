/**
 * Which tunnels are to take a step, and when: at the end of the turn in which
 * an event came, or when the way to NATS is free again.
 *
 * @module
 */
import type { Bus } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import type { Tunnel } from "./tunnel.ts";

/** Lets the tunnels of a session take their steps. */
export class RunQueue<T extends Pick<Tunnel, "step" | "congested">> {
  readonly #bus: Bus;
  readonly #clock: Clock;
  /** Tunnels with events of which the consequences are not carried out yet. */
  readonly #due = new Set<T>();
  #scheduled = false;
  /** Tunnels that wait for the way to NATS to be free. */
  readonly #blocked = new Set<T>();

  /** A queue without tunnels. */
  constructor(options: { readonly bus: Bus; readonly clock: Clock }) {
    this.#bus = options.bus;
    this.#clock = options.clock;
  }

  /** Lets `tunnel` take a step at the end of this turn. */
  schedule(tunnel: T): void {
    this.#due.add(tunnel);
    this.#wake();
  }

  /** `tunnel` took a step, and may have more to send than there was room for. */
  stepped(tunnel: T): void {
    if (tunnel.congested) this.#blocked.add(tunnel);
  }

  /** Forgets `tunnel`. */
  forget(tunnel: T): void {
    this.#blocked.delete(tunnel);
  }

  /** The way to NATS is free again. */
  drained(): void {
    const now = this.#clock.now();
    // A set keeps the order of insertion: who blocks again goes to its end.
    for (const tunnel of this.#blocked) {
      if (this.#bus.congested && this.#bus.expressCongested) break;
      if (tunnel.congested) continue;
      this.#blocked.delete(tunnel);
      tunnel.step(now);
    }
  }

  readonly #run = (): void => {
    const now = this.#clock.now();
    try {
      // A step may schedule others, and these again: a set goes on to those.
      for (const tunnel of this.#due) {
        this.#due.delete(tunnel);
        tunnel.step(now);
      }
    } finally {
      this.#scheduled = false;
      // One step that throws must not keep the others from theirs.
      if (this.#due.size > 0) this.#wake();
    }
  };

  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.#run);
  }
}
