/**
 * `docs/performance.md` and its plots, out of the results of a run. Pure.
 *
 * @module
 */

import { formatNumber, formatRatio, formatReach } from "./format.ts";
import {
  type Figure,
  isReached,
  medianOf,
  ratioOf,
  type Reach,
  type Series,
  type Skip,
  WAY_NAMES,
} from "./measure.ts";
import { barChart, type Curve, curveChart } from "./plot.ts";
import { COLUMNS, HEADINGS, type Results, rowOf, sharesOf } from "./report.ts";

/** Where the plots are, seen from the report. */
const PLOTS = "performance";

/** What each curve is called above its plot. */
const CURVES: Readonly<Record<string, string>> = {
  "growth.throughput": "Throughput of all tunnels together",
  "growth.latency": "Round trip while the other tunnels are idle (p50)",
  "delay.throughput": "Throughput of one stream on a long path",
  "delay.latency": "Round trip on a long path (p50)",
};

/** A plot, as a file. */
export interface Plot {
  /** Its file name. */
  readonly name: string;
  /** The SVG. */
  readonly text: string;
  /** What it shows, for those who do not see it. */
  readonly title: string;
}

/** All plots that the results have values for. */
export function plotsOf(results: Results): Plot[] {
  const bars = results.series.flatMap((series) => {
    const ratio = ratioOf(series, "tunnel", "ssh")?.median;
    if (!ratio || series.figure.point) return []; // nothing against something has no ratio
    const { figure } = series;
    return {
      label: `${groupTitle(results, figure)}: ${figure.title}`,
      value: figure.better === "higher" ? ratio : 1 / ratio,
    };
  });
  const title = "How many times as good as ssh -L";
  const plots = bars.length === 0
    ? []
    : [{ name: "ratios.svg", title, text: barChart(title, bars) }];
  return [...plots, ...curvePlots(results.series)];
}

function curvePlots(all: readonly Series[]): Plot[] {
  return Object.entries(CURVES).flatMap(([curve, title]) => {
    const series = all.filter(({ figure }) => figure.point?.curve === curve);
    const [first] = series;
    if (!first) return [];
    const curves = WAY_NAMES.map((way): Curve => {
      const points = series.flatMap((one) => {
        const y = medianOf(one, way);
        const x = one.figure.point?.x;
        return x === undefined || y === undefined || y <= 0 ? [] : { x, y };
      });
      return { label: HEADINGS[way], points };
    });
    const text = curveChart(curves, {
      title,
      xLabel: first.figure.point?.axis ?? "",
      yLabel: first.figure.unit,
    });
    return { name: `${curve}.svg`, title, text };
  });
}

/**
 * The whole report.
 *
 * @param notes what people wrote about the figures: Markdown, put in as it is.
 */
export function markdownReport(results: Results, notes: string = ""): string {
  const plots = plotsOf(results);
  const plot = (name: string) =>
    plots.filter((plot) => plot.name.startsWith(name))
      .map(({ name, title }) => `![${title}](${PLOTS}/${name})`);
  const sections = [
    "# Performance",
    intro(results),
    "## What has to be reached",
    reachTable(results),
    ...plot("ratios"),
    ...(notes.trim() === "" ? [] : [notes.trim()]),
    "## Where and with what",
    machineTable(results),
    "## How it is measured",
    METHOD,
    ...results.groups.flatMap(({ name, title }) => {
      const series = results.series.filter(({ figure }) =>
        figure.group === name
      );
      if (series.length === 0) return [];
      const curves = name === "growth"
        ? [...plot("growth"), ...plot("delay")]
        : [];
      return [
        `## ${title}`,
        table(
          COLUMNS.slice(0, -1),
          series.map((one) => rowOf(one).slice(0, -1)),
        ),
        ...shares(series),
        ...curves,
        commands(series),
      ];
    }),
    "## Not measured",
    skippedList(results.skipped),
  ];
  return `${sections.join("\n\n")}\n`;
}

