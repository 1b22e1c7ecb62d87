/**
 * The log lines of a tunnel: that it is open, and how it ended.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { blame } from "../base/errors.ts";
import type { Tunnel, TunnelInfo } from "./tunnel.ts";
import type { Stall } from "../tunnel/stall.ts";
import type { Outcome } from "../tunnel/types.ts";
import { localEnd, otherRole, type Role } from "../wire/subjects.ts";

const log = getLogger(["sproxy", "tunnel"]);

/** Logs that `tunnel` is open. */
export function logOpen({ info }: Tunnel): void {
  log.debug("tunnel open", named(info));
}

/** Logs how `tunnel` ended at `now`: the one line of each tunnel at each end. */
export function logEnd(
  { info, stats }: Tunnel,
  outcome: Outcome,
  now: number,
): void {
  log.info("tunnel closed", {
    ...named(info),
    sent: stats.bytesSent,
    received: stats.bytesReceived,
    ms: Math.round(now - info.openedAt),
    ...(stats.replays > 0 ? { replays: stats.replays } : {}),
    ...(outcome.clean ? { reason: "ok" } : blame(outcome.by, outcome.reason)),
  });
}

/**
 * Logs that a side of `tunnel`, seen from `role`, takes nothing.
 *
 * @param times How often it came to that since the last such line.
 */
export function logStall(
  { info, stats }: Tunnel,
  stall: Stall,
  { role, now, times }: {
    readonly role: Role;
    readonly now: number;
    readonly times: number;
  },
): void {
  const { waiting } = stall;
  log.warn("tunnel stalled", {
    ...named(info),
    why: `${nameOf(stall, role)} takes nothing, or too little to be seen`,
    ...(stall.side === "here" || waiting > 0 ? { waiting } : {}),
    ...(stall.side === "there" ? { sent: stats.bytesSent } : {}),
    ms: Math.round(now - stall.since),
    ...(times > 1 ? { times } : {}),
  });
}

/** Logs that a side of `tunnel` takes bytes again, after `stall`. */
export function logGoesOn(
  { info }: Tunnel,
  stall: Stall,
  { role, now }: { readonly role: Role; readonly now: number },
): void {
  log.info("tunnel goes on again", {
    ...named(info),
    why: `${nameOf(stall, role)} takes bytes again`,
    ms: Math.round(now - stall.since),
  });
}

/** Which tunnel it is. */
function named(
  { id, remote, target, forward, client }: TunnelInfo,
): Readonly<Record<string, string>> {
  return {
    id,
    peer: remote,
    target,
    ...(forward === undefined ? {} : { forward }),
    ...(client === undefined ? {} : { client }),
  };
}

/** What to call the side of a stall that is seen from `role`. */
function nameOf({ side }: Stall, role: Role): string {
  return side === "here"
    ? localEnd(role)
    : `${localEnd(otherRole(role))} at the other end`;
}
