/**
 * Measures ratios again and again until each has reached its floor, or has had
 * its rounds. Pure, so that it can be tested without a machine to measure.
 *
 * @module
 */

/** A ratio that must not fall below its floor. */
export interface Floor {
  /** What a person calls it. */
  readonly name: string;
  /** The least it may be. */
  readonly atLeast: number;
  /** Measures it once. */
  readonly measure: () => Promise<number>;
}

/** What the rounds of a ratio brought. */
export interface Outcome {
  /** What a person calls it. */
  readonly name: string;
  /** The least it may be. */
  readonly atLeast: number;
  /** Each round's value, in order; the last one reached the floor, or none did. */
  readonly values: readonly number[];
  /** Whether it reached its floor. */
  readonly reached: boolean;
}

/**
 * Measures each ratio once in each round, until it reaches its floor. What
 * slows the machine in one round may be gone in the next; what slows the program
 * is there in all of them.
 *
 * @param rounds most rounds of each.
 */
export async function reachFloors(
  floors: readonly Floor[],
  rounds: number,
): Promise<Outcome[]> {
  const values = floors.map((): number[] => []);
  const outcomes = (): Outcome[] =>
    floors.map(({ name, atLeast }, index) => {
      const own = values[index] ?? [];
      const reached = (own.at(-1) ?? -Infinity) >= atLeast;
      return { name, atLeast, values: own, reached };
    });
  for (let round = 0; round < rounds; round++) {
    for (const [index, { reached }] of outcomes().entries()) {
      const value = reached ? undefined : await floors[index]?.measure();
      if (value !== undefined) values[index]?.push(value);
    }
  }
  return outcomes();
}

/** One line: `round trip: 0.97, at least 0.55`. */
export function describeOutcome(outcome: Outcome): string {
  const { name, atLeast, values, reached } = outcome;
  const each = values.map((value) => value.toFixed(2)).join(", ");
  return `${name}: ${each} of the bare relays, at least ${atLeast} wanted${
    reached ? "" : `: not reached in ${values.length} rounds`
  }`;
}
