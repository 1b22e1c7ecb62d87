/**
 * The port to who keeps a record of tunnels: told of each that opens, ends, or
 * is refused. It must not throw or wait.
 *
 * @module
 */
import type { Decider, Reason } from "../base/errors.ts";
import type { Outcome } from "../tunnel/types.ts";
import type { AuditFacts } from "../wire/audit.ts";
import type { Tunnel } from "./tunnel.ts";

/** An open that came to nothing, as far as it was read. */
export interface RefusedOpen extends
  Pick<
    AuditFacts,
    "target" | "client" | "key" | "clientId" | "vouched" | "source" | "forward"
  > {
  /** Why. */
  readonly reason: Reason;
  /** Who decided it. */
  readonly by: Decider;
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
