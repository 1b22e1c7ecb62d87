/**
 * The command line of both programs. It is only read here: nothing is
 * printed, and nothing exits.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { describeConfig } from "./check.ts";
import {
  CHECK_WORD,
  COMPLETION_WORD,
  parseShell,
  toolOf,
  type ToolUsage,
} from "./commands.ts";
import { renderCompletion } from "./completion.ts";
import denoJson from "../../deno.json" with { type: "json" };
import { buildConfig, type ConfigByRole } from "./config.ts";
import { type ConfigInputs, findGiven, userIsToken } from "./given.ts";
import { isQuoted } from "./values.ts";
import { type ConfigFile, findConfigFile } from "./file.ts";
import { FORWARDS_KEY } from "./forwards.ts";
import { SERVICES_KEY } from "./services.ts";
import { EXEC_WORD, parseExec } from "./exec.ts";
import { asLong, type Flag, flagsOf } from "./flags.ts";
import { renderHelp, renderKeyHelp, renderToolHelp } from "./help.ts";
import { strayWord, unknownFlag } from "./hints.ts";
import { KEY_WORD, type KeyCommand, parseKeyCommand } from "./key_command.ts";
import { chooseContext } from "./context_choice.ts";
import { ONE_SHOT_LEVEL, type OneShot, parseStdio } from "./one_shot.ts";
import { type Notice, Problems } from "./problems.ts";
import type { Sources } from "./sources.ts";
import { UsageError } from "../base/errors.ts";
import { type OptionKey, optionsOf } from "./options.ts";
import { PROTOCOL_VERSION } from "../wire/open.ts";
import type { Role } from "../wire/subjects.ts";
import { escapeUnsafe, quote, redactUrl } from "../base/text.ts";

/** The version of this program. */
export const VERSION: string = denoJson.version;

/** What a command line asks for; `C` is the configuration of the role. */
export type CommandLine<C> =
  | {
    readonly kind: "run";
    /** The configuration, frozen. */
    readonly config: C;
    /** The config file that was read, if there was one. */
    readonly configFile: string | undefined;
    /** The files that hold secrets, that one perhaps among them. */
    readonly secretFiles: readonly string[];
    /** What to log once the log works. */
    readonly notices: readonly Notice[];
  }
  | {
    /** The configuration is to be looked at, not run. */
    readonly kind: "check";
    /** The configuration, frozen. */
    readonly config: C;
    /** The files that hold secrets, the config file perhaps among them. */
    readonly secretFiles: readonly string[];
    /** What a person should know. */
    readonly notices: readonly Notice[];
    /** What to print, with a line end. */
    readonly text: string;
  }
  | {
    /** One of an operator's tools is to do its work, with the configuration of a role. */
    readonly kind: "tool";
    /** Which. */
    readonly word: string;
    /** The words behind it. */
    readonly words: readonly string[];
    /** Its own flags, with their values; "true" for one that stands alone. */
    readonly toolFlags: ReadonlyMap<string, string>;
    /** The configuration, frozen; its log tells warnings only unless a flag says otherwise. */
    readonly config: C;
    /** The config file that was read, if there was one. */
    readonly configFile: string | undefined;
    /** The files that hold secrets, that one perhaps among them. */
    readonly secretFiles: readonly string[];
    /** What a person should know. */
    readonly notices: readonly Notice[];
  }
  | {
    readonly kind: "help" | "version" | "completion";
    /** What to print, with a line end. */
    readonly text: string;
  }
  | { readonly kind: "key"; readonly command: KeyCommand };

/**
 * What `args` ask of the program of `role`.
 *
 * @throws {UsageError} when flags, variables or the config file are wrong: a
 * sentence for each that names it, with its value unless that is a secret.
 */
