/**
 * A tunnel as people and their tools see it: who talks to what, how much has
 * gone through, and whether it moves.
 *
 * @module
 */
import type { Stall } from "../tunnel/stall.ts";

/**
 * How a tunnel does: `half-closed` where one direction has ended, `silent`
 * while nothing is heard of the other process or NATS is away, `stalled` where
 * a side takes nothing.
 */
export type Condition = "open" | "half-closed" | "silent" | "stalled";

/** An open tunnel at one moment. */
export interface TunnelView {
  /** Connection ID. */
  readonly id: string;
  /** Target as it was asked for. */
  readonly target: string;
  /** Address of the local socket: the application's at a client, the target's at a server. */
  readonly peer: string;
  /** Address of the application, as the client told a server. */
  readonly source?: string;
  /** Name of the way in, where it has one. */
  readonly forward?: string;
  /** The service that it leads to, at a server. */
  readonly service?: string;
  /** Name of the client, where its key says who it is, else what it calls itself. */
  readonly client?: string;
  /** How long it has been open, in ms. */
  readonly ms: number;
  /** Bytes taken from the local socket. */
  readonly sent: number;
  /** Bytes that came from the other end. */
  readonly received: number;
  /** Bytes held for the other end and for the local socket. */
  readonly held: { readonly send: number; readonly receive: number };
  /** How it does. */
  readonly condition: Condition;
  /** The side that takes nothing, and since how many ms. */
  readonly stalled?: { readonly side: Stall["side"]; readonly ms: number };
}
