/**
 * The processes at the other ends of our tunnels: pings to them, and the end
 * of all their tunnels when they are gone.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Bus, PublishOptions } from "../nats/bus.ts";
import type { Codec } from "../wire/codec.ts";
import type { Decider, Reason } from "../base/errors.ts";
import { type Frame, PEER_NUMBER } from "../wire/frame.ts";
import type { FrameTraffic } from "./frame_counts.ts";
import { Liveness, type PeerTimes } from "../tunnel/liveness.ts";
import { isLonger } from "../tunnel/rtt.ts";
import {
  formatId,
  otherRole,
  type Role,
  type Subjects,
} from "../wire/subjects.ts";

const log = getLogger(["sproxy", "tunnel"]);

/** A tunnel, as far as its peer concerns it. */
export interface PeerTunnel {
  /** Sends a frame about the two processes, sealed as those of this tunnel are. */
  sendPairFrame(frame: Frame, now: number): void;
  /** The peer's link was away. */
  peerResumed(now: number): void;
}

/** One process at the other end. */
export interface Peer<T extends PeerTunnel> extends PeerName {
  /** Whether it lives, and the round trip to it. */
  readonly state: Liveness;
  /** The tunnels shared with it. */
  readonly tunnels: Set<T>;
  /** How frames for it are written. */
  readonly codec: Codec;
  /** Connection ID of the pair of processes. */
  readonly id: string;
  /** Largest payload of a frame that comes through to it, in bytes, as far as is known. */
  largestFrame: number;
  /** Whether it has been pinged. */
  greeted: boolean;
  /** Until when it is not asked again after all its tunnels, if somebody doubts them. */
  doubtedUntil: number;
  /** When its tunnels were last asked after because its link was away. */
  askedAt: number;
  /** Whether it has been away again since, and they are to be asked after once more. */
  resumed: boolean;
}

/** Who a peer is. */
export interface PeerName {
  /** Its token. */
  readonly token: string;
  /** The key that it has proved to have, where tunnels are sealed; a token is only claimed. */
  readonly key?: string | undefined;
}

/**
 * How long a peer without tunnels is remembered, in ms: connections that come
 * one after the other find the round trip known and need no ping of their own.
 */
const IDLE_PEER_MS = 30_000;

/**
 * Peers without tunnels that are remembered; beyond that the oldest is forgotten.
 * A client that changes its name for each open is a new one each time.
 */
const MAX_IDLE_PEERS = 1024;

/**
 * Shortest time between two rounds of questions after all tunnels of a peer, in
 * ms: each costs as much as it has tunnels, and a frame that asks for it nothing.
 */
const ASK_PAUSE_MS = 400;

/** Fields of a PING or PONG that speaks of two processes, and of no bytes. */
const NO_POSITION = { sent: 0, ack: 0, limit: 0 } as const;

/** Options of the table of peers. */
export interface PeersOptions<T extends PeerTunnel> {
  /** The way to NATS. */
  readonly bus: Bus;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** Token of this process. */
  readonly token: string;
  /** Timeouts of a peer. */
  readonly times: PeerTimes;
  /** Where frames about pairs of processes are counted. */
  readonly frames: FrameTraffic;
  /** Told of each round trip to a peer that was measured, in ms. */
  readonly onRoundTrip: (ms: number) => void;
  /** Called when a peer counts as lost, or says that it leaves: its tunnels are to end. */
  readonly onLost: (peer: Peer<T>, reason: Reason, by: Decider) => void;
}

/** The peers with which tunnels are shared. */
export class Peers<T extends PeerTunnel> {
  readonly #options: PeersOptions<T>;
  /** By token, and key where there is one. */
  readonly #peers = new Map<string, Peer<T>>();
  /** Peers without tunnels, and since when. */
  readonly #idleSince = new Map<Peer<T>, number>();

  /** A table without peers. */
  constructor(options: PeersOptions<T>) {
    this.#options = options;
  }

  /** How many peers there are with which tunnels are shared. */
  get size(): number {
    return this.#peers.size - this.#idleSince.size;
  }

  /** The peer of this name, for a tunnel to be; made if it is new. */
  get({ token, key }: PeerName, codec: Codec, now: number): Peer<T> {
    const name = nameOf({ token, key });
    const known = this.#peers.get(name);
    if (known !== undefined) {
      if (known.tunnels.size === 0) known.state.agreed(now);
      this.#idleSince.delete(known);
      return known;
    }
    const { bus, role, token: own, times } = this.#options;
    const peer: Peer<T> = {
      token,
      state: new Liveness(times, otherRole(role), now),
      tunnels: new Set(),
      codec,
      id: formatId({
        client: role === "client" ? own : token,
        server: role === "client" ? token : own,
        number: PEER_NUMBER,
      }),
      largestFrame: Infinity,
      key,
      greeted: false,
      doubtedUntil: -Infinity,
      askedAt: -Infinity,
      resumed: false,
    };
    if (!bus.connected) peer.state.linkDown(now);
    this.#peers.set(name, peer);
    return peer;
  }

  /**
   * A tunnel with `peer` opens. A peer that is new is pinged at once, before
   * the tunnel's bytes make round trips long.
   */
  add(peer: Peer<T>, tunnel: T, now: number): void {
    peer.tunnels.add(tunnel);
    if (peer.greeted) return;
    peer.greeted = true;
    this.#ping(peer, now, this.#options.role === "client");
  }

  /** The peer of this name, if any tunnels are shared with it. */
  find(name: PeerName): Peer<T> | undefined {
    const peer = this.#peers.get(nameOf(name));
    return peer !== undefined && peer.tunnels.size > 0 ? peer : undefined;
  }

