/**
 * Which tunnels have work to be done, and when it is done: at the end of the
 * turn in which an event came, or when the way to NATS is free again.
 *
 * @module
 */
import type { Bus } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import type { Tunnel } from "./tunnel.ts";

/** Drives the tunnels of a session. */
export class DriveQueue {
  readonly #bus: Bus;
  readonly #clock: Clock;
  /** Tunnels with events whose consequences are not carried out yet. */
  readonly #touched = new Set<Tunnel>();
  #scheduled = false;
  /** Tunnels that wait for the way to NATS to be free. */
  readonly #blocked = new Set<Tunnel>();

  /** A queue without tunnels. */
  constructor(options: { readonly bus: Bus; readonly clock: Clock }) {
    this.#bus = options.bus;
    this.#clock = options.clock;
  }

  /** Carries out, at the end of this turn, what follows from the events of `tunnel`. */
  touch(tunnel: Tunnel): void {
    this.#touched.add(tunnel);
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.#driveTouched);
  }

  /** `tunnel` was driven, and may have more to send than there was room for. */
  driven(tunnel: Tunnel): void {
    if (this.#bus.congested) this.#blocked.add(tunnel);
  }

  /** Forgets `tunnel`. */
  forget(tunnel: Tunnel): void {
    this.#blocked.delete(tunnel);
  }

  /** The way to NATS is free again. */
  drained(): void {
    const now = this.#clock.now();
    // A set keeps the order of insertion: who blocks again goes to its end.
    for (const tunnel of this.#blocked) {
      if (this.#bus.congested) break;
      this.#blocked.delete(tunnel);
      tunnel.drive(now);
    }
  }

  readonly #driveTouched = (): void => {
    const now = this.#clock.now();
    // Driving may touch others, and these again: a set goes on to those.
    for (const tunnel of this.#touched) {
      this.#touched.delete(tunnel);
      tunnel.drive(now);
    }
    this.#scheduled = false;
  };
}
