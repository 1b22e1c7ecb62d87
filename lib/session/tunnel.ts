/**
 * A tunnel as its process keeps it: machine, relay and wire in one, native or
 * version 1 alike.
 *
 * @module
 */
import type { BusMessage } from "../nats/bus.ts";
import type { Reason } from "../base/errors.ts";
import type { Codec } from "../wire/codec.ts";
import type { PeerState } from "../tunnel/liveness.ts";
import type { Outcome, TunnelStats } from "../tunnel/types.ts";

/** What logs and tables say of a tunnel. */
export interface TunnelInfo {
  /** Connection ID. */
  readonly id: string;
  /** Address of the local application or target socket. */
  readonly remote: string;
  /** Target as it was asked for, `host:port`. */
  readonly target: string;
  /** Time of opening. */
  readonly openedAt: number;
}

/** One process at the other end. */
export interface Peer {
  /** Its token. */
  readonly token: string;
  /** Whether it lives, and how far it is. */
  readonly state: PeerState;
  /** The tunnels shared with it. */
  readonly tunnels: Set<Tunnel>;
  /** How frames for it are written. */
  readonly codec: Codec;
  /** Connection ID of the pair of processes. */
  readonly id: string;
}

/** One open tunnel. */
export interface Tunnel {
  /** What logs and tables say of it. */
  readonly info: TunnelInfo;
  /** Number at the end of its inbound subject; what tables are keyed by. */
  readonly number: number;
  /** The subject its messages arrive on. */
  readonly inbound: string;
  /** The process at the other end; undefined for version 1, which has none that can be asked. */
  readonly peer: Peer | undefined;
  /** How the tunnel ended; undefined while it has not. */
  readonly outcome: Outcome | undefined;
  /** Counters. */
  readonly stats: TunnelStats;
  /** Cumulative acknowledgement, for questions after the end. */
  readonly ack: number;
  /** Bytes held for sending and for writing. */
  readonly held: { readonly send: number; readonly receive: number };
  /** When `tick` is to be called at the latest. */
  readonly nextTimeout: number;
  /** A message arrived on its subject; returns false when it was malformed. */
  receive(message: BusMessage, now: number): boolean;
  /** Carries out what follows from the events so far. */
  drive(now: number): void;
  /** Time has passed. */
  tick(now: number): void;
  /** Cuts the tunnel at once; the peer is told. */
  abort(reason: Reason): void;
  /** The link to NATS is down. */
  linkDown(now: number): void;
  /** The link to NATS is back. */
  linkUp(now: number): void;
  /** The peer is gone: what has come from it is still handed over. */
  peerLost(reason: Reason, now: number): void;
  /** The peer's link was away. */
  peerResumed(now: number): void;
  /** The broker takes messages of at most so many bytes now. */
  setMaxPayload(bytes: number, now: number): void;
}
