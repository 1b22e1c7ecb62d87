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

/** One distribution of a histogram. */
export interface HistogramSample {
  /** What sets it apart from the metric's other samples. */
  readonly labels?: Labels;
  /**
   * How many observations were at most `le`, for each upper bound in rising
   * order. The bucket without a bound is added from `count`.
   */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
  /** The sum of all observations. */
  readonly sum: number;
  /** How many observations there were. */
  readonly count: number;
}

/** A metric with its samples. */
export type Metric =
  & {
    /** Its name; that of a counter ends in `_total`. */
    readonly name: string;
    /** What it counts or measures, and its unit. */
    readonly help: string;
  }
  & (
    | {
      readonly type: "counter" | "gauge";
      readonly samples: readonly Sample[];
    }
    | {
      readonly type: "histogram";
      readonly samples: readonly HistogramSample[];
    }
  );

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
function metricLines(metric: Metric): string[] {
  const { name, help, type } = metric;
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) {
    throw new RangeError(`"${name}" is no name for a metric`);
  }
  const samples = metric.type === "histogram"
    ? metric.samples.flatMap((sample) => histogramLines(name, sample))
    : metric.samples.map(({ labels, value }) =>
      sampleLine(name, value, labels)
    );
  return [
    `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
    `# TYPE ${name} ${type}`,
    ...samples,
  ];
}

/** The lines of one distribution. */
function histogramLines(name: string, sample: HistogramSample): string[] {
  const { labels, buckets, sum, count } = sample;
  return [
    ...[...buckets, { le: Infinity, count }].map((bucket) =>
      sampleLine(`${name}_bucket`, bucket.count, {
        ...labels,
        le: formatNumber(bucket.le),
      })
    ),
    sampleLine(`${name}_sum`, sum, labels),
    sampleLine(`${name}_count`, count, labels),
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
