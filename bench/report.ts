/**
 * What was measured, as a table for the terminal and as JSON. Pure: it
 * turns values into text.
 *
 * @module
 */

import { formatNumber, formatRatio, formatReach } from "./format.ts";
import type { Machine } from "./machine.ts";
import {
  isReached,
  medianOf,
  partsOf,
  ratioOf,
  type Series,
  type Skip,
  WAY_NAMES,
  type WayName,
} from "./measure.ts";

/** Everything a run of the bench found; the JSON file is this and no more. */
export interface Results {
  /** When it began, ISO 8601. */
  readonly date: string;
  /** Version of the project. */
  readonly version: string;
  /** Whether it was a quick look, not to be quoted. */
  readonly quick: boolean;
  /** Rounds of the main figures. */
  readonly rounds: number;
  /** How long it took, in seconds. */
  readonly seconds: number;
  /** Where, and with what. */
  readonly machine: Machine;
  /** The groups measured, in order. */
  readonly groups: readonly GroupTitle[];
  /** The values. */
  readonly series: readonly Series[];
  /** What was not measured. */
  readonly skipped: readonly Skip[];
}

/** A group as a heading. */
export interface GroupTitle {
  /** What `--only` calls it. */
  readonly name: string;
  /** Its heading. */
  readonly title: string;
}

/** The columns of ways, and what they are called. */
export const HEADINGS: Readonly<Record<WayName, string>> = {
  direct: "direct",
  ssh: "ssh -L",
  tunnel: "tunnel",
  other: "--against",
  json: "tunnel, JSON",
  bare: "bare relays",
};

/**
 * Figures as rows of cells for the terminal or for Markdown, their headings
 * first. The ratio is that to `ssh -L`, or to another checkout where one was
 * measured beside this.
 */
export function tableOf(all: readonly Series[]): string[][] {
  const paired = all.some(({ samples }) => samples.other !== undefined);
  const ways = WAY_NAMES.filter((way) => way !== "other" || paired);
  const base = paired ? "other" : "ssh";
  const headings = [
    "figure",
    "unit",
    ...ways.map((way) => HEADINGS[way]),
    `tunnel : ${base}`,
    "spread",
    "to reach",
  ];
  return [
    headings,
    ...all.map((series) => {
      const ratio = ratioOf(series, "tunnel", base);
      return [
        series.figure.title,
        series.figure.unit,
        ...ways.map((way) => {
          const value = medianOf(series, way);
          return value === undefined ? "–" : formatNumber(value);
        }),
        ratio ? formatRatio(ratio.median) : "–",
        ratio && ratio.low !== ratio.high
          ? `${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)}`
          : "",
        verdicts(series).join("; "),
      ];
    }),
  ];
}

/** Each thing to reach and whether it is: `≥ 0.85× ssh: yes`. */
function verdicts(series: Series): string[] {
  return (series.figure.reach ?? []).flatMap((reach) => {
    const reached = isReached(series, reach);
    if (reached === undefined) return [];
    const own = reach.of === "ratio" && reach.way !== "tunnel"
      ? ratioOf(series, reach.way, "ssh")
      : undefined;
    return `${formatReach(reach, series.figure.unit)}: ${
      own ? `${own.median.toFixed(2)}, ` : ""
    }${reached ? "yes" : "NO"}`;
  });
}

/** The processes' shares, a line for each way that has any. */
export function sharesOf(series: Series): string[] {
  return WAY_NAMES.flatMap((way) => {
    const parts = Object.entries(partsOf(series, way));
    if (parts.length === 0) return [];
    const shares = parts.map(([name, value]) =>
      `${name} ${formatNumber(value)}`
    );
    return `${HEADINGS[way]}: ${shares.join(", ")}`;
  });
}

/** A table for the terminal, with the processes' shares below their rows. */
export function terminalTable(series: readonly Series[]): string {
  const [headings = [], ...rows] = tableOf(series);
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0))
  );
  const line = (row: readonly string[]) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      const isText = column < 2 || column === headings.length - 1;
      return isText ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd();
  return [
    line(headings),
    ...series.flatMap((one, at) => [
      line(rows[at] ?? []),
      ...sharesOf(one).map((share) => `    ${share}`),
    ]),
  ].join("\n");
}

/** The results as JSON, two spaces deep, with a line end. */
export function jsonReport(results: Results): string {
  return `${JSON.stringify(results, undefined, 2)}\n`;
}
