/**
 * Numbers as people read them.
 *
 * @module
 */

import type { Reach } from "./measure.ts";

/** Three significant digits, thousands apart by commas: `1.23`, `45.6`, `12,300`. */
export function formatNumber(value: number): string {
  // To three digits first: 999.6 is a thousand, and 0.9996 one.
  const rounded = Number(value.toPrecision(3));
  const digits = rounded === 0 ? 0 : Math.floor(Math.log10(Math.abs(rounded)));
  const decimals = Math.min(3, Math.max(0, 2 - digits));
  return rounded.toLocaleString("en-US", {
    minimumFractionDigits: rounded === 0 ? 0 : decimals,
    maximumFractionDigits: decimals,
  });
}

/** Two decimals and a sign of multiplication: `0.85×`. */
export function formatRatio(ratio: number): string {
  return `${ratio.toFixed(2)}×`;
}

/** What has to be reached, as in `≥ 0.85× ssh` or `≤ 20 KiB`. */
export function formatReach(reach: Reach, unit: string): string {
  const bound = (value: number) =>
    reach.of === "ratio" ? `${value}× ssh` : `${value} ${unit}`;
  const parts: string[] = [];
  if (reach.atLeast !== undefined) parts.push(`≥ ${bound(reach.atLeast)}`);
  if (reach.atMost !== undefined) parts.push(`≤ ${bound(reach.atMost)}`);
  return (reach.way === "tunnel" ? "" : `${reach.way} `) + parts.join(", ");
}
