/**
 * The record of tunnels that have ended (as TCP keeps one in TIME-WAIT), and
 * the answers to frames that still come for them, or for tunnels that never
 * were: their sender must know.
 *
 * @module
 */
import { binaryCodec } from "../wire/binary.ts";
import type { Bus, BusMessage } from "../nats/bus.ts";
import type { Reason } from "../base/errors.ts";
import { FairShares } from "../base/fair_shares.ts";
import type { Frame } from "../wire/frame.ts";
import type { TunnelSeal } from "../seal/frames.ts";
import type { PeerName } from "./peers.ts";
import {
  type ConnectionId,
  formatId,
  otherRole,
  type Role,
  type Subjects,
} from "../wire/subjects.ts";

/** How a tunnel ended, as far as its peer may still ask. */
export type Ending =
  /** Clean: everything up to this ack has arrived here. */
  | { readonly ack: number }
  /** Cut, for this reason. */
  | { readonly reason: Reason };

/**
 * Tunnels remembered: some seconds of the highest rate of short connections, at
 * about 250 bytes each, 1 KiB where they are sealed. Each client, or each
 * server, has as many as are free: alone half of them, and none can push out what
 * others left.
 */
const MAX_REMEMBERED = 8192;

/** Shortest time one is remembered, in ms: twice the default resume time. */
const MIN_LIFETIME_MS = 60_000;

/**
 * Answers between two sweeps: enough for a process that restarts with many
 * tunnels, too few to amplify a flood. A peer gets as many as are left.
 */
const MAX_ANSWERS = 8192;

/** The answer about a tunnel that this process never had, or has forgotten. */
const UNKNOWN: Reason = {
  code: "unknown-tunnel",
  text: "no such tunnel is known; the process may have been restarted",
};

/** What a sealed tunnel leaves behind: frames for it are still opened, and answered under the same keys. */
export interface SealedEnd {
  /** Its keys. */
  readonly seal: TunnelSeal;
  /** The process at its other end. */
  readonly peer: PeerName;
}

interface Closed {
  readonly ending: Ending;
  readonly until: number;
  readonly owner: string;
  readonly sealed: SealedEnd | undefined;
}

/** A frame that was sealed for a tunnel that has ended. */
export interface OpenedLate {
  /** The frame. */
  readonly frame: Frame;
  /** The peer, where the frame speaks of the two processes. */
  readonly peer: PeerName | undefined;
}

/** Where frames for closed tunnels are answered. */
export interface ClosedTunnelsOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** How long a link may be away, in ms. */
  readonly resumeTimeout: number;
}

/** How the tunnels of a process ended lately; the oldest are forgotten first. */
export class ClosedTunnels {
  readonly #options: ClosedTunnelsOptions;
  readonly #endings = new Map<string, Closed>();
  /** Their IDs by who was at the other end, the oldest first. */
  readonly #byOwner = new Map<string, Set<string>>();
  /** Answers since the last sweep, by the peer they went to. */
  readonly #answers = new FairShares(MAX_ANSWERS);

  /** No tunnel has ended yet. */
  constructor(options: ClosedTunnelsOptions) {
    this.#options = options;
  }

  /** Remembers how tunnel `id` ended; its `owner` is who pays for it, or the peer's token. */
  add(
    { id, owner }: { readonly id: string; readonly owner: string },
    ending: Ending,
    now: number,
    sealed?: SealedEnd,
  ): void {
    const ids = this.#byOwner.get(owner) ?? new Set();
    if (ids.size >= MAX_REMEMBERED - this.#endings.size) {
      // Its own go first; without any it takes the place of the oldest.
      const [oldest] = ids.size > 0 ? ids : this.#endings.keys();
      if (oldest !== undefined) this.#forget(oldest);
    }
    this.#byOwner.set(owner, ids.add(id));
    const { resumeTimeout } = this.#options;
    const until = now + Math.max(MIN_LIFETIME_MS, 2 * resumeTimeout);
    this.#endings.set(id, { ending, until, owner, sealed });
  }

  /** How tunnel `id` ended, if that is remembered. */
  find(id: string): Ending | undefined {
    return this.#endings.get(id)?.ending;
  }

  /** Opens a message that was sealed for tunnel `id`; undefined if that is not remembered. */
  open(id: ConnectionId, message: BusMessage): OpenedLate | undefined {
    const sealed = this.#endings.get(formatId(id))?.sealed;
    const opened = sealed?.seal.open(message.data, message.subjectBytes);
    if (sealed === undefined || opened === undefined) return undefined;
    const frame = binaryCodec.decode(opened.frame);
    return frame && { frame, peer: opened.pair ? sealed.peer : undefined };
  }

  /**
   * Answers a frame that came for tunnel `id`, which is not open, or one that
   * could not be opened and is `unknown`.
   *
   * @returns whether it was unexpected: a late RESET or acknowledgement is not.
   */
  answer(id: ConnectionId, frame: Frame | "unknown", now: number): boolean {
    const text = formatId(id);
    if (frame === "unknown") {
      const { code, text: why } = UNKNOWN;
      this.#send(id, { type: "reset", code, text: why }, now);
      return true;
    }
    if (frame.type === "reset") return false;
    const ending = this.find(text) ?? { reason: UNKNOWN };
    if ("reason" in ending) {
      const { code, text: why } = ending.reason;
      this.#send(id, { type: "reset", code, text: why }, now);
      return true;
    }
    // Two that remember a clean end would answer each other's answers for ever.
    if (frame.type === "ack" || frame.type === "pong") return false;
    const { ack } = ending;
    this.#send(id, { type: "ack", ack, limit: ack, gap: false }, now);
    return true;
  }

  /**
   * Answers a process that pings though we share no tunnel with it (any more):
   * we may have been restarted under the same token. It is to ask after each
   * tunnel that it has.
   */
  answerUnknownPeer(id: ConnectionId, frame: Frame, now: number): void {
    // Two that share none would answer each other's `resumed` for ever.
    if (frame.type !== "ping" || frame.resumed) return;
    const ask = { id: 0, sent: 0, ack: 0, limit: 0, resumed: true };
    this.#send(id, { type: "ping", ...ask }, now);
  }

  /** Allows as many answers again, and forgets tunnels that ended long ago. */
  sweep(now: number): void {
    this.#answers.clear();
    for (const [id, { until }] of this.#endings) {
      if (until > now) return;
      this.#forget(id);
    }
  }

  #forget(id: string): void {
    const owner = this.#endings.get(id)?.owner ?? "";
    const ids = this.#byOwner.get(owner);
    this.#endings.delete(id);
    ids?.delete(id);
    if (ids?.size === 0) this.#byOwner.delete(owner);
  }

  #send(to: ConnectionId, frame: Frame, now: number): void {
    const { bus, role, subjects } = this.#options;
    if (!this.#answers.take(to[otherRole(role)])) return;
    const id = formatId(to);
    const subject = subjects.data(otherRole(role), id);
    const lane = "control";
    const message = binaryCodec.encode(id, frame);
    const sealed = this.#endings.get(id)?.sealed?.seal
      .seal(message, { lane, pair: false, subject }, now);
    bus.publish(subject, sealed ?? message, { lane });
  }
}
