/**
 * The metrics of several workers as those of one process.
 *
 * @module
 */
import type { Combination, Metric, Sample } from "./metric.ts";

const COMBINE: Readonly<
  Record<Combination, (one: number, other: number) => number>
> = {
  sum: (one, other) => one + other,
  least: Math.min,
  most: Math.max,
};

/** Several workers' metrics as one, sample by sample. */
export function sumMetrics(all: readonly (readonly Metric[])[]): Metric[] {
  const groups = Map.groupBy(all.flat(), ({ name }) => name);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const combine = COMBINE[first.of ?? "sum"];
    const joined = new Map<string, Sample>();
    for (const sample of group.flatMap(({ samples }) => samples)) {
      const key = keyOf(sample);
      const known = joined.get(key);
      const value = known ? combine(known.value, sample.value) : sample.value;
      joined.set(key, { ...sample, value });
    }
    return [{ ...first, samples: [...joined.values()] }];
  });
}

/** What is left of a worker that has failed: a total that falls would count twice. */
export function lasting(metrics: readonly Metric[]): Metric[] {
  return metrics.filter(({ type }) =>
    type === "counter" || type === "histogram"
  );
}

function keyOf({ suffix, labels = {} }: Sample): string {
  const pairs = Object.entries(labels).toSorted(([a], [b]) => a < b ? -1 : 1);
  return JSON.stringify([suffix ?? "", pairs]);
}
