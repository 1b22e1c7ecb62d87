/**
 * A tunnel as its process keeps it: machine, relay and wire in one, native or
 * version 1 alike.
 *
 * @module
 */
import type { BusMessage } from "./bus.ts";
import type { Reason } from "./errors.ts";
import type { Peer } from "./peers.ts";
import type { Outcome, TunnelStats } from "./tunnel_types.ts";

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

/** One open tunnel. */
export interface Tunnel {
  readonly info: TunnelInfo;
  /** Number at the end of its inbound subject; what tables are keyed by. */
  readonly number: number;
  /** The subject its messages arrive on, as bytes. */
  readonly inbound: Uint8Array;
  /** The process at the other end; undefined for version 1, which has none that can be asked. */
  readonly peer: Peer | undefined;
  readonly outcome: Outcome | undefined;
  readonly stats: TunnelStats;
  /** Cumulative acknowledgement, for questions after the end. */
  readonly ack: number;
  readonly held: { readonly send: number; readonly receive: number };
  readonly nextTimeout: number;
  /** A message arrived on its subject; returns false when it was malformed. */
  receive(message: BusMessage, now: number): boolean;
  /** Carries out what follows from the events so far. */
  drive(now: number): void;
  tick(now: number): void;
  abort(reason: Reason, options?: { readonly tell?: boolean }): void;
  linkDown(now: number): void;
  linkUp(now: number): void;
  /** The peer's link was away. */
  peerResumed(now: number): void;
  /** The broker takes messages of at most so many bytes now. */
  setMaxPayload(bytes: number): void;
}
