/**
 * Turns what was measured into text: a table for the terminal, and
 * `docs/performance.md`. Pure.
 *
 * @module
 */

import {
  isReached,
  medianOf,
  partsOf,
  type Ratio,
  ratioOf,
  type Reach,
  type Series,
  WAY_NAMES,
  type WayName,
} from "./measure.ts";

/** Everything a run of the bench found; the JSON file is this and no more. */
export interface Results {
  /** When it began, ISO 8601. */
  readonly date: string;
  /** Version of the project. */
  readonly version: string;
  /** Rounds of the main figures. */
  readonly rounds: number;
  /** How long it took, in seconds. */
  readonly seconds: number;
  /** Where, and with what: names and values. */
  readonly machine: Readonly<Record<string, string>>;
  /** The groups measured, in order. */
  readonly groups: readonly GroupResults[];
  /** What was not measured. */
  readonly skipped: readonly Skip[];
}

/** What a group found. */
export interface GroupResults {
  /** Its heading. */
  readonly title: string;
  /** How it was measured. */
  readonly method: string;
  /** The values. */
  readonly series: readonly Series[];
}

/** Something that was not measured. */
export interface Skip {
  /** What: a figure, a way or a group. */
  readonly what: string;
  /** Why not. */
  readonly why: string;
  /** Whether that is a fault; a program that is not installed is none. */
  readonly failed: boolean;
}

/** The columns of ways, and what they are called. */
const HEADINGS: Readonly<Record<WayName, string>> = {
  direct: "direct",
  ssh: "ssh -L",
  tunnel: "tunnel",
  sealed: "tunnel, sealed",
  json: "tunnel, JSON",
  bare: "bare relays",
  chisel: "chisel",
  peer: "peer",
  other: "other",
};

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

/** What has to be reached, as in `≥ 0.85× ssh` or `≤ 20 KiB`. */
export function formatReach(reach: Reach, unit: string): string {
  const bound = (value: number) =>
    reach.of === "ratio"
      ? `${value}× ${reach.to ?? "ssh"}`
      : `${value} ${unit}`;
  const parts: string[] = [];
  if (reach.atLeast !== undefined) parts.push(`≥ ${bound(reach.atLeast)}`);
  if (reach.atMost !== undefined) parts.push(`≤ ${bound(reach.atMost)}`);
  return (reach.way === "tunnel" ? "" : `${reach.way} `) + parts.join(", ");
}

/**
 * Headings and rows: a figure with its medians, the ratio of the tunnel to
 * `ssh -L` (to the other checkout, where one was measured), that of the sealed
 * tunnel to the tunnel, and what has to be reached. Ways without any value have
 * no column.
 */
function tableOf(series: readonly Series[]): string[][] {
  const ways = WAY_NAMES.filter((way) =>
    series.some(({ samples }) => samples[way] !== undefined)
  );
  const pairs = ([
    ["tunnel", ways.includes("other") ? "other" : "ssh"],
    ["sealed", "tunnel"],
  ] as const).filter((pair) => pair.every((way) => ways.includes(way)));
  return [
    [
      "figure",
      "unit",
      ...ways.map((way) => HEADINGS[way]),
      ...pairs.flatMap((pair) => [pair.join(" : "), "spread"]),
      "to reach",
    ],
    ...series.map((one) => {
      return [
        one.figure.title,
        one.figure.unit,
        ...ways.map((way) => {
          const value = medianOf(one, way);
          return value === undefined ? "–" : formatNumber(value);
        }),
        ...pairs.flatMap(([way, base]) => ratioCells(ratioOf(one, way, base))),
        verdicts(one).join("; "),
      ];
    }),
  ];
}

/** A ratio, and its spread if it has any. */
function ratioCells(ratio: Ratio | undefined): readonly [string, string] {
  if (ratio === undefined) return ["–", ""];
  const { median, low, high } = ratio;
  return [
    `${median.toFixed(2)}×`,
    low === high ? "" : `${low.toFixed(2)}–${high.toFixed(2)}`,
  ];
}

