/**
 * Writes the tables in docs/metrics.md anew, those of metrics from
 * `lib/process/metric_table.ts`, that of alerts from the rules for Prometheus:
 * `deno run -A tools/update_metrics.ts`.
 *
 * @module
 */
import { load } from "js-yaml";
import type { MetricSpec } from "../lib/process/metric.ts";
import { METRIC_GROUPS } from "../lib/process/metric_table.ts";

const REFERENCE = new URL("../docs/metrics.md", import.meta.url);
const ALERTS = new URL("../deploy/prometheus/alerts.yml", import.meta.url);

/** A rule for Prometheus that tells people. */
export interface Alert {
  /** Its name. */
  readonly alert: string;
  /** When it is so, as a query. */
  readonly expr: string;
  /** For how long, until it is told; at once by default. */
  readonly for?: string;
  /** How bad it is. */
  readonly labels: { readonly severity: string };
  /** What is told. */
  readonly annotations: {
    readonly summary: string;
    readonly description: string;
  };
}

/** The alerts of the project. */
export async function readAlerts(): Promise<readonly Alert[]> {
  const { groups } = load(await Deno.readTextFile(ALERTS)) as {
    readonly groups: readonly { readonly rules: readonly Alert[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

/** The reference with the tables it should have. */
export function withTables(
  reference: string,
  alerts: readonly Alert[],
): string {
  const metrics = METRIC_GROUPS.map(([title, specs]) =>
    `### ${title}\n\n${tableOfMetrics(specs)}`
  ).join("\n");
  return [
    ["metrics", metrics] as const,
    ["alerts", tableOfAlerts(alerts)] as const,
  ].reduce(
    (text, [name, table]) =>
      text.replace(
        new RegExp(`(<!-- ${name} -->)[^]*?(<!-- /${name} -->)`),
        (_, start: string, end: string) => `${start}\n\n${table}\n${end}`,
      ),
    reference,
  );
}

function tableOfMetrics(specs: Readonly<Record<string, MetricSpec>>): string {
  const rows = Object.entries(specs).map(([name, spec]) => {
    const { type, labels = [], role = "both", help, absent } = spec;
    const meaning = absent === undefined ? help : `${help} (${absent})`;
    return [code(name), type, labels.map(code).join(", "), role, meaning];
  });
  return table(["Name", "Type", "Labels", "Role", "Meaning"], rows);
}

function tableOfAlerts(alerts: readonly Alert[]): string {
  const rows = alerts.map((alert) => [
    code(alert.alert),
    alert.labels.severity,
    alert.for ?? "",
    alert.annotations.description,
  ]);
  return table(["Alert", "Severity", "After", "What it means"], rows);
}

function table(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return [heads, heads.map(() => "---"), ...rows]
    .map((cells) =>
      `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`
    ).join("");
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) {
  const reference = await Deno.readTextFile(REFERENCE);
  await Deno.writeTextFile(
    REFERENCE,
    withTables(reference, await readAlerts()),
  );
}
