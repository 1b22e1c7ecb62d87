/**
 * Values of config files: what type they are of, and what text stands for them.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Option } from "./options.ts";
import type { Problems } from "./problems.ts";

/**
 * The text that `value` of a file stands for; of a list, of those of its items
 * that have one.
 *
 * @throws {UsageError} when it is of a wrong type.
 */
export function textOf(
  value: unknown,
  { type, secret }: Pick<Option, "type" | "secret">,
  { placeOf, problems }: {
    /** Names where it was written, or an item of it such as `[2]`. */
    readonly placeOf: (item: string) => string;
    readonly problems: Problems;
  },
): string {
  const { fileType, itemType } = type;
  if (typeof value === "string") return value;
  const scalar = typeof value;
  if (fileType === scalar || itemType === scalar) return String(value);
  // What is wrong as text, too, is refused as that, which says more.
  if (/number|boolean/.test(scalar) && !canParse(type, String(value))) {
    return String(value);
  }
  if (fileType === "list" && Array.isArray(value)) {
    const isItem = (item: unknown): boolean =>
      typeof item === "string" || typeof item === itemType;
    const wrong = value.flatMap((item, index) =>
      isItem(item) ? [] : [
        `${placeOf(`[${index}]`)}: ${
          describe(item)
        } where there must be a string`,
      ]
    );
    const texts = value.filter(isItem);
    if (texts.length === 0 && wrong.length > 0) throw new UsageError(wrong);
    problems.add(...wrong);
    return texts.join(",");
  }
  const shown = secret === true ? "a value" : describe(value);
  throw new UsageError(
    `${placeOf("")}: ${shown} where there must be ` +
      (fileType === undefined
        ? "a string in quotes"
        : `a string or ${
          fileType === "boolean" ? "true or false" : `a ${fileType}`
        }`),
  );
}

/** Whether `text` is a value of `type`. */
function canParse(type: Option["type"], text: string): boolean {
  try {
    type.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) {
      return false;
    }
    throw error;
  }
}

/** `value` of a wrong type for a message, without what may be a secret. */
export function describe(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (isMapping(value)) return "a mapping";
  if (typeof value === "string") return "a string"; // perhaps a secret
  return `the ${typeof value} ${quote(String(value))}`;
}

/** Whether `value` is a mapping with keys; dates of TOML are not. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null &&
    !Array.isArray(value) && !(value instanceof Date);
}
