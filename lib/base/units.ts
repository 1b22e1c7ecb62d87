/**
 * Durations and sizes as people write them: `1m30s`, `8MiB`.
 *
 * @module
 */

import { quote } from "./text.ts";

/** Milliseconds in each unit a duration may have. */
const MILLISECONDS: ReadonlyMap<string, number> = new Map([
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
]);

/** Bytes in each unit a size may have, by its name in lower case. */
const BYTES: ReadonlyMap<string, number> = new Map([
  ["b", 1],
  ["kb", 1_000],
  ["mb", 1_000_000],
  ["gb", 1_000_000_000],
  // As Go, Docker and most programs read them: of 1024.
  ["k", 2 ** 10],
  ["m", 2 ** 20],
  ["g", 2 ** 30],
  // As Kubernetes writes them.
  ["ki", 2 ** 10],
  ["mi", 2 ** 20],
  ["gi", 2 ** 30],
  ["kib", 2 ** 10],
  ["mib", 2 ** 20],
  ["gib", 2 ** 30],
]);

/** The units {@linkcode formatSize} writes, largest first. */
const BINARY_UNITS = ["GiB", "MiB", "KiB"] as const;

/** The longest duration, in ms (24 days 20 hours): what a timer of the runtime can hold. */
export const MAX_DURATION = 2 ** 31 - 1;

/** How far from a whole number floating point may put a whole number of ms or bytes. */
const ROUNDING = 1e-6;

/**
 * The milliseconds in `text`: numbers with the units `d`, `h`, `m`, `s` and
 * `ms`, as Go writes them (`1m30s`, `1.5s`, `500ms`), or plain `0`.
 *
 * @throws {SyntaxError} when `text` is not a duration.
 * @throws {RangeError} when it is not a whole number of ms, or longer than
 * {@linkcode MAX_DURATION}.
 */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[dhms]))+$/.test(text)) {
    throw new SyntaxError(
      `${quote(text)} is not a duration: ` +
        (/^\d+(\.\d+)?$/.test(text) ? "it has no unit; " : "") +
        "write for example 500ms, 30s or 1m30s",
    );
  }
  let sum = 0;
  for (const [, number, unit = ""] of text.matchAll(/([\d.]+)(ms|[dhms])/g)) {
    sum += Number(number) * (MILLISECONDS.get(unit) ?? NaN);
  }
  const duration = Math.round(sum);
  if (Math.abs(sum - duration) > ROUNDING) {
    throw new RangeError(
      `${quote(text)} is not a duration: it has parts of a millisecond`,
    );
  }
  if (!(duration <= MAX_DURATION)) {
    throw new RangeError(
      `${quote(text)} is too long: the longest duration is ${
        formatDuration(MAX_DURATION)
      }`,
    );
  }
  return duration;
}

/**
 * `milliseconds`, rounded to whole ones, as {@linkcode parseDuration} reads
 * them: `1m30s`, `1.5s`, `500ms`, `0s`.
 */
export function formatDuration(milliseconds: number): string {
  const whole = Math.round(milliseconds);
  if (whole > 0 && whole < 1_000) return `${whole}ms`;
  const hours = Math.floor(whole / 3_600_000);
  const minutes = Math.floor(whole / 60_000) % 60;
  const seconds = (whole % 60_000) / 1_000;
  const text = (hours > 0 ? `${hours}h` : "") +
    (minutes > 0 ? `${minutes}m` : "") +
    (seconds > 0 ? `${seconds}s` : "");
  return text === "" ? "0s" : text;
}

/**
 * `milliseconds` as people say how long something took, in the two largest
 * units: `350ms`, `1.2s`, `4m12s`, `4h12m`, `3d4h`.
 */
export function formatRough(milliseconds: number): string {
  const ms = Math.max(0, Math.round(milliseconds));
  if (ms < 1_000) return `${ms}ms`;
  // What rounds to a minute is one.
  if (ms < 59_950) return `${Math.round(ms / 100) / 10}s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return twoUnits(seconds, ["m", "s"]);
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1_440) return twoUnits(minutes, ["h", "m"]);
  const hours = Math.round(ms / 3_600_000);
  return twoUnits(hours, ["d", "h"], 24);
}

/** `count` of the smaller of two units as both, of which `each` make one of the larger. */
function twoUnits(
  count: number,
  [large, small]: readonly [string, string],
  each = 60,
): string {
  const rest = count % each;
  return `${Math.floor(count / each)}${large}${
    rest > 0 ? `${rest}${small}` : ""
  }`;
}

/**
 * The bytes in `text`: a number, alone or with a unit, `K`, `M`, `G`,
 * `Ki`, `Mi`, `Gi`, `KiB`, `MiB`, `GiB` (of 1024), `KB`, `MB`, `GB` (of 1000) or `B`, in either case.
 *
 * @throws {SyntaxError} when `text` is not a size.
 * @throws {RangeError} when it is not a whole number of bytes, or too large
 * to count exactly.
 */
export function parseSize(text: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([a-z]*)$/i.exec(text) ?? [];
  const factor = BYTES.get(unit === "" ? "b" : unit.toLowerCase());
  if (number === undefined || factor === undefined) {
    throw new SyntaxError(
      `${quote(text)} is not a size: write for example 256KiB, 8MiB or 65536`,
    );
  }
  const product = Number(number) * factor;
  const size = Math.round(product);
  if (!Number.isSafeInteger(size)) {
    throw new RangeError(`${quote(text)} is too large to be a size`);
  }
  if (Math.abs(product - size) > ROUNDING) {
    throw new RangeError(
      `${quote(text)} is not a size: it has parts of a byte`,
    );
  }
  return size;
}

/**
 * `bytes` in the largest binary unit that leaves a whole number, as
 * {@linkcode parseSize} reads it: `8MiB`, `1000B`.
 */
export function formatSize(bytes: number): string {
  for (const unit of BINARY_UNITS) {
    const factor = BYTES.get(unit.toLowerCase()) ?? 1;
    if (bytes >= factor && bytes % factor === 0) {
      return `${bytes / factor}${unit}`;
    }
  }
  return `${bytes}B`;
}
