/**
 * Metrics as a page for Prometheus: its text format (version 0.0.4), or
 * OpenMetrics (1.0.0) for who prefers that.
 *
 * @module
 */
import type { Metric, Sample } from "./metric.ts";

/** How a page is written. */
export type PageFormat = "prometheus" | "openmetrics";

/** What each format calls itself. */
export const PAGE_TYPES = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
} as const satisfies Record<PageFormat, string>;

/** The format that an asker wants, as its header `Accept` says (RFC 9110, 12.5.1). */
export function pageFormatFor(accept: string | undefined): PageFormat {
  const ranges = (accept ?? "").toLowerCase().split(",").map((range) => {
    const [type = "", ...parameters] = range.split(";")
      .map((part) => part.trim());
    const weight = parameters.find((it) => it.startsWith("q="))?.slice(2);
    return { type, weight: weight === undefined ? 1 : Number(weight) || 0 };
  });
  const weightOf = (...types: readonly string[]): number =>
    Math.max(
      0,
      ...ranges.filter(({ type }) => types.includes(type))
        .map(({ weight }) => weight),
    );
  const open = weightOf("application/openmetrics-text");
  return open > 0 && open >= weightOf("text/plain", "text/*")
    ? "openmetrics"
    : "prometheus";
}

/** `metrics` as a page. */
export function formatMetrics(
  metrics: readonly Metric[],
  format: PageFormat = "prometheus",
): string {
  const isOpen = format === "openmetrics";
  const lines = metrics.flatMap(({ name, help, type, samples }) => {
    const family = isOpen ? familyOf(name, type) : name;
    const shown = type === "info" && !isOpen ? "gauge" : type;
    return [
      `# HELP ${family} ${escape(help, isOpen)}\n`,
      `# TYPE ${family} ${shown}\n`,
      ...samples.map((sample) => line(name, sample, isOpen)),
    ];
  });
  return [...lines, ...(isOpen ? ["# EOF\n"] : [])].join("");
}

/** What OpenMetrics calls a metric: its name without what its type adds. */
function familyOf(name: string, type: Metric["type"]): string {
  if (type === "counter") return name.replace(/_total$/, "");
  return type === "info" ? name.replace(/_info$/, "") : name;
}

function line(
  name: string,
  { suffix, labels = {}, value }: Sample,
  isOpen: boolean,
): string {
  const pairs = Object.entries(labels).map(([label, text]) => {
    // There a bucket's end is to be written as a number with a point.
    const exact = isOpen && label === "le" && /^\d+$/.test(text)
      ? `${text}.0`
      : text;
    return `${label}="${escape(exact, true)}"`;
  });
  const list = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  return `${name}${suffix ?? ""}${list} ${formatNumber(value)}\n`;
}

/** A number as both formats write it. */
export function formatNumber(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

function escape(text: string, quotes: boolean): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return quotes ? escaped.replaceAll('"', '\\"') : escaped;
}
