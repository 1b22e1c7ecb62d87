/**
 * Whether the process at the other end still lives: one clock per pair of
 * processes, not per tunnel.
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";
import type { Role } from "../wire/subjects.ts";
import { PathEstimate } from "./rtt.ts";

/**
 * Shortest time between two pings while frames come, in ms, if the answer is
 * here by then: a way of 20 ms or more that becomes another one is noticed
 * within ten round trips. They cost a thousandth of a busy link.
 */
export const BUSY_PING_MS = 100;

/** Timeouts of a peer, all in ms. */
export interface PeerTimes {
  /** Time between two pings while there are tunnels. */
  readonly pingInterval: number;
  /** How long a peer may be absent by the broker's own word ("no responders"). */
  readonly peerTimeout: number;
  /** How long our link may be down, or a peer silent. */
  readonly resumeTimeout: number;
}

/**
 * The liveness of one peer. There are two clocks. While our link is up and
 * the broker says that nobody listens for the peer, it is dead or
 * reconnecting and has the short peer time. While our link is down, or the
 * peer is merely silent, the resume time counts.
 */
export class Liveness {
  /** Round trip to the peer, fed by its PONGs. */
  readonly path: PathEstimate = new PathEstimate();
  readonly #times: PeerTimes;
  readonly #role: Role;
  #heardAt: number;
  #everHeard = false;
  #absentSince: number | undefined;
  #downSince: number | undefined;
  #upAt: number;
  #pingAt: number;
  #pingId = 0;
  /** When the one that is awaited was sent. */
  #pingSentAt: number | undefined;
  #pingedAt = -Infinity;

  /** A peer of this `role` that has agreed to a tunnel at `now`, over a link that is up. */
  constructor(times: PeerTimes, role: Role, now: number) {
    this.#times = times;
    this.#role = role;
    this.#heardAt = this.#upAt = now;
    this.#pingAt = now;
  }

  /** A frame came from the peer. */
  heard(now: number): void {
    this.#everHeard = true;
    this.agreed(now);
  }

  /** The peer has agreed to a tunnel, after a rest in which it was not asked for anything. */
  agreed(now: number): void {
    this.#heardAt = now;
    this.#absentSince = undefined;
  }

  /** The broker says that nobody listens for the peer. */
  noResponders(now: number): void {
    if (this.#downSince === undefined) this.#absentSince ??= now;
  }

  /** Our link is down. */
  linkDown(now: number): void {
    this.#downSince ??= now;
    this.#absentSince = undefined;
    this.#pingSentAt = undefined;
  }

  /** Our link is up again: a ping is due at once. */
  linkUp(now: number): void {
    this.#downSince = undefined;
    this.#upAt = now;
    this.#pingAt = now;
    this.path.reset();
  }

  /** Frames of tunnels come: whether the next ping is due by that. */
  pollBusy(now: number): boolean {
    // One that is awaited would be forgotten with the next.
    const due = this.#pingSentAt === undefined &&
      now >= this.#pingedAt + BUSY_PING_MS;
    if (!due) return false;
    this.#pingAt = Math.min(this.#pingAt, now);
    return true;
  }

  /**
   * The number of the ping to send now, or undefined while none is due.
   * `now` is taken as the time of sending.
   */
  pollPing(now: number): number | undefined {
    const doubted = this.#pingSentAt === undefined && this.path.doubted(now);
    if (this.#downSince !== undefined || (now < this.#pingAt && !doubted)) {
      return undefined;
    }
    this.#pingAt = now + this.#times.pingInterval;
    this.#pingSentAt = this.#pingedAt = now;
    return ++this.#pingId;
  }

  /** The answer to ping `id` came: how long it took, in ms; undefined for one that is not awaited. */
  pong(id: number, now: number): number | undefined {
    if (id !== this.#pingId || this.#pingSentAt === undefined) return undefined;
    const rtt = now - this.#pingSentAt;
    this.path.sample(rtt, now);
    this.#pingSentAt = undefined;
    return rtt;
  }

  /** Why the peer counts as lost at `now`, or undefined while it does not. */
  verdict(now: number): Reason | undefined {
    const { peerTimeout, resumeTimeout } = this.#times;
    if (this.#downSince !== undefined) {
      if (now < this.#downSince + resumeTimeout) return undefined;
      const text =
        `the link to NATS was down for ${resumeTimeout} ms (--resume-timeout)`;
      return { code: "nats-down", text };
    }
    if (now >= (this.#absentSince ?? Infinity) + peerTimeout) {
      const text =
        `the ${this.#role} did not listen on NATS for ${peerTimeout} ms (--peer-timeout)`;
      return this.#gone(text);
    }
    // After an outage of ours the peer, too, may need a moment to be back.
    const silentUntil = Math.max(
      this.#heardAt + resumeTimeout,
      this.#upAt + Math.min(peerTimeout, resumeTimeout),
    );
    if (now < silentUntil) return undefined;
    const text =
      `nothing was heard of the ${this.#role} for ${resumeTimeout} ms (--resume-timeout)`;
    return this.#gone(text);
  }

  /** A peer pings with the first tunnel: one that never came through speaks elsewhere. */
  #gone(text: string): Reason {
    const hint = this.#everHeard
      ? ""
      : ", and no frame of it ever came: is --data-prefix the same at both ends?";
    return { code: "peer-gone", text: text + hint };
  }
}