  /** Forgets a peer. */
  forget(peer: Peer<T>): void {
    this.#peers.delete(nameOf(peer));
    this.#idleSince.delete(peer);
  }

  /** Forgets a peer without tunnels, after a while in which the next may come. */
  releaseIfIdle(peer: Peer<T>, now: number): void {
    if (peer.tunnels.size > 0) return;
    const [oldest] = this.#idleSince.keys();
    if (this.#idleSince.size >= MAX_IDLE_PEERS && oldest !== undefined) {
      this.forget(oldest);
    }
    this.#idleSince.set(peer, now);
  }

  /**
   * Pings what is due, forgets what is idle and, unless without `verdicts`,
   * ends what is lost.
   */
  sweep(now: number, { verdicts } = { verdicts: true }): void {
    for (const peer of [...this.#peers.values()]) {
      if (peer.resumed) this.#askAfterTunnels(peer, now);
      const idleSince = this.#idleSince.get(peer);
      if (idleSince !== undefined) {
        const old = now >= idleSince + IDLE_PEER_MS;
        if (old && this.#options.bus.connected) this.forget(peer);
        continue;
      }
      const reason = verdicts ? peer.state.verdict(now) : undefined;
      if (reason !== undefined) this.#options.onLost(peer, reason, "local");
      else this.#ping(peer, now, false);
    }
  }

  /** Our link is down. */
  linkDown(now: number): void {
    for (const peer of this.#peers.values()) peer.state.linkDown(now);
  }

  /** Our link is back: every peer is told, so that it asks after its tunnels. */
  linkUp(now: number): void {
    for (const peer of this.#peers.values()) {
      peer.state.linkUp(now);
      this.#ping(peer, now, true);
      // One without tunnels too: the RESET of the last may have been lost.
      if (this.#idleSince.has(peer)) this.#idleSince.set(peer, now);
    }
  }

  /** A frame about the pair of processes came from a peer with tunnels. */
  receive(peer: Peer<T>, frame: Frame, now: number): void {
    peer.state.heard(now);
    const { frames, onRoundTrip } = this.#options;
    frames.received.count(frame.type);
    switch (frame.type) {
      case "ping":
        this.#send(peer, {
          ...NO_POSITION,
          type: "pong",
          id: frame.id,
          hold: false,
        }, now);
        if (frame.resumed) this.#askAfterTunnels(peer, now);
        break;
      case "pong": {
        const before = peer.state.path.minRtt;
        const ms = peer.state.pong(frame.id, now);
        logChange(peer, before);
        if (ms !== undefined) onRoundTrip(ms);
        this.#ping(peer, now, false); // where one raises a doubt, the next is due
        break;
      }
      case "reset":
        this.#options.onLost(
          peer,
          { code: frame.code, text: frame.text },
          "peer",
        );
        break;
      default:
        // DATA, ACK and FIN mean nothing here; a later version may think otherwise.
    }
  }

  /** The peer's link was away; one that says so all the time is believed with the next sweep. */
  #askAfterTunnels(peer: Peer<T>, now: number): void {
    peer.resumed = now < peer.askedAt + ASK_PAUSE_MS;
    if (peer.resumed) return;
    peer.askedAt = now;
    for (const tunnel of peer.tunnels) tunnel.peerResumed(now);
  }

  /** Frames of tunnels come from `peer`, and a ping is due by that. */
  busy(peer: Peer<T>, now: number): void {
    this.#ping(peer, now, false);
  }

  /** Tells every peer that this process leaves. */
  sayGoodbye(reason: Reason, now: number): void {
    for (const peer of this.#peers.values()) {
      const { code, text } = reason;
      // After the last frames of the tunnels themselves.
      this.#send(peer, { type: "reset", code, text }, now, { lane: "data" });
    }
  }

  #ping(peer: Peer<T>, now: number, resumed: boolean): void {
    if (!canHear(peer)) return;
    const id = peer.state.pollPing(now);
    if (id === undefined) return;
    const { subjects, role } = this.#options;
    this.#send(peer, { ...NO_POSITION, type: "ping", id, resumed }, now, {
      lane: "control",
      // With a reply subject the broker itself answers when nobody listens.
      reply: subjects.data(role, peer.id),
    });
  }

  #send(
    peer: Peer<T>,
    frame: Frame,
    now: number,
    options: PublishOptions = { lane: "control" },
  ): void {
    this.#options.frames.sent.count(frame.type);
    if (peer.key !== undefined) {
      const [tunnel] = peer.tunnels;
      tunnel?.sendPairFrame(frame, now);
      return;
    }
    const { bus, subjects, role } = this.#options;
    const subject = subjects.data(otherRole(role), peer.id);
    bus.publish(subject, peer.codec.encode(peer.id, frame), options);
  }
}

/** Says that the way to `peer`, whose round trips took `before` ms, became another one. */
function logChange<T extends PeerTunnel>(peer: Peer<T>, before: number): void {
  const { minRtt } = peer.state.path;
  if (before === 0) return;
  const fields = {
    process: peer.token,
    ms: Math.round(minRtt),
    before: Math.round(before),
  };
  if (isLonger(minRtt, before)) {
    log.debug("the way to a peer is longer now", fields);
  } else if (isLonger(before, minRtt)) {
    log.debug("the way to a peer is shorter now", fields);
  }
}

/** What the table of peers is by. */
function nameOf({ token, key }: PeerName): string {
  return key === undefined ? token : `${token} ${key}`;
}

/** Whether anything can be said to `peer`: what is sealed goes by way of a tunnel. */
function canHear<T extends PeerTunnel>({ key, tunnels }: Peer<T>): boolean {
  return key === undefined || tunnels.size > 0;
}
