/**
 * Metrics in the text format of Prometheus (version 0.0.4).
 *
 * @module
 */

/** The labels of a sample. */
export type Labels = Readonly<Record<string, string>>;

/** One number of a counter or gauge. */
export interface Sample {
  /** What sets it apart from the metric's other samples. */
  readonly labels?: Labels;
  /** The number. */
  readonly value: number;
}

/** A metric with its samples. */
export interface Metric {
  /** Its name; that of a counter ends in `_total`. */
  readonly name: string;
  /** What it counts or measures, and its unit. */
  readonly help: string;
  /** Whether it only grows. */
  readonly type: "counter" | "gauge";
  /** What several workers make of it: the sum (default), or true only if it is of every one. */
  readonly of?: "all" | "every";
  /** Its numbers. */
  readonly samples: readonly Sample[];
}

/** The content type of what {@linkcode formatMetrics} gives. */
export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * `metrics` as a page for Prometheus.
 *
 * @throws {RangeError} when a metric or label has a name the format forbids.
 */
export function formatMetrics(metrics: readonly Metric[]): string {
  return metrics.flatMap(metricLines).map((line) => `${line}\n`).join("");
}

/** The lines of one metric. */
function metricLines({ name, help, type, samples }: Metric): string[] {
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) {
    throw new RangeError(`"${name}" is no name for a metric`);
  }
  return [
    `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(({ labels, value }) => sampleLine(name, value, labels)),
  ];
}

/** One line: name, labels and number. */
function sampleLine(name: string, value: number, labels: Labels = {}): string {
  const pairs = Object.entries(labels).map(([label, text]) => {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label)) {
      throw new RangeError(`"${label}" is no name for a label of ${name}`);
    }
    const escaped = text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
      .replaceAll("\n", "\\n");
    return `${label}="${escaped}"`;
  });
  const list = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  return `${name}${list} ${formatNumber(value)}`;
}

/** A number as the format has it: infinities are `+Inf` and `-Inf`. */
function formatNumber(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}
