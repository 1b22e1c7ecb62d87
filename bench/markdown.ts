/**
 * `docs/performance.md`, out of the results of a run. Pure.
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
} from "./measure.ts";
import { type Results, sharesOf, tableOf } from "./report.ts";

/**
 * The whole report.
 *
 * @param notes what people wrote about the figures: Markdown, put in as it is.
 */
export function markdownReport(results: Results, notes: string = ""): string {
  const sections = [
    "# Performance",
    intro(results),
    "## What has to be reached",
    reachTable(results),
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
      return [
        `## ${title}`,
        table(tableOf(series).map((row) => row.slice(0, -1))),
        ...shares(series),
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
  const headings = ["figure", "ssh -L", "measured", "ratio", "to reach"];
  return rows.length === 0
    ? "Nothing of it was measured."
    : table([[...headings, "reached"], ...rows]);
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
  return table([
    ["what", "which"],
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

/** `rows`, of which the first are the headings. */
function table(
  [headings = [], ...rows]: readonly (readonly string[])[],
): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(headings),
    line(headings.map(() => "---")),
    ...rows.map(line),
  ].join("\n");
}
