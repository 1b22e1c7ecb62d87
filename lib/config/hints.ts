/**
 * What a person may have meant by a word or flag that a command line cannot
 * have.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { closest, quote, redactUrl } from "../base/text.ts";
import { otherRole, type Role } from "../wire/subjects.ts";
import { commandsOf } from "./commands.ts";
import { asLong, flagsOf } from "./flags.ts";
import { parseForward, parseLeading } from "./forward.ts";
import { habitFor } from "./habits.ts";
import { type Option, optionsOf } from "./options.ts";
import type { OwnFlag } from "./own_flags.ts";

/** What is said of a word that is no flag, `before` which stands the flag of an option. */
export function strayWord(
  role: Role,
  word: string,
  before: Option | undefined,
): string {
  const hint = before !== undefined && isSwitch(before)
    ? ` (a value of --${before.flag} is given as --${before.flag}=VALUE)`
    : commandsOf(role).some((command) => command.word === word)
    ? " (a command is the first word)"
    : commandsOf(otherRole(role)).some((command) => command.word === word)
    ? ` (only the ${otherRole(role)} has it)`
    : ["help", "version"].includes(word)
    ? ` (did you mean --${word}?)`
    : role === "client" && parses(parseForward, word)
    ? " (a forward is given as -L FORWARD)"
    : role === "client" && parses(parseLeading, word)
    ? " (to connect to it use -L PORT:HOST:HOSTPORT, or -W HOST:PORT)"
    : /^(?:nats|tls|wss?):\/\//i.test(word)
    ? " (brokers are given with --nats-url)"
    : nearCommand(role, word);
  return `Unexpected argument ${quote(redactUrl(word))}${hint}`;
}

function nearCommand(role: Role, text: string): string {
  const near = closest(text, commandsOf(role).map(({ word }) => word));
  return near === undefined ? "" : ` (did you mean ${near}?)`;
}

/** Whether `word` is one that {@linkcode parse} takes. */
function parses(parse: (text: string) => unknown, word: string): boolean {
  try {
    parse(word);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** Whether an option's flag may stand without a value. */
function isSwitch(option: Option): boolean {
  return option.type.fileType === "boolean";
}

/** The error for a flag that neither the role nor the `extra` ones of a tool have; its value is not shown. */
export function unknownFlag(
  role: Role,
  arg: string,
  extra?: readonly OwnFlag[],
): UsageError {
  const flag = arg.split("=")[0] ?? arg;
  return new UsageError(
    `Unknown flag ${quote(redactUrl(flag))}${hintFor(role, flag, extra)}`,
  );
}

/** What the person who wrote the unknown `flag` may have wanted. */
function hintFor(
  role: Role,
  flag: string,
  extra?: readonly OwnFlag[],
): string {
  const wanted = flag.replace(/^-+/, "");
  const secret = optionsOf(role).find(({ env, secret }) =>
    secret === true && env.toLowerCase().replaceAll("_", "-") === wanted
  );
  if (secret !== undefined) {
    return ` (a secret is given by the variable ${secret.env})`;
  }
  const habit = habitFor(role, flag);
  if (habit !== undefined) return ` (${habit})`;
  const flags = flagsOf(role, extra);
  const others = flagsOf(otherRole(role));
  if (
    !flags.some(({ name }) => name === wanted) &&
    (others.some(({ name }) => name === wanted) ||
      asLong(flag, others) !== flag)
  ) {
    return ` (only the ${otherRole(role)} has it)`;
  }
  // It without its dashes, or the first word of one, as people remember it.
  const beginning = flags.filter(({ name }) => name.startsWith(`${wanted}-`));
  const begun = flags.find(({ name }) => name === wanted) ??
    beginning.find(({ option }) => option?.daily === true) ?? beginning[0];
  if (begun !== undefined) return ` (did you mean --${begun.name}?)`;
  // As the nats command calls it, which is about NATS alone.
  const bare = wanted.replaceAll("-", "");
  const nats = flags.find(({ name }) =>
    name.replaceAll("-", "") === `nats${bare}`
  );
  if (nats !== undefined) return ` (did you mean --${nats.name}?)`;
  const near = closest(
    wanted,
    flags.flatMap(({ name, short }) => [
      `--${name}`,
      ...(short === undefined ? [] : [`-${short}`]),
    ]),
  );
  return near === undefined ? "" : ` (did you mean ${near}?)`;
}
