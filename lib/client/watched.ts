/**
 * Whether servers answer for one destination, as rounds of questions say: pure,
 * so that what came of a round goes in and what follows comes out.
 *
 * What has answered is not doubted for one failure: a server that is just being
 * replaced is no outage, and readiness must not flap.
 *
 * @module
 */

/** Rounds in a row after which nobody is there: of "no responders" and refusals, and of silence, which proves less. */
const FAILURES = { nobody: 2, silence: 3 } as const;

/** What one round came to. */
export type Round =
  | { readonly type: "answered" }
  /** Neither an answer nor the certainty that none can come. */
  | { readonly type: "unknown" }
  | {
    readonly type: keyof typeof FAILURES;
    /** Why no open would get through. */
    readonly text: string;
  };

/** Why it is not known that servers answer. */
const NO_ANSWER_YET = "no server has answered yet";

/** What is known of one destination. */
export class Watched {
  /** Whether anything has come of a round. */
  #known = false;
  #failures = 0;
  #problem: string | undefined = NO_ANSWER_YET;
  #lastFailure: string | undefined;

  /** Why no open would get through, as far as is known; undefined when one would. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Why the last round failed; undefined if it did not. */
  get lastFailure(): string | undefined {
    return this.#lastFailure;
  }

  /** Rounds in a row that failed. */
  get failures(): number {
    return this.#failures;
  }

  /** A round has ended. */
  note(round: Round): void {
    const first = !this.#known;
    this.#known = true;
    if (round.type === "answered" || round.type === "unknown") {
      this.#failures = 0;
      this.#problem = this.#lastFailure = undefined;
      return;
    }
    this.#lastFailure = round.text;
    this.#failures++;
    const certain = first || this.#problem !== undefined ||
      this.#failures >= FAILURES[round.type];
    if (certain) this.#problem = round.text;
  }
}
