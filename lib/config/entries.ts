/**
 * Lists of mappings in config files: their items, and the members of each.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { closest, quote } from "../base/text.ts";
import { describe, isMapping, textOf } from "./file_values.ts";
import type { Problems } from "./problems.ts";
import type { OptionType } from "./types.ts";

/** Where something was written, and who is told what is wrong with it. */
export interface Written {
  /** The place, for messages. */
  readonly place: string;
  /** Takes what is wrong. */
  readonly problems: Problems;
}

/** An item of a list. */
export interface Item {
  /** The item. */
  readonly value: unknown;
  /** Its place in the file, with its name if it has one, such as `clients[0] ("ann")`. */
  readonly place: string;
}

/** The items of the list `value`, which is `key` in the file at `path`; none where it is no list. */
export function itemsOf(
  value: unknown,
  key: string,
  { path, problems }: { readonly path: string; readonly problems: Problems },
): Item[] {
  if (!Array.isArray(value)) {
    problems.add(
      `${key} in ${path}: ${describe(value)} where there must be a list`,
    );
    return [];
  }
  return value.map((value: unknown, index) => {
    const name = isMapping(value) && typeof value.name === "string"
      ? ` (${quote(value.name)})`
      : "";
    return { value, place: `${key}[${index}]${name}` };
  });
}

/** `value` where it is a mapping; what is wrong with it or its `keys` is a problem. */
export function mappingOf(
  value: unknown,
  keys: readonly string[],
  { place, problems }: Written,
): Readonly<Record<string, unknown>> | undefined {
  if (!isMapping(value)) {
    problems.add(`${place}: ${describe(value)} where there must be a mapping`);
    return undefined;
  }
  for (const key of Object.keys(value)) {
    if (keys.includes(key)) continue;
    const near = closest(key, keys);
    const hint = near === undefined ? "" : ` (did you mean ${near}?)`;
    problems.add(`${place}: unknown key ${quote(key)}${hint}`);
  }
  return value;
}

/** The value of the member `key`; undefined where it is not given, or wrong, which is a problem. */
export function memberOf<T>(
  entry: Readonly<Record<string, unknown>>,
  key: string,
  type: OptionType<T>,
  { place, problems }: Written,
): T | undefined {
  const value = entry[key];
  if (!isGiven(value)) return undefined;
  return problems.attempt(() => {
    const text = textOf(value, { type }, {
      placeOf: (item) => `${place}: ${key}${item}`,
      problems,
    });
    return parseAt(`${place}: ${key}`, text, type.parse);
  });
}

/**
 * What `parse` makes of `text`.
 *
 * @throws {UsageError} naming the `place` when it refuses it.
 */
export function parseAt<T>(
  place: string,
  text: string,
  parse: (text: string) => T,
): T {
  try {
    return parse(text.trim());
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) {
      throw error;
    }
    throw new UsageError(`${place}: ${error.message}`, { cause: error });
  }
}

/** Takes note of each of `keys` that is not given. */
export function requireMembers(
  entry: Readonly<Record<string, unknown>>,
  keys: readonly string[],
  { place, problems }: Written,
): void {
  for (const key of keys) {
    if (!isGiven(entry[key])) problems.add(`${place}: it has no ${key}`);
  }
}

function isGiven(value: unknown): boolean {
  return value !== null && value !== undefined;
}
