/**
 * Numbers and times as the page and `top` write them: short, and as wide as
 * they were a second ago. Pure.
 *
 * @module
 */
import { localEnd, otherRole, type Role } from "../wire/subjects.ts";
import type { EndingRow, Snapshot, TunnelRow } from "./snapshot.ts";

/** Stands where nothing is known. */
export const UNKNOWN = "–";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** A number of bytes: `0 B`, `12.3 MiB`. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let at = 0;
  // What would round to 1024 of a unit is 1 of the next.
  while (value >= 1023.5 && at < UNITS.length - 1) {
    value /= 1024;
    at++;
  }
  const digits = at === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[at]}`;
}

/** Bytes a second: `1.2 MiB/s`; a dash where it is not known. */
export function formatRate(bytes: number | undefined): string {
  return bytes === undefined ? UNKNOWN : `${formatBytes(bytes)}/s`;
}

/** How long, by its two largest units: `8s`, `12m 03s`, `4h 12m`, `3d 4h`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const two = (value: number): string => String(value).padStart(2, "0");
  if (hours >= 24) return `${Math.floor(hours / 24)}d ${hours % 24}h`;
  if (hours > 0) return `${hours}h ${two(minutes % 60)}m`;
  if (minutes > 0) return `${minutes}m ${two(seconds % 60)}s`;
  return `${seconds}s`;
}

/** A time short enough for fractions to matter: `0.42 ms`, `12 ms`, `1.2 s`. */
export function formatTrip(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(ms >= 1 ? 1 : 2)} ms`;
}

/** A number with its thousands apart: `12,034`. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Whose it is: the client, where that is known, and the application, or who is at the socket. */
export function whoseOf(
  { client, source, peer }: Pick<EndingRow, "client" | "source" | "peer">,
): string {
  const from = source ?? peer;
  if (client === undefined) return from ?? UNKNOWN;
  return from === undefined ? client : `${client} (${from})`;
}

/** How a tunnel of a process of this role does, with for how long who does not read. */
export function conditionOf(
  { condition, stalled }: TunnelRow,
  role: Role,
): string {
  if (stalled !== undefined) {
    const end = localEnd(stalled.side === "here" ? role : otherRole(role));
    const who = end.replace(/^the /, "");
    return `stalled ${formatAge(stalled.ms)}: ${who} does not read`;
  }
  return condition === "silent" ? "other end silent" : condition;
}

/** What went wrong last with a process that is not ready, where that tells more than why it is not. */
export function lastErrorOf(
  { at, ready, notReady, lastError }: Snapshot,
): string | undefined {
  return ready || lastError === undefined || lastError.text === notReady
    ? undefined
    : `last error, ${formatAge(at - lastError.at)} ago: ${lastError.text}`;
}
