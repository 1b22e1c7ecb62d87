/**
 * What goes into a tunnel's state machine and what can be read off it.
 *
 * @module
 */
import type { BufferPool } from "../base/buffer_pool.ts";
import type { Decider, Reason } from "../base/errors.ts";
import type { Budget } from "./memory_budget.ts";
import type { PathEstimate } from "./rtt.ts";

/** The state of one direction. */
export type HalfState = "open" | "ended" | "done";

/** How a tunnel ended. */
export type Outcome =
  | { readonly clean: true }
  | {
    readonly clean: false;
    /** Who cut it. */
    readonly by: Decider;
    readonly reason: Reason;
  };

/** Options of a tunnel. */
export interface TunnelOptions {
  /** Time of creation. */
  readonly now: number;
  /** Where slabs come from and go back to. */
  readonly pool: BufferPool;
  /** Memory of the process for bytes sent and not acknowledged. */
  readonly sendBudget: Budget;
  /** Memory of the process for bytes received and not written. */
  readonly receiveBudget: Budget;
  /** Round trip to the peer. */
  readonly path: PathEstimate;
  /** Credit the peer gave in the open, in bytes. */
  readonly peerWindow: number;
  /** Credit given to the peer in the open, in bytes. */
  readonly window: number;
  /** Most bytes under way in one direction, however long the path. */
  readonly maxWindow: number;
  /** Payload bytes of one DATA frame. */
  readonly frameBytes: number;
  /** Cut when even the smallest frame was lost each time for so many ms; never by default. */
  readonly lossTimeout?: number;
  /** Cut when no byte moved for so many ms; 0 = never. */
  readonly idleTimeout: number;
  /** Cut when one direction has ended and no byte moved for so many ms; 0 = never. */
  readonly halfCloseTimeout: number;
  /** Ask the peer for a sign of life of this tunnel if none comes by itself. */
  readonly awaitPeer: boolean;
  /** Time between two questions about a tunnel at rest, in ms; default `REST_PROBE_MS`. */
  readonly restProbe?: number;
}

/**
 * Why the application is not read: `credit`, the other end takes no more for
 * now; `window`, as much is on its way as the window or the memory allows;
 * `pace`, version 1 is sent no more a second, or does not listen yet; `nats`,
 * too much waits for the broker.
 */
export const PAUSES = ["credit", "window", "pace", "nats"] as const;

/** One of {@linkcode PAUSES}. */
export type Pause = (typeof PAUSES)[number];

/** The counters of a tunnel. */
export interface TunnelStats {
  /** Bytes taken from the application. */
  readonly bytesSent: number;
  /** Bytes that arrived in order from the peer. */
  readonly bytesReceived: number;
  /** Times that bytes were sent again from some offset. */
  readonly replays: number;
  /** Times that bytes were found missing. */
  readonly gaps: number;
}
