/**
 * What a person is told of the configuration, and the last words of a program
 * that cannot run: a line for each problem, and the exit code. In JSON a problem
 * has fields for what a program would look for in its sentence.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import type { Notice } from "../config/problems.ts";
import type { Role } from "../wire/subjects.ts";
import { say, stackOf } from "./log.ts";

/** What the programs exit with. */
export const EXIT = {
  /** A clean stop, help, version. */
  ok: 0,
  /** A failure at run time. */
  failure: 1,
  /** Wrong flags, environment or configuration. */
  usage: 2,
} as const;

/** Where a problem begins with what it is about: a flag, a variable, or a key of a file. */
const ORIGIN =
  /^(?:(?<option>--[\w-]+)|environment variable (?<variable>\w+)|(?<key>[\w.[\]]+) in (?<file>\S+)): /;

/** A file that an option names, which cannot be read or used. */
const FILE =
  /^Cannot (?:read|use) the file of (?<option>--[\w-]+), (?<path>"(?:[^"\\]|\\.)*"): /;

/** The value that is wrong, right behind that. */
const VALUE = /^("(?:[^"\\]|\\.)*")/;

/** What ends the last problem of a command line. */
const USAGE = /; (run '.*' for usage)$/s;

/** Says what went wrong, on a line for each problem, and gives the exit code; a fault of the program shows its stack. */
export function explain(error: unknown): number {
  const code = error instanceof UsageError ? EXIT.usage : EXIT.failure;
  if (error instanceof UsageError || error instanceof RunError) {
    const problems = error instanceof UsageError
      ? error.problems
      : [messageOf(error)];
    for (const problem of problems) {
      const { text, ...fields } = takeApart(problem);
      say({
        level: "fatal",
        text,
        fields: { ...fields, exit_code: code },
        shown: `error: ${messageOf(problem)}`,
      });
    }
  } else {
    const stack = stackOf(error);
    say({
      level: "fatal",
      text: "internal error",
      fields: { error: messageOf(error), stack, exit_code: code },
      shown: `error: internal error: ${stack}`,
    });
  }
  return code;
}

/** What a problem says: its sentence, and what of it programs look for. */
export function takeApart(
  problem: string,
): { readonly text: string; readonly [field: string]: string | undefined } {
  const [usage, hint] = USAGE.exec(problem) ?? [];
  const text = usage === undefined ? problem : problem.slice(0, -usage.length);
  const origin = ORIGIN.exec(text);
  const rest = origin === null ? "" : text.slice(origin[0].length);
  const [, quoted] = VALUE.exec(rest) ?? [];
  const { option, variable, key, file } = origin?.groups ?? {};
  const named = FILE.exec(text)?.groups;
  return {
    text,
    ...(named?.path !== undefined && {
      option: named.option,
      file: unquoted(named.path),
    }),
    ...(option !== undefined && { option }),
    ...(variable !== undefined && { variable }),
    ...(key !== undefined && { key, file }),
    ...(quoted !== undefined && { value: unquoted(quoted) }),
    ...(hint !== undefined && { hint }),
  };
}

/** A text that stands in quotes, or the same where they are not JSON's. */
function unquoted(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    // Cut within an escape: what is there must do.
    return text;
  }
}

/** Tells what a person should know of the configuration. */
export function logNotices(role: Role, notices: readonly Notice[]): void {
  const log = getLogger(["sproxy", role]);
  for (const { level, text } of notices) {
    log[level === "warn" ? "warn" : "info"]("a note on the configuration", {
      note: text,
    });
  }
}
