/**
 * The types an option can have: how its text is read, and what is wrong with
 * it when it cannot be.
 *
 * @module
 */

import { Secret } from "../base/credentials.ts";
import { PROXY_VERSIONS, type ProxyVersion } from "../base/service.ts";
import { quote } from "../base/text.ts";
import {
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
} from "../base/units.ts";
import { keyProblem } from "../seal/key_problem.ts";
import { isToken, MAX_TOKEN_LENGTH } from "../wire/subjects.ts";

/** How the values of an option are written. */
export interface OptionType<T> {
  /** What stands for a value in the help. */
  readonly placeholder: string;
  /** What a config file may have in place of a string, if anything. */
  readonly fileType?: "number" | "boolean" | "list";
  /** What a list there, or a value in place of it, may have in place of strings. */
  readonly itemType?: "number";
  /**
   * The value in `text`.
   *
   * @throws {SyntaxError | RangeError} naming `text` (unless it is a secret)
   * and what is wrong with it; a ListError with that of each part.
   */
  parse(text: string): T;
}

/** The lowest and the highest value, both allowed; in the unit of the option. */
export interface Bounds {
  /** The lowest value. */
  readonly min: number;
  /** The highest value; without it, that of the type. */
  readonly max?: number;
}

/** The longest subject, data prefix or queue group, in characters: keeps headers of messages small. */
const MAX_SUBJECT_LENGTH = 128;

/** Most tunnels, and most opens, of a process or a client: beyond the ports of a host. */
export const MAX_TUNNELS = 1_000_000;

/** Most opens a second of a client: beyond what a process can look at. */
export const MAX_OPEN_RATE = 1_000_000;

/** Shortest time-out or interval, in ms: less only burns CPU. */
export const MIN_INTERVAL = 10;

/** Slowest rate, in bytes per second: one message of version 1, or two frames of version 2. */
export const MIN_RATE = 32 * 1024;

/** Keys of a process, or of those that it talks to, at once: one, and the next while they are changed. */
const MAX_KEYS = 2;

/** Longest wrong key that is shown: too short to be a secret. */
const MAX_SHOWN_KEY = 20;

/** The most workers: far beyond the cores that one broker connection can feed. */
export const MAX_WORKERS = 64;

/** A duration in ms. */
export function duration(range: Bounds): OptionType<number> {
  return {
    placeholder: "DURATION",
    fileType: "number",
    parse: (text) => inRange(text, parseDuration(text), range, formatDuration),
  };
}

/** A number of bytes. */
export function size(range: Bounds): OptionType<number> {
  return {
    placeholder: "SIZE",
    fileType: "number",
    parse: (text) => inRange(text, parseSize(text), range, formatSize),
  };
}

/** A whole number. */
export function integer(range: Bounds): OptionType<number> {
  return {
    placeholder: "N",
    fileType: "number",
    parse: (text) => inRange(text, parseInteger(text), range, String),
  };
}

/** A number of workers, or `auto`: one for each core. */
export const workers: OptionType<number | "auto"> = {
  placeholder: "N",
  fileType: "number",
  parse: (text) =>
    /^auto$/i.test(text)
      ? "auto"
      : inRange(text, parseInteger(text), { min: 1, max: MAX_WORKERS }, String),
};

/** Yes or no. */
export const boolean: OptionType<boolean> = {
  placeholder: "BOOL",
  fileType: "boolean",
  parse(text): boolean {
    // What Go takes, and what people write in YAML.
    if (/^(?:true|t|yes|y|on|1)$/i.test(text)) return true;
    if (/^(?:false|f|no|n|off|0)$/i.test(text)) return false;
    throw new SyntaxError(`${quote(text)} is neither true nor false`);
  },
};

/** One of the words `choices`, in either case; `aliases` are other words for some. */
export function choice<const T extends string>(
  choices: readonly T[],
  aliases: Readonly<Record<string, T>> = {},
): OptionType<T> {
  return {
    placeholder: choices.join("|"),
    parse(text): T {
      const word = text.toLowerCase();
      const found = choices.find((choice) => choice === word) ??
        (Object.hasOwn(aliases, word) ? aliases[word] : undefined);
      if (found !== undefined) return found;
      throw new SyntaxError(
        `${quote(text)} is none of ${choices.join(", ")}`,
      );
    },
  };
}

/** A version of the PROXY protocol. */
export const proxyProtocol: OptionType<ProxyVersion> = choice(
  PROXY_VERSIONS,
);

/** The path of a file. That it exists is for its reader to find out. */
export const path: OptionType<string> = {
  placeholder: "PATH",
  parse: (text) => printable(text),
};

/** The path of a file that holds a secret. */
export const secretPath: OptionType<string> = {
  placeholder: "PATH",
  parse(text): string {
    // The path is told in messages and seen in lists of processes. A seed, what
    // `key psk` makes, and what `openssl rand -hex` does.
    if (
      /^S[A-Z][A-Z2-7]{40,}$|^[A-Za-z0-9+/]{43}=$|^[0-9a-fA-F]{32,}$/
        .test(text)
    ) {
      throw new SyntaxError(
        "it is the secret itself, which is secret no more: make another, and give the path of its file",
      );
    }
    return printable(text);
  },
};