/** Each thing to reach and whether it is: `≥ 0.85× ssh: yes`. */
function verdicts(series: Series): string[] {
  return (series.figure.reach ?? []).flatMap((reach) => {
    const reached = isReached(series, reach);
    if (reached === undefined) return [];
    const own = reach.of === "ratio" && reach.way !== "tunnel"
      ? ratioOf(series, reach.way, reach.to ?? "ssh")
      : undefined;
    return `${formatReach(reach, series.figure.unit)}: ${
      own ? `${own.median.toFixed(2)}, ` : ""
    }${reached ? "yes" : "NO"}`;
  });
}

/** The processes' shares, a line for each way that has any. */
function sharesOf(series: Series): string[] {
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
  const [head = [], ...rows] = tableOf(series);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0))
  );
  const line = (row: readonly string[]) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      const isText = column < 2 || column === head.length - 1;
      return isText ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd();
  return [
    line(head),
    ...series.flatMap((one, index) => [
      line(rows[index] ?? []),
      ...sharesOf(one).map((share) => `    ${share}`),
    ]),
  ].join("\n");
}

const METHOD =
  `- Every figure is measured for each way in the same run: **direct** is plain TCP to the target; **ssh -L** is OpenSSH with its default cipher to an sshd of the run's own; **tunnel** is \`client.ts\`, nats-server and \`server.ts\`; **tunnel, sealed** the same with keys at both ends (\`--secret-key\`), made for the run; **tunnel, JSON** with \`--codec json\`; **bare relays** is the control: two relays over nats-server that guarantee nothing (\`bench/bare.ts\`), so what the same way costs at least; **chisel** is chisel over its WebSocket on the same machine, and **peer** what \`BENCH_PEER_COMMAND\` starts, where the environment names them. All processes of all ways run on the one machine and share its cores with the load.
- The ways are measured in turn, each first in its turn, over several rounds. A value is the median over the rounds.
- **tunnel : ssh** (and **sealed : tunnel**) is the median of the ratios of each round, not the ratio of the medians: what slows the machine for a while slows both. **spread** is the smallest and the largest of them.
- Load generators and targets are processes of their own and the same for every way. iperf3 and redis-benchmark are used as they come; the rest is \`bench/load.ts\`.
- CPU time and memory are what the kernel says of each process and its children.`;

/**
 * The text of `docs/performance.md`.
 *
 * @param notes what people wrote about the figures: Markdown, put in as it is.
 */
export function markdownReport(results: Results, notes: string = ""): string {
  const { date, version, rounds, seconds, machine, groups, skipped } = results;
  const toReach = groups.flatMap(({ title, series }) =>
    series.filter(({ figure }) => figure.reach).map((one) => ({
      ...one,
      figure: { ...one.figure, title: `${title}: ${one.figure.title}` },
    }))
  );
  const sections = [
    "# Performance",
    `Version ${version}, measured on ${date.slice(0, 10)} in ${
      Math.ceil(seconds / 60)
    } minutes, up to ${rounds} rounds each. Written by \`deno task bench --report\`; changes by hand are lost.`,
    "## What has to be reached",
    markdownTable(tableOf(toReach)),
    notes.trim(),
    "## Where and with what",
    markdownTable([["what", "which"], ...Object.entries(machine)]),
    "## How it is measured",
    METHOD,
    ...groups.filter(({ series }) => series.length > 0)
      .flatMap(({ title, method, series }) => [
        `## ${title}`,
        markdownTable(tableOf(series).map((row) => row.slice(0, -1))),
        shareList(series),
        `How it is measured: ${method}.`,
      ]),
    "## Not measured",
    skipped.map(({ what, why }) => `- ${what}: ${why}`).join("\n") ||
    "Everything was.",
  ];
  return `${sections.filter((text) => text !== "").join("\n\n")}\n`;
}

/** What each process has of the figures; empty when none has shares. */
function shareList(series: readonly Series[]): string {
  const lines = series.flatMap((one) => {
    const shares = sharesOf(one).join("; ");
    return shares === ""
      ? []
      : `- ${one.figure.title} (${one.figure.unit}): ${shares}`;
  });
  return lines.length === 0 ? "" : `By process:\n\n${lines.join("\n")}`;
}

function markdownTable(
  [head = [], ...rows]: readonly (readonly string[])[],
): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [head, head.map(() => "---"), ...rows].map(line).join("\n");
}
