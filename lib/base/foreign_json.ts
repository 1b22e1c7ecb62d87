/**
 * JSON that others have written, of which nothing is certain. Pure.
 *
 * @module
 */

/** The JSON in `text`; undefined where it has none. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Whoever wrote it has not written an answer.
    return undefined;
  }
}

/** `value` where it is an object of JSON, and no list. */
export function recordOf(
  value: unknown,
): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? { ...value }
    : undefined;
}

/** `value` where it is a list; else an empty one. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
