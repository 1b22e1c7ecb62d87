/**
 * What is given for an option, and by which of the places where one may be: a
 * flag goes before the environment, the environment before the config file, the
 * file before the default; a context stands in place of all of them, or before
 * the default.
 *
 * @module
 */
import type { Role } from "../wire/subjects.ts";
import type { ConfigFile } from "./file.ts";
import { CONTEXT_OPTIONS, type NatsContext } from "./nats_context.ts";
import { FLAG_ONLY, ONE_SHOT_LEVEL, type OneShot } from "./one_shot.ts";
import {
  ALL_OPTIONS,
  type Option,
  type OptionKey,
  optionsOf,
} from "./options.ts";
import type { Sources } from "./sources.ts";

/** What a configuration is made from, the strongest first. */
export interface ConfigInputs {
  /** The text of each flag given. */
  readonly flags: ReadonlyMap<OptionKey, string>;
  /** Reads an environment variable. */
  readonly env: Sources["env"];
  /** The config file, if there is one. */
  readonly file?: ConfigFile | undefined;
  /** A context, in place of all others for the options that it may set. */
  readonly context?: NatsContext | undefined;
  /** What is done once, if it is. */
  readonly oneShot?: OneShot | undefined;
  /** Reads a file of the system; without it there is none. */
  readonly readTextFile?: Sources["readTextFile"];
}

/** The text of a value, and where it was written. */
export interface OriginalText {
  /** The text. */
  readonly text: string;
  /** The flag, variable or key (and file), for messages. */
  readonly origin: string;
}

/** The text that is given for an option. */
export interface Given extends OriginalText {
  /** What kind of place it was written at. */
  readonly from: "flag" | "variable" | "file" | "context";
}

/**
 * The text that `inputs` give for an option, or undefined when it is left to
 * its default.
 */
export function findGiven(
  option: Option,
  inputs: ConfigInputs,
): Given | undefined {
  const inContext = inputs.context?.texts.get(option.key);
  const ofContext = inContext && { ...inContext, from: "context" } as const;
  if (inputs.context !== undefined && CONTEXT_OPTIONS.includes(option.key)) {
    return ofContext;
  }
  const flag = inputs.flags.get(option.key);
  if (flag !== undefined) {
    return { text: flag, origin: `--${option.flag}`, from: "flag" };
  }
  if (inputs.oneShot !== undefined && FLAG_ONLY.includes(option.key)) {
    return option.key === "log.level"
      ? { text: ONE_SHOT_LEVEL, origin: "default", from: "flag" }
      : undefined;
  }
  const [variable] = variablesOf(option, inputs);
  if (variable !== undefined) {
    const { name, text } = variable;
    const origin = `environment variable ${name}`;
    return { text, origin, from: "variable" };
  }
  const inFile = textInFile(option.key, inputs.file);
  return inFile === undefined ? ofContext : { ...inFile, from: "file" };
}

/** The same of the option that has this `key`. */
export function givenFor(
  key: OptionKey,
  inputs: ConfigInputs,
): Given | undefined {
  const option = ALL_OPTIONS.find((option) => option.key === key);
  return option && findGiven(option, inputs);
}

/** The variables that are set for an option; an empty one is not: compose files write NAME= for that. */
function variablesOf(
  { env, aliases }: Option,
  inputs: ConfigInputs,
): { readonly name: string; readonly text: string }[] {
  return [env, ...aliases].flatMap((name) => {
    const text = inputs.env(name) ?? "";
    return text.trim() === "" ? [] : [{ name, text }];
  });
}

/** What the config file says about an option. */
export function textInFile(
  key: OptionKey,
  file: ConfigFile | undefined,
): OriginalText | undefined {
  const text = file?.texts.get(key);
  return text === undefined
    ? undefined
    : { text, origin: `${key} in ${file?.path}` };
}

/** What is said of variables that mean the same option, and not the same value. */
export function* ambiguousVariables(
  role: Role,
  inputs: ConfigInputs,
): Generator<string> {
  for (const option of optionsOf(role)) {
    if (findGiven(option, inputs)?.from !== "variable") continue;
    const [first, ...others] = variablesOf(option, inputs);
    const other = others.find(({ text }) => text.trim() !== first?.text.trim());
    if (other === undefined) continue;
    yield `The environment variables ${first?.name} and ${other.name} differ, and both mean ${option.key}: keep one`;
  }
}

/** Whether what `NATS_USER` says is no user but a token, because there is no password: the `nats` command reads it so. */
export function userIsToken(inputs: ConfigInputs): boolean {
  return givenFor("nats.user", inputs)?.from === "variable" &&
    givenFor("nats.password", inputs) === undefined;
}
