/**
 * All flags of a program, those of options and those that are none, as one list.
 *
 * @module
 */
import { type Option, optionsOf } from "./options.ts";
import { type OwnFlag, ownFlagsOf } from "./own_flags.ts";
import type { Role } from "../wire/subjects.ts";

/** A flag, of an option or not. */
export interface Flag {
  /** It, without its dashes. */
  readonly name: string;
  /** The letter that says the same with one dash. */
  readonly short: string | undefined;
  /** What its value is called; undefined for one that stands alone. */
  readonly placeholder: string | undefined;
  /** One sentence without a period. */
  readonly help: string;
  /** The option that it sets. */
  readonly option?: Option;
  /** Where it is no option. */
  readonly own?: OwnFlag;
}

/** All flags of `role`, in the order of the help, and behind them `extra` ones. */
export function flagsOf(
  role: Role,
  extra: readonly OwnFlag[] = [],
): readonly Flag[] {
  return [
    ...optionsOf(role).flatMap((option): Flag[] => {
      const { flag: name, short, help, type } = option;
      if (name === undefined) return [];
      const placeholder = type.fileType === "boolean"
        ? undefined
        : type.placeholder;
      return [{ name, short, placeholder, help, option }];
    }),
    ...[...ownFlagsOf(role), ...extra].map(flagOf),
  ];
}

/** A flag that is no option. */
export function flagOf(own: OwnFlag): Flag {
  const { flag: name, short, placeholder, help } = own;
  return { name, short, placeholder, help, own };
}

/** A flag as it is written in a command line. */
export function usageOf({ name, short, placeholder }: Flag): string {
  return `${short === undefined ? "" : `-${short}, `}--${name}${
    placeholder === undefined ? "" : ` ${placeholder}`
  }`;
}

/**
 * A short flag as the long one that it stands for, with its value, which may
 * follow it without a blank (`-L8080:db:5432`); any other word as it is.
 */
export function asLong(arg: string, flags: Iterable<Flag>): string {
  for (const { name, short, placeholder } of flags) {
    if (short === undefined || !arg.startsWith(`-${short}`)) continue;
    const rest = arg.slice(2);
    if (rest === "") return `--${name}`;
    // Two letters of one dash are no flag, unless the first takes the second, or
    // both are the same: -vvv is what ssh is told.
    if (placeholder !== undefined) return `--${name}=${rest.replace(/^=/, "")}`;
    if (rest.startsWith("=")) return `--${name}${rest}`;
    if (rest.replaceAll(short, "") === "") return `--${name}`;
  }
  return arg;
}
