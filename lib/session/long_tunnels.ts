/**
 * What the log says of tunnels that are open for long, so that one that began
 * in yesterday's file is found in today's, too: a line for each now and then,
 * and of very many one line for all that have none.
 *
 * @module
 */
import type { Tunnel } from "./tunnel.ts";
import { logMoreOpen, logStillOpen, type Moved } from "./tunnel_log.ts";

/**
 * Time between two lines about one tunnel, in ms: an ssh session of a working
 * day leaves 30 of them, and the log of any hour knows it.
 */
const INTERVAL_MS = 15 * 60_000;

/**
 * Most lines each time: with them a process writes two thousand a day. The
 * tunnels through which most has gone have theirs.
 */
const MAX_LINES = 20;

/** The tunnels of a process that have been open for long. */
export class LongTunnels {
  /** Of each that was looked at, what had gone through it then. */
  readonly #seen = new Map<Tunnel, Moved>();
  #dueAt: number;

  /** Nothing is told before the first interval is over. */
  constructor(now: number) {
    this.#dueAt = now + INTERVAL_MS;
  }

  /** Tells of those of `tunnels`, which are all that are open, if it is time to. */
  sweep(tunnels: Iterable<Tunnel>, now: number): void {
    if (now < this.#dueAt) return;
    this.#dueAt = now + INTERVAL_MS;
    const long = [...tunnels].flatMap((tunnel) =>
      now - tunnel.info.openedAt < INTERVAL_MS
        ? []
        : { tunnel, moved: this.#look(tunnel) }
    );
    long.sort((one, other) => amount(other.moved) - amount(one.moved));
    for (const { tunnel, moved } of long.slice(0, MAX_LINES)) {
      logStillOpen(tunnel, moved, now);
    }
    const rest = long.slice(MAX_LINES);
    if (rest.length === 0) return;
    const sums = { sent: 0, received: 0, held: 0 };
    for (const { tunnel, moved } of rest) {
      sums.sent += moved.sent;
      sums.received += moved.received;
      const { send, receive } = tunnel.held;
      sums.held += send + receive;
    }
    logMoreOpen(rest.length, { moved: sums, held: sums.held });
  }

  /** Forgets `tunnel`, which has ended. */
  forget(tunnel: Tunnel): void {
    this.#seen.delete(tunnel);
  }

  /** What has gone through since it was looked at last. */
  #look(tunnel: Tunnel): Moved {
    const { bytesSent: sent, bytesReceived: received } = tunnel.stats;
    const before = this.#seen.get(tunnel);
    this.#seen.set(tunnel, { sent, received });
    return {
      sent: sent - (before?.sent ?? 0),
      received: received - (before?.received ?? 0),
    };
  }
}

function amount({ sent, received }: Moved): number {
  return sent + received;
}
