/**
 * What the flags of a tool say, read as the type of each.
 *
 * @module
 */
import { messageOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { parseDuration } from "../base/units.ts";

/** The flags of a tool that was called. */
export type ToolFlags = ReadonlyMap<string, string>;

/**
 * The duration that `flag` says, in ms, which is at least `least`; `otherwise` without it.
 *
 * @throws {UsageError} for what is none, or shorter.
 */
export function durationFlag(
  flags: ToolFlags,
  flag: string,
  { otherwise, least }: { readonly otherwise: number; readonly least: number },
): number {
  const text = flags.get(flag);
  if (text === undefined) return otherwise;
  let ms: number;
  try {
    ms = parseDuration(text);
  } catch (error) {
    throw new UsageError(`--${flag}: ${messageOf(error)}`, { cause: error });
  }
  if (ms < least) {
    throw new UsageError(
      `--${flag} is ${quote(text)}, want ${least}ms or more`,
    );
  }
  return ms;
}

/**
 * The number that `flag` says, from 1; undefined without it.
 *
 * @throws {UsageError} for what is none.
 */
export function countFlag(flags: ToolFlags, flag: string): number | undefined {
  const text = flags.get(flag);
  if (text === undefined) return undefined;
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count >= 1) return count;
  throw new UsageError(`--${flag} is ${quote(text)}, want a number from 1`);
}
