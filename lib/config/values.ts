/**
 * The values of the options of a role: the text that is given for each, parsed.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { quote, redactUrl } from "../base/text.ts";
import type { Role } from "../wire/subjects.ts";
import {
  type ConfigInputs,
  findGiven,
  type OriginalText,
  textInFile,
} from "./given.ts";
import { ListError } from "./list.ts";
import { type Option, optionsOf, type OptionValues } from "./options.ts";
import type { Problems } from "./problems.ts";
import { expandHome } from "./sources.ts";
import { path, secretPath, secretPaths } from "./types.ts";

/** The values of the options of a role, which has those of both and its own. */
export type Values =
  & OptionValues
  & Partial<OptionValues<"server"> & OptionValues<"client">>;

/** The value of each option of `role`; undefined for one that is wrong. */
export function parseValues(
  role: Role,
  inputs: ConfigInputs,
  problems: Problems,
): Values {
  const home = inputs.env("HOME");
  const values = optionsOf(role).map((option) => {
    const { key } = option;
    const valueOf = (given: OriginalText | undefined): unknown =>
      given && problems.attempt(() => parse(option, given, home));
    // A file is checked as a whole, also what a flag or variable overrides.
    const inFile = textInFile(key, inputs.file);
    const value = valueOf(inFile);
    const chosen = findGiven(option, inputs) ?? defaultOf(option);
    return [key, chosen?.origin === inFile?.origin ? value : valueOf(chosen)];
  });
  return Object.fromEntries(values) as Values;
}

/** The text of an option's default, or undefined when it has none. */
function defaultOf({ key, default: text }: Option): OriginalText | undefined {
  return text === undefined ? undefined : { text, origin: `default of ${key}` };
}

/** Whether `text` stands in quotation marks, as files of variables hand them on that no shell reads. */
export function isQuoted(text: string): boolean {
  return /^(["']).*\1$/s.test(text);
}

/** The value in `text`. A secret is taken as it is: white space may be part of it. */
function parse(
  option: Option,
  { text, origin }: OriginalText,
  home: string | undefined,
): unknown {
  const { secret, type } = option;
  const trimmed = secret === true ? text : text.trim();
  if (secret !== true && isQuoted(trimmed)) {
    throw new UsageError(
      `${origin}: ${
        quote(redactUrl(trimmed))
      } has quotation marks around it: leave them out`,
    );
  }
  try {
    return type.parse(expandPaths(trimmed, type, home));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) {
      throw error;
    }
    const problems = error instanceof ListError
      ? error.problems
      : [error.message];
    throw new UsageError(
      problems.map((problem) => `${origin}: ${problem}`),
      { cause: error },
    );
  }
}

/** `text` with the home in the paths that it is, if its type says that it is one. */
function expandPaths(
  text: string,
  type: Option["type"],
  home: string | undefined,
): string {
  if (type === path || type === secretPath) return expandHome(text, home);
  if (type !== secretPaths) return text;
  return text.split(",").map((part) => expandHome(part.trim(), home)).join(",");
}
