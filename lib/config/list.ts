/**
 * Values that are lists in one text, with commas between their parts.
 *
 * @module
 */

/** Several parts of one text are wrong. */
export class ListError extends SyntaxError {
  /** What stack traces call it. */
  override readonly name = "ListError";
  /** What is wrong, a sentence for each part. */
  readonly problems: readonly string[];

  /** An error with these problems; its message has them all. */
  constructor(problems: readonly string[]) {
    super(problems.join("; "));
    this.problems = problems;
  }
}

/**
 * The values of the parts of `text`, without the white space around them.
 *
 * @param parse Gives the value of a part; a SyntaxError says what is wrong with it.
 * @throws {ListError} with what is wrong with all parts, the same only once.
 */
export function parseList<T>(
  text: string,
  parse: (part: string, number: number) => T,
): T[] {
  const values: T[] = [];
  const problems = new Set<string>();
  for (const [index, part] of text.split(",").entries()) {
    try {
      values.push(parse(part.trim(), index + 1));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      problems.add(error.message);
    }
  }
  if (problems.size > 0) throw new ListError([...problems]);
  return values;
}
