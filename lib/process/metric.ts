/**
 * What a metric is: what all that makes, adds up and writes metrics shares.
 *
 * @module
 */
import type { Role } from "../wire/subjects.ts";

/** Kinds of metrics, as Prometheus and OpenMetrics name them. */
export type MetricType = "counter" | "gauge" | "histogram" | "info";

/** What several workers make of a metric: the sum, what is true of every one, or the largest. */
export type Combination = "sum" | "least" | "most";

/** What is said of a metric, whatever its numbers are. */
export interface MetricSpec {
  /** What kind it is. */
  readonly type: MetricType;
  /** What it counts or measures, on a line. */
  readonly help: string;
  /** The labels of its samples, beside `le` of a histogram. */
  readonly labels?: readonly string[];
  /** What workers make of it; the sum unless told otherwise. */
  readonly of?: Combination;
  /** The role that has it; both unless told otherwise. */
  readonly role?: Role;
  /** Where there is none of it, as a sentence for people. */
  readonly absent?: string;
}

/** One number of a metric. */
export interface Sample {
  /** What is put behind the name, in a histogram. */
  readonly suffix?: "_bucket" | "_sum" | "_count";
  /** What sets it apart from the metric's other samples. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The number. */
  readonly value: number;
}

/** A metric with its samples. */
export interface Metric extends Pick<MetricSpec, "type" | "help" | "of"> {
  /** Its name; that of a counter ends in `_total`. */
  readonly name: string;
  /** Its numbers. */
  readonly samples: readonly Sample[];
}