/** The paths of files with secrets, separated by commas. */
export const secretPaths: OptionType<readonly string[]> = {
  placeholder: "PATH[,PATH]",
  fileType: "list",
  parse: (text) =>
    atMost(
      MAX_KEYS,
      text.split(",").map((part) => secretPath.parse(part.trim())),
    ),
};

/** Public keys, separated by commas; at most `most`. */
export function publicKeys(most = Infinity): OptionType<readonly string[]> {
  return {
    placeholder: "X...[,X...]",
    fileType: "list",
    parse(text): readonly string[] {
      const keys = text.split(",").map((part) => part.trim());
      for (const [index, key] of keys.entries()) {
        const problem = keyProblem("public", key);
        if (problem === undefined) continue;
        const which = keys.length > 1 ? `key ${index + 1} of the list` : "";
        const shown = key.length <= MAX_SHOWN_KEY ? quote(key) : "";
        throw new SyntaxError(
          [which, shown, problem].filter((part) => part !== "").join(": "),
        );
      }
      return atMost(most, keys);
    },
  };
}

/** The name of an entry of a list, which is a word in logs and metrics; `what` it is. */
export function entryName(what: string): OptionType<string> {
  return {
    placeholder: "NAME",
    parse(text): string {
      if (/^[\w.@-]{1,64}$/.test(text)) return text;
      throw new SyntaxError(
        `${
          quote(text)
        } is no ${what}: write 1 to 64 letters, digits, . _ @ or -`,
      );
    },
  };
}

/** Public keys of servers. */
export const serverKeys: OptionType<readonly string[]> = publicKeys(MAX_KEYS);

/** A name, printable and not empty. */
export const name: OptionType<string> = {
  placeholder: "NAME",
  parse: (text) => printable(text),
};

/** A secret; no message ever has its text. */
export const secret: OptionType<Secret> = {
  placeholder: "SECRET",
  parse(text): Secret {
    if (text === "") throw new SyntaxError("it is empty");
    if (/\p{Cc}/u.test(text)) {
      throw new SyntaxError(
        "it has control characters in it, perhaps a line end",
      );
    }
    return new Secret(text);
  },
};

/** A NATS subject to publish to or a queue group: tokens with dots between, no wildcards. */
export const subject: OptionType<string> = {
  placeholder: "SUBJECT",
  parse(text): string {
    const problem = subjectProblem(text);
    if (problem === undefined) return text;
    throw new SyntaxError(`${quote(text)} is no NATS subject: ${problem}`);
  },
};

/** The ID of a client, or nothing, which gives undefined. */
export const clientId: OptionType<string | undefined> = {
  placeholder: "ID",
  parse(text): string | undefined {
    if (text === "") return undefined;
    if (isToken(text)) return text;
    throw new SyntaxError(
      `${
        quote(text)
      } is no client ID: write 1 to ${MAX_TOKEN_LENGTH} letters, digits, _ or -`,
    );
  },
};

/** A context of the `nats` command, or nothing, which gives undefined. */
export const contextName: OptionType<string | undefined> = {
  placeholder: "NAME",
  parse(text): string | undefined {
    if (text === "") return undefined;
    const problem = contextNameProblem(text);
    if (problem === undefined) return text;
    throw new SyntaxError(`${quote(text)} is no name of a context: ${problem}`);
  },
};

/**
 * What keeps `text` from being the name of a context or the path of its file,
 * in a few words; undefined when nothing does.
 */
export function contextNameProblem(text: string): string | undefined {
  if (/\p{Cc}/u.test(text)) return "it has control characters in it";
  if (text.endsWith(".json")) return undefined;
  if (text.includes("..")) return "it has .. in it";
  return /[/\\]/.test(text)
    ? "it has a slash in it, and as a path it does not end in .json"
    : undefined;
}

/** `value` when it is in `range`. */
function inRange(
  text: string,
  value: number,
  { min, max = Infinity }: Bounds,
  format: (value: number) => string,
): number {
  if (value >= min && value <= max) return value;
  throw new RangeError(
    `${quote(text)} is out of range: it may be ` +
      (value < min ? `${format(min)} at least` : `${format(max)} at most`),
  );
}

/** `list` when it is no longer than `most`. */
function atMost<T>(most: number, list: readonly T[]): readonly T[] {
  if (list.length <= most) return list;
  throw new RangeError(
    `the list has ${list.length} parts: it may have ${most}, one and the next`,
  );
}

/** The whole number in `text`, written in digits alone. */
function parseInteger(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new SyntaxError(`${quote(text)} is not a whole number`);
}

/** `text` when it is neither empty nor has control characters. */
function printable(text: string): string {
  if (text !== "" && !/\p{Cc}/u.test(text)) return text;
  throw new SyntaxError(
    `${quote(text)} is empty or has control characters in it`,
  );
}

/** What keeps `text` from being a subject to publish to. */
function subjectProblem(text: string): string | undefined {
  if (text.length > MAX_SUBJECT_LENGTH) {
    return `it is longer than ${MAX_SUBJECT_LENGTH} characters`;
  }
  if (text.split(".").includes("")) return "it has an empty token";
  if (/[*>]/.test(text)) return "it has a wildcard";
  if (/[^!-~]/.test(text)) {
    return "it has white space, control characters or characters outside ASCII";
  }
  return undefined;
}
