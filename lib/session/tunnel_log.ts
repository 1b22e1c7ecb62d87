/**
 * The log lines of a tunnel: that it is open, and how it ended.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { blame } from "../base/errors.ts";
import type { Tunnel } from "./tunnel.ts";
import type { Outcome } from "../tunnel/types.ts";

const log = getLogger(["sproxy", "tunnel"]);

/** Logs that `tunnel` is open. */
export function logOpen({ info: { id, remote, target } }: Tunnel): void {
  log.debug("tunnel open", { id, peer: remote, target });
}

/** Logs how `tunnel` ended at `now`: the one line of each tunnel at each end. */
export function logEnd(
  { info, stats }: Tunnel,
  outcome: Outcome,
  now: number,
): void {
  log.info("tunnel closed", {
    id: info.id,
    peer: info.remote,
    target: info.target,
    sent: stats.bytesSent,
    received: stats.bytesReceived,
    ms: Math.round(now - info.openedAt),
    ...(stats.replays > 0 ? { replays: stats.replays } : {}),
    ...(outcome.clean ? { reason: "ok" } : blame(outcome.by, outcome.reason)),
  });
}