function intro({ date, version, rounds, seconds, quick }: Results): string {
  return [
    `Version ${version}, measured on ${date.slice(0, 10)} in ${
      Math.ceil(seconds / 60)
    } minutes, up to ${rounds} rounds each. Written by \`deno task bench --report\`; changes by hand are lost.`,
    ...(quick
      ? [
        "**This was a quick look (`--quick`): one short round, not to be quoted.**",
      ]
      : []),
  ].join("\n\n");
}

const METHOD =
  `- Every figure is measured for each way in the same run: **direct** is plain TCP to the target; **ssh -L** is OpenSSH with its default cipher to an sshd of the run's own; **tunnel** is \`client.ts\`, nats-server and \`server.ts\`; **tunnel, JSON** the same with \`--codec json\`; **bare relays** is the control: two relays over nats-server that guarantee nothing (\`bench/bare.ts\`), so what the same way costs at least. All processes of all ways run on the one machine and share its cores with the load.
- The ways are measured in turn, each first in its turn, over several rounds. A value is the median over the rounds.
- **tunnel : ssh** is the median of the ratios of each round, not the ratio of the medians: what slows the machine for a while slows both. **spread** is the smallest and the largest of them.
- Load generators and targets are processes of their own and the same for every way. iperf3 and redis-benchmark are used as they come; the rest is \`bench/load.ts\`.
- CPU time and memory are what the kernel says of each process and its children.`;

function reachTable(results: Results): string {
  const rows = results.series.flatMap((series) =>
    (series.figure.reach ?? []).flatMap((reach) =>
      reachRow(results, series, reach)
    )
  );
  return rows.length === 0 ? "Nothing of it was measured." : table(
    ["figure", "ssh -L", "measured", "ratio", "to reach", "reached"],
    rows,
  );
}

function reachRow(
  results: Results,
  series: Series,
  reach: Reach,
): string[][] {
  const reached = isReached(series, reach);
  if (reached === undefined) return [];
  const { figure } = series;
  const value = (way: "ssh" | Reach["way"]) => {
    const middle = medianOf(series, way);
    return middle === undefined
      ? "–"
      : `${formatNumber(middle)} ${figure.unit}`;
  };
  const ratio = ratioOf(series, reach.way, "ssh");
  return [[
    `${groupTitle(results, figure)}: ${figure.title}`,
    value("ssh"),
    value(reach.way),
    ratio ? formatRatio(ratio.median) : "–",
    formatReach(reach, figure.unit),
    reached ? "yes" : "**no**",
  ]];
}

function groupTitle(results: Results, figure: Figure): string {
  return results.groups.find(({ name }) => name === figure.group)?.title ??
    figure.group;
}

function machineTable({ machine }: Results): string {
  return table(["what", "which"], [
    ["processor", `${machine.cpu}, ${machine.cores} cores`],
    ["memory", `${formatNumber(machine.memory / 2 ** 30)} GiB`],
    ["system", machine.system],
    ["load before the run", machine.load.toFixed(2)],
    ...Object.entries(machine.versions),
  ]);
}

function shares(series: readonly Series[]): string[] {
  const lines = series.flatMap((one) => {
    const parts = sharesOf(one);
    return parts.length === 0
      ? []
      : `- ${one.figure.title} (${one.figure.unit}): ${parts.join("; ")}`;
  });
  return lines.length === 0 ? [] : ["By process:", lines.join("\n")];
}

function commands(series: readonly Series[]): string {
  const titles = new Map<string, string[]>();
  for (const { figure } of series) {
    titles.set(figure.command, [
      ...titles.get(figure.command) ?? [],
      figure.title,
    ]);
  }
  const lines = [...titles].map(([command, names]) =>
    `- ${command}: ${names.join("; ")}`
  );
  return `How each is measured:\n\n${lines.join("\n")}`;
}

function skippedList(skipped: readonly Skip[]): string {
  return skipped.length === 0
    ? "Everything was."
    : skipped.map(({ what, why }) => `- ${what}: ${why}`).join("\n");
}

function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(headings),
    line(headings.map(() => "---")),
    ...rows.map(line),
  ].join("\n");
}
