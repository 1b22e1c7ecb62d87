/**
 * The port to who keeps a record of tunnels: told of each that opens, ends, or
 * is refused. It must not throw or wait.
 *
 * @module
 */
import type { Decider, Reason } from "../base/errors.ts";
import type { Outcome } from "../tunnel/types.ts";
import type { Tunnel } from "./tunnel.ts";

/** An open that came to nothing. */
export interface RefusedOpen {
  /** Why. */
  readonly reason: Reason;
  /** Who decided it. */
  readonly by: Decider;
  /** What was asked for; undefined where it was not read. */
  readonly target?: string | undefined;
  /** Name of the client, where its key says who it is. */
  readonly client?: string | undefined;
  /** That public key. */
  readonly key?: string | undefined;
  /** The client's ID in subjects. */
  readonly clientId?: string | undefined;
  /** Whether the broker, or its key, vouches for the client. */
  readonly vouched?: boolean | undefined;
  /** Address of the application. */
  readonly source?: string | undefined;
  /** The way in, where it has a name. */
  readonly forward?: string | undefined;
}

/** Who keeps a record. */
export interface TunnelObserver {
  /** What was told and is not on the record, since the start. */
  readonly lost: number;
  /** `tunnel` is open. */
  opened(tunnel: Tunnel): void;
  /** `tunnel` has ended at `now`. */
  ended(tunnel: Tunnel, outcome: Outcome, now: number): void;
  /** An open came to nothing. */
  refused(open: RefusedOpen): void;
}
