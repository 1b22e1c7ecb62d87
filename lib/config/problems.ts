/**
 * What is wrong with a configuration, gathered, so that a person is told all
 * of it at once and not one thing at each start.
 *
 * @module
 */

import { UsageError } from "../base/errors.ts";

/** Something about the configuration that a person should know, and no problem. */
export interface Notice {
  /** The level to log it at. */
  readonly level: "info" | "warn";
  /** One sentence without a period. */
  readonly text: string;
}

/** Most problems that are told: more are one mistake, such as a file of another program. */
const MAX_TOLD = 20;

/** Gathers problems until somebody asks whether there are any. */
export class Problems {
  readonly #told: string[] = [];
  #count = 0;

  /** Takes note of one, in a sentence that names what is wrong. */
  add(...problems: readonly string[]): void {
    this.#count += problems.length;
    this.#told.push(...problems.slice(0, MAX_TOLD - this.#told.length));
  }

  /** What `work` gives; undefined when it throws a UsageError, which is taken note of. */
  attempt<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      this.add(...error.problems);
      return undefined;
    }
  }

  /**
   * Goes on only without a problem.
   *
   * @throws {UsageError} with all of them.
   */
  throwIfAny(): void {
    if (this.#count === 0) return;
    const more = this.#count - this.#told.length;
    throw new UsageError([
      ...this.#told,
      ...(more > 0 ? [`There are ${more} more problems like these`] : []),
    ]);
  }
}
