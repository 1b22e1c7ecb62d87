/**
 * The log lines of a tunnel: that it is open, that it still is, how it ended,
 * and that a side of it takes nothing. What matters first stands first, and the
 * ID, which finds the same tunnel in the log of the other end, last.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { blame, type ErrorCode } from "../base/errors.ts";
import type { Tunnel } from "./tunnel.ts";
import { named } from "./tunnel_info.ts";
import type { Stall } from "../tunnel/stall.ts";
import type { Outcome } from "../tunnel/types.ts";
import { localEnd, otherRole, type Role } from "../wire/subjects.ts";

const log = getLogger(["sproxy", "tunnel"]);

/**
 * Cuts that somebody has asked for, and that are no cause for a warning: the
 * operator's own timeouts, and the end of a process that was told to end, which
 * says itself, on one line, how many tunnels it cuts. All other cuts are one.
 */
const ORDINARY: ReadonlySet<ErrorCode> = new Set(
  ["idle", "half-closed", "draining", "shutdown"] as const,
);

/** Logs that `tunnel` is open. */
export function logOpen({ info }: Tunnel): void {
  log.info("tunnel open", { target: info.target, ...named(info) });
}

/** What has gone through a tunnel since it was told of last. */
export interface Moved {
  /** Bytes from the local socket. */
  readonly sent: number;
  /** Bytes from the other end. */
  readonly received: number;
}

/** Logs that `tunnel` is still open at `now`, and what has `moved` since the last such line. */
export function logStillOpen(tunnel: Tunnel, moved: Moved, now: number): void {
  const { info } = tunnel;
  const { ms, sent, received, held, condition } = tunnel.view(now);
  log.info("tunnel still open", {
    target: info.target,
    condition,
    ms,
    sent,
    received,
    sentSince: moved.sent,
    receivedSince: moved.received,
    held: held.send + held.receive,
    ...named(info),
  });
}

/** Logs that so many more tunnels are, and what has moved through all of them. */
export function logMoreOpen(
  tunnels: number,
  { moved, held }: { readonly moved: Moved; readonly held: number },
): void {
  log.info("more tunnels still open", {
    tunnels,
    sentSince: moved.sent,
    receivedSince: moved.received,
    held,
  });
}

/**
 * Logs how `tunnel` ended at `now`: the one line of each tunnel at each end.
 *
 * @param told Whether a person hears of it elsewhere, which is warning enough.
 */
export function logEnd(
  { info, stats }: Tunnel,
  outcome: Outcome,
  { now, told }: { readonly now: number; readonly told: boolean },
): void {
  const { reason, ...whose } = outcome.clean
    ? { reason: "ok" }
    : blame(outcome.by, outcome.reason);
  const isCut = !outcome.clean && !told &&
    !ORDINARY.has(outcome.reason.code);
  log[isCut ? "warn" : "info"]("tunnel closed", {
    target: info.target,
    reason,
    ms: Math.round(now - info.openedAt),
    sent: stats.bytesSent,
    received: stats.bytesReceived,
    ...whose,
    ...(stats.replays > 0 && { replays: stats.replays }),
    ...named(info),
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
    target: info.target,
    why: `${nameOf(stall, role)} takes nothing, or too little to be seen`,
    ms: Math.round(now - stall.since),
    ...((stall.side === "here" || waiting > 0) && { waiting }),
    ...(stall.side === "there" && { sent: stats.bytesSent }),
    ...(times > 1 && { times }),
    ...named(info),
  });
}

/** Logs that a side of `tunnel` takes bytes again, after `stall`. */
export function logGoesOn(
  { info }: Tunnel,
  stall: Stall,
  { role, now }: { readonly role: Role; readonly now: number },
): void {
  log.info("tunnel goes on again", {
    target: info.target,
    why: `${nameOf(stall, role)} takes bytes again`,
    ms: Math.round(now - stall.since),
    ...named(info),
  });
}

/** What to call the side of a stall that is seen from `role`. */
function nameOf({ side }: Stall, role: Role): string {
  return side === "here"
    ? localEnd(role)
    : `${localEnd(otherRole(role))} at the other end`;
}
