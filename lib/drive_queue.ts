/**
 * Which tunnels have work to be done, and when it is done: at the end of the
 * turn in which an event came, or when the way to NATS is free again.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { messageOf } from "./errors.ts";
import type { Tunnel } from "./tunnel.ts";

/** Drives the tunnels of a session. */
export class DriveQueue {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #log = getLogger(["sproxy", "tunnel"]);
  /** Tunnels with events whose consequences are not carried out yet. */
  #touched: Tunnel[] = [];
  #scheduled = false;
  /** Tunnels that wait for the way to NATS to be free. */
  readonly #blocked = new Set<Tunnel>();

  /** A queue without tunnels. */
  constructor(options: { readonly bus: Bus; readonly clock: Clock }) {
    this.#bus = options.bus;
    this.#clock = options.clock;
  }

  /** Carries out, at the end of this turn, what follows from an event of `tunnel`. */
  touch(tunnel: Tunnel): void {
    this.#touched.push(tunnel);
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
    // Driving may touch others; they are driven in the same turn.
    for (let at = 0; at < this.#touched.length; at++) {
      const tunnel = this.#touched[at];
      try {
        tunnel?.drive(now);
      } catch (error) {
        // A fault of ours ends the tunnel it befell, not the others.
        this.#log.error("tunnel failed", { id: tunnel?.info.id, error });
        tunnel?.abort({ code: "internal", text: messageOf(error) });
      }
    }
    this.#touched = [];
    this.#scheduled = false;
  };
}
