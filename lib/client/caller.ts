/**
 * A local connection that is to have a tunnel: what every way in hands on.
 *
 * @module
 */
import type { Endpoints } from "../base/address.ts";
import type { Decider, Reason } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import type { Span } from "../base/tracing.ts";
import type { Socket } from "../net/socket.ts";
import type { CountedWay } from "../session/counters.ts";

/** The spans of a local connection. */
export interface CallerTrace {
  /** From the connection to the end of its tunnel. */
  readonly whole: Span;
  /** Until its tunnel is open, or it gets none. */
  readonly open: Span;
}

/** A local connection, and where it is to go. */
export interface Caller extends Destination {
  /** The local connection. */
  readonly socket: Socket;
  /** Both ends of it, for the server; undefined where there are no addresses. */
  readonly endpoints?: Endpoints | undefined;
  /** What traces it; undefined where nothing is traced. */
  readonly trace?: CallerTrace | undefined;
  /** What the way in is called in the log, if it has a name. */
  readonly forward?: string | undefined;
  /** The way in itself, to find its tunnels by, and to count them by. */
  readonly way?: CountedWay | undefined;
  /**
   * Its tunnel is open: gives the connection as the tunnel is to have it, such
   * as without what was said on it before; default as it is.
   */
  readonly accept?: () => Socket;
  /** It gets no tunnel, and is to be told so and closed; default without a word. */
  readonly reject?: (reason: Reason, by: Decider) => void;
  /** Whether a person hears of that there, so that the log says it in its details only. */
  readonly told?: boolean;
}