export function parseCommandLine<R extends Role>(
  role: R,
  args: readonly string[],
  sources: Sources,
): CommandLine<ConfigByRole[R]> {
  const program = sources.program ?? `${role}.ts`;
  const problems = new Problems();
  let asked = program;
  try {
    const { word, rest } = splitCommand(role, args);
    const wantsHelp = rest.some((arg) => arg === "-h" || arg === "--help");
    if (word === KEY_WORD) {
      return wantsHelp
        ? { kind: "help", text: renderKeyHelp(program) }
        : { kind: "key", command: parseKeyCommand(rest) };
    }
    if (word === COMPLETION_WORD && !wantsHelp) {
      const shell = parseShell(rest);
      const name = sources.program ?? `nats-proxy-${role}`;
      const text = renderCompletion(shell, role, name);
      return { kind: "completion", text };
    }
    const tool = toolOf(role, word);
    // Its help has its own flags, and says where the others are told.
    if (tool !== undefined) asked = `${program} ${tool.word}`;
    if (tool !== undefined && wantsHelp) {
      return { kind: "help", text: renderToolHelp(program, tool) };
    }
    const words: string[] = [];
    const parsed = word === EXEC_WORD && role === "client"
      ? readExec(rest, problems)
      : tool !== undefined
      ? readFlags(role, rest, problems, {
        extra: tool.tool.flags,
        onWord: (word) => words.push(word),
      })
      : readFlags(
        role,
        word === CHECK_WORD || word === COMPLETION_WORD ? rest : args,
        problems,
      );
    const surplus = words[tool?.tool.most ?? 0];
    if (tool !== undefined && surplus !== undefined) {
      problems.add(
        `Unexpected argument ${quote(redactUrl(surplus))} of ${tool.word}`,
      );
    }
    switch (parsed.kind) {
      case "help":
      case "help-all": {
        const all = parsed.kind === "help-all";
        return { kind: "help", text: renderHelp(role, program, { all }) };
      }
      case "version":
        return { kind: "version", text: versionText(role) };
      case "run": {
        const { flags, configPath: path, oneShot, toolFlags } = parsed;
        const file = problems.attempt(() =>
          findConfigFile(role, { path, sources, problems })
        );
        const given: ConfigInputs = {
          ...{ flags, env: sources.env, file, oneShot },
          readTextFile: (path) => sources.readTextFile(path),
        };
        const { context, notices: chosen = [] } = problems.attempt(() =>
          chooseContext(role, { inputs: given, sources, problems })
        ) ?? {};
        const inputs = { ...given, context };
        const config = buildConfig(role, inputs, problems);
        const secretFiles = [
          ...(file !== undefined && holdsSecret(role, file) ? [file.path] : []),
          ...context?.secretFiles ?? [],
        ];
        const notices = [...chosen, ...collectNotices(role, inputs)];
        if (tool !== undefined) {
          const level = flags.has("log.level")
            ? config.log.level
            : ONE_SHOT_LEVEL;
          return {
            ...{ kind: "tool", word: tool.word, words, toolFlags, notices },
            config: { ...config, log: { ...config.log, level } },
            configFile: file?.path,
            secretFiles,
          };
        }
        return word === CHECK_WORD
          ? {
            kind: "check",
            config,
            secretFiles,
            notices,
            text: describeConfig(config, inputs),
          }
          : {
            kind: "run",
            config,
            configFile: file?.path,
            secretFiles,
            notices,
          };
      }
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    // Values are quoted where they are named; this catches file names.
    const told = error.problems.map(escapeUnsafe);
    const last = `${told.pop()}; run '${asked} --help' for usage`;
    throw new UsageError([...told, last], { cause: error });
  }
}

/** What `--version` prints. */
function versionText(role: Role): string {
  return `tcp-sproxy ${role} ${VERSION} (protocol ${PROTOCOL_VERSION} and 1, Deno ${Deno.version.deno})\n`;
}

/** What the flags alone say. */
type ParsedFlags =
  | { readonly kind: "help" | "help-all" | "version" }
  | {
    readonly kind: "run";
    readonly flags: ReadonlyMap<OptionKey, string>;
    readonly configPath: string | undefined;
    readonly oneShot: OneShot | undefined;
    /** The flags of a tool. */
    readonly toolFlags: ReadonlyMap<string, string>;
  };

/** A flag in a command line. */
interface FlagToken {
  readonly kind: "option";
  readonly index: number;
  readonly name: string;
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

/** What a word of a command line is, as far as that matters here. */
type Token =
  | FlagToken
  | { readonly kind: "positional"; readonly index: number }
  | { readonly kind: "option-terminator"; readonly index: number };

/** A command line, taken apart. */
interface Tokenized {
  /** The flags that there are, by their names. */
  readonly known: ReadonlyMap<string, Flag>;
  /** The words, short flags in full. */
  readonly words: readonly string[];
  readonly tokens: readonly Token[];
}

/** Reads the flags, targets and command after the word `exec`. */
function readExec(
  args: readonly string[],
  problems: Problems,
): ParsedFlags {
  const end = args.indexOf("--");
  const command = end < 0 ? undefined : args.slice(end + 1);
  const before = end < 0 ? args : args.slice(0, end);
  const words: string[] = [];
  const parsed = readFlags("client", before, problems, {
    onWord: (word) => words.push(word),
  });
  if (parsed.kind !== "run") return parsed;
  if (parsed.oneShot !== undefined) {
    problems.add("exec and --stdio are two uses: leave out one of them");
  }
  const oneShot = problems.attempt(() => parseExec(words, command));
  return { ...parsed, oneShot };
}

/**
 * The command that `args` begin with, and what else there is. Flags may stand
 * before one whose own flags are the same, as they may with the `nats` command.
 */
function splitCommand(
  role: Role,
  args: readonly string[],
): { readonly word: string | undefined; readonly rest: readonly string[] } {
  const { tokens } = tokenize(role, args);
  const first = tokens.find(({ kind }) => kind !== "option");
  const at = first?.kind === "positional" ? first.index : 0;
  const word = args[at];
  const behindFlags = word === CHECK_WORD ||
    word === EXEC_WORD && role === "client" ||
    toolOf(role, word) !== undefined;
  return at === 0 || behindFlags
    ? { word, rest: args.toSpliced(at, 1) }
    : { word: args[0], rest: args.slice(1) };
}

/** Reads the flags in `args`, by the tables; help and version come before all that is wrong. */
function readFlags(
  role: Role,
  args: readonly string[],
  problems: Problems,
  { onWord, extra }: {
    /** Takes each word that is none of a flag. */
    readonly onWord?: (word: string) => void;
    /** The flags of a tool. */
    readonly extra?: ToolUsage["flags"];
  } = {},
): ParsedFlags {
  const { known, words, tokens } = tokenize(role, args, extra);
  const toolFlags = new Map<string, string>();
  const flags = new Map<OptionKey, string>();
  let configPath: string | undefined;
  let oneShot: OneShot | undefined;
  const take = (token: FlagToken, arg: string): void => {
    const flag = known.get(token.name);
    if (flag === undefined || !arg.startsWith("--")) {
      throw unknownFlag(role, arg, extra);
    }
    const value = valueOf(token, flag);
    const { own, option } = flag;
    if (own?.sets !== undefined) flags.set(...own.sets);
    if (own !== undefined && extra?.includes(own)) {
      toolFlags.set(own.flag, value);
    }
    if (own?.flag === "config") configPath = value;
    if (own?.flag === "stdio") oneShot = parseStdio(value);
    if (option === undefined) return;
    const { key } = option;
    // A shell's variable that is not set: without it, more would stand open.
    if (option.repeatable === true && value.trim() === "") {
      throw new UsageError(`${token.rawName} is empty; leave it out for none`);
    }
    const before = option.repeatable === true ? flags.get(key) : undefined;
    flags.set(key, before === undefined ? value : `${before},${value}`);
  };
  // Up to here a word is the value of a flag that was refused.
  let valueEnd = -1;
  for (const token of tokens) {
    const { index } = token;
    const arg = words[index] ?? "";
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      if (index <= valueEnd) continue;
      const word = args[index] ?? "";
      const before = known.get((words[index - 1] ?? "").slice(2));
      if (onWord !== undefined) onWord(word);
      else problems.add(strayWord(role, word, before?.option));
      continue;
    }
    if (arg === "--help") return { kind: "help" };
    if (arg === "--help-all") return { kind: "help-all" };
    if (arg === "--version") return { kind: "version" };
    const taken = problems.attempt(() => {
      take(token, arg);
      return true;
    });
    if (taken === true) continue;
    // What was taken for its value was the next flag, with a value of its own.
    valueEnd = index + (token.inlineValue === false ? 2 : 1);
  }
  return { kind: "run", flags, configPath, oneShot, toolFlags };
}

/** The words of a command line, and which of them are flags of `role` and their values. */
function tokenize(
  role: Role,
  args: readonly string[],
  extra?: ToolUsage["flags"],
): Tokenized {
  const known = new Map<string, Flag>();
  for (const flag of flagsOf(role, extra)) known.set(flag.name, flag);
  const words = args.map((arg) => asLong(arg, known.values()));
  const { tokens } = parseArgs({
    // To the parser, -ab is two flags; to us it is one that does not exist.
    args: words.map((word) => word.replace(/^-(?=[^-])/, "--")),
    // Which flags take a value; who asks judges them, in our words.
    options: Object.fromEntries(
      [...known].map(([name, { placeholder }]) => [
        name,
        { type: placeholder === undefined ? "boolean" : "string" },
      ]),
    ),
    strict: false,
    tokens: true,
  });
  return { known, words, tokens };
}

/** The value that comes with a flag. */
function valueOf(token: FlagToken, { placeholder, own }: Flag): string {
  const { rawName, value, inlineValue } = token;
  const stands = placeholder === undefined;
  if (own !== undefined && stands && value !== undefined) {
    throw new UsageError(`${rawName} takes no value`);
  }
  if (value === undefined) {
    if (stands) return "true";
    throw new UsageError(`${rawName} needs a value, ${placeholder}`);
  }
  // Most probably the value was forgotten and this is the next flag.
  if (inlineValue !== true && value.startsWith("-")) {
    throw new UsageError(
      `${rawName} needs a value; one that starts with - is given as ${rawName}=VALUE`,
    );
  }
  return value;
}

/** Options whose values may have credentials in them. */
const URL_KEYS: readonly OptionKey[] = ["nats.url", "nats.proxy"];

/** Whether a config file has a password, or the like, in it. */
function holdsSecret(role: Role, { texts }: ConfigFile): boolean {
  return optionsOf(role).some(({ key, secret }) =>
    secret === true && texts.has(key)
  ) || URL_KEYS.some((key) => texts.get(key)?.includes("@"));
}

/** What about the configuration a person should know. */
function collectNotices(role: Role, inputs: ConfigInputs): Notice[] {
  const notices: Notice[] = [];
  if (userIsToken(inputs)) {
    notices.push({
      level: "info",
      text:
        "NATS_USER without NATS_PASSWORD is taken for a token, as the nats command takes it",
    });
  }
  for (const option of optionsOf(role)) {
    const given = findGiven(option, inputs);
    if (given === undefined) continue;
    const { file } = inputs;
    const isListed = option.key === FORWARDS_KEY && file?.forwards ||
      option.key === SERVICES_KEY && file?.services;
    if (isListed) {
      notices.push({
        level: "info",
        text:
          `${given.origin} goes before ${option.key} in ${file?.path}, which is not used`,
      });
    }
    if (option.reserved === true) {
      notices.push({
        level: "info",
        text: `${given.origin} is reserved: it is accepted and has no effect`,
      });
    }
    if (option.secret === true && isQuoted(given.text)) {
      notices.push({
        level: "warn",
        text: `${given.origin} has quotation marks around it, ` +
          "which are taken for part of the secret",
      });
    }
  }
  for (const { key, flag, env } of optionsOf(role)) {
    if (!URL_KEYS.includes(key) || !inputs.flags.get(key)?.includes("@")) {
      continue;
    }
    notices.push({
      level: "warn",
      text: `--${flag} has credentials in it, which other users of this ` +
        `machine can read in the list of processes: use ${env} instead`,
    });
  }
  return notices;
}
