/**
 * Whether lines are to be JSON, found out before the configuration is read: one
 * that is wrong is to be told in the form that was asked for.
 *
 * @module
 */
import { COMMON_OPTIONS } from "./common_options.ts";
import type { Sources } from "./sources.ts";

/** The option that says it. */
const { flag: FLAG } = COMMON_OPTIONS["log.format"];

/** Its variable. */
const VARIABLE = "LOG_FORMAT";

/**
 * Whether a flag or, without one, the variable asks for JSON, the last flag
 * before another's own (`--`). What a config file says is not known yet.
 */
export function asksForJson(
  args: readonly string[],
  env: Sources["env"],
): boolean {
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  const flags = own.flatMap((word, at) =>
    word === `--${FLAG}`
      ? own[at + 1] ?? ""
      : word.startsWith(`--${FLAG}=`)
      ? word.slice(`--${FLAG}=`.length)
      : []
  );
  const choice = flags.at(-1) ?? env(VARIABLE) ?? "";
  return choice.trim().toLowerCase() === "json";
}
