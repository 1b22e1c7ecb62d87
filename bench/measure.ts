/**
 * Keeps what is measured, round by round, and says what follows from it:
 * medians and ratios. Pure, so that it can be tested without a machine to
 * measure.
 *
 * @module
 */

/**
 * The ways to reach a target, in the order of the tables: straight over TCP,
 * through `ssh -L`, through the tunnel of this checkout, the same with keys at
 * both ends, through that of another checkout (`--against`), with JSON frames,
 * through two relays over NATS that guarantee nothing (`bare.ts`), and through
 * other programs that forward, where the environment names them (`peers.ts`).
 */
export const WAY_NAMES = [
  "direct",
  "ssh",
  "tunnel",
  "sealed",
  "other",
  "json",
  "bare",
  "chisel",
  "peer",
] as const;

/** The name of a way. */
export type WayName = (typeof WAY_NAMES)[number];

/** What a figure has to reach for one way. */
export interface Reach {
  /** Whose figure it is. */
  readonly way: WayName;
  /** Whether the bounds hold for the ratio to another way or for the value itself. */
  readonly of: "ratio" | "value";
  /** Which other way; default `ssh`. */
  readonly to?: WayName;
  /** Not less than this. */
  readonly atLeast?: number;
  /** Not more than this. */
  readonly atMost?: number;
}

/** A thing measured. */
export interface Figure {
  /** What a person calls it; unique within its group. */
  readonly title: string;
  /** Its unit, e.g. `Gbit/s`. */
  readonly unit: string;
  /** What it has to reach, if that is settled. */
  readonly reach?: readonly Reach[];
}

/** The processes' shares of a value, by process name. */
export type Parts = Readonly<Record<string, number>>;

/** One value. */
export interface Sample {
  /** Which round it was measured in, from 0. */
  readonly round: number;
  /** The value, in the figure's unit. */
  readonly value: number;
  /** Whose shares it is the sum of, where it is one. */
  readonly parts?: Parts;
}

/** A figure with its values for each way. */
export interface Series {
  /** What was measured. */
  readonly figure: Figure;
  /** The values of each way that has any, in order of rounds. */
  readonly samples: Readonly<Partial<Record<WayName, readonly Sample[]>>>;
}

/** The middle value; between the two middle ones their mean; undefined for none. */
export function median(values: readonly number[]): number | undefined {
  return quantile(values, 0.5);
}

/**
 * The value below which the share `q` (0 to 1) of `values` lies, interpolated
 * between neighbours; undefined for no values.
 *
 * @throws {RangeError} when `q` is not between 0 and 1.
 */
export function quantile(
  values: readonly number[],
  q: number,
): number | undefined {
  if (!(q >= 0 && q <= 1)) throw new RangeError(`Quantile ${q} not in 0..1`);
  const sorted = [...values].sort((a, b) => a - b);
  const place = q * (sorted.length - 1);
  const below = sorted[Math.floor(place)];
  const above = sorted[Math.ceil(place)];
  if (below === undefined || above === undefined) return undefined;
  return below + (above - below) * (place - Math.floor(place));
}

/** The median over the rounds of a way; undefined when it has no value. */
export function medianOf(series: Series, way: WayName): number | undefined {
  return median((series.samples[way] ?? []).map(({ value }) => value));
}

/** The median share of each process in the values of a way. */
export function partsOf(series: Series, way: WayName): Parts {
  const shares = (series.samples[way] ?? []).flatMap(({ parts = {} }) =>
    Object.entries(parts)
  );
  const byName = Map.groupBy(shares, ([name]) => name);
  return Object.fromEntries(
    [...byName].map(([name, all]) => [
      name,
      median(all.map(([, value]) => value)) ?? 0,
    ]),
  );
}

/** A ratio and how far it spread over the rounds. */
export interface Ratio {
  /** The median. */
  readonly median: number;
  /** The smallest. */
  readonly low: number;
  /** The largest. */
  readonly high: number;
}

/**
 * The ratio of `way` to `base`: of each round in which both were measured,
 * then the median of those. Two values of one round were measured seconds
 * apart, so that a slow drift of the machine cancels out.
 *
 * @returns undefined when no round has both, or the base is 0.
 */
export function ratioOf(
  series: Series,
  way: WayName,
  base: WayName,
): Ratio | undefined {
  const bases = new Map(
    (series.samples[base] ?? []).map(({ round, value }) => [round, value]),
  );
  const ratios = (series.samples[way] ?? []).flatMap(({ round, value }) => {
    const other = bases.get(round);
    return other === undefined || other === 0 ? [] : [value / other];
  });
  const middle = median(ratios);
  if (middle === undefined) return undefined;
  return {
    median: middle,
    low: Math.min(...ratios),
    high: Math.max(...ratios),
  };
}

/** Whether a figure reaches what it has to; undefined when it was not measured. */
export function isReached(series: Series, reach: Reach): boolean | undefined {
  const value = reach.of === "ratio"
    ? ratioOf(series, reach.way, reach.to ?? "ssh")?.median
    : medianOf(series, reach.way);
  if (value === undefined) return undefined;
  return value >= (reach.atLeast ?? -Infinity) &&
    value <= (reach.atMost ?? Infinity);
}

/** The ways in the order of round `round`: each is first in its turn. */
export function turnOrder<T>(ways: readonly T[], round: number): T[] {
  const first = ways.length === 0 ? 0 : round % ways.length;
  return [...ways.slice(first), ...ways.slice(0, first)];
}

/** Collects the values of a group. */
export class Recorder {
  readonly #series = new Map<
    string,
    { readonly figure: Figure; readonly samples: Record<string, Sample[]> }
  >();

  /** Adds a value of `figure` for `way`. */
  add(figure: Figure, sample: Sample & { readonly way: WayName }): void {
    const { way, ...rest } = sample;
    const { samples } = this.#series.getOrInsert(figure.title, {
      figure,
      samples: {},
    });
    (samples[way] ??= []).push(rest);
  }

  /** All that was collected, in the order in which figures first came. */
  get series(): readonly Series[] {
    return [...this.#series.values()];
  }
}
