/**
 * The command line of `key`, which makes keys and shows them.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { closest, quote, redactUrl } from "../base/text.ts";
import { secretPath } from "./types.ts";

/** The word that a command line about keys begins with. */
export const KEY_WORD = "key";

/** What is to be done about keys. */
export type KeyCommand =
  /** Make a secret: a key pair, or what all processes share. */
  | {
    readonly kind: "generate" | "psk";
    /** The file it goes to; undefined for standard output. */
    readonly out: string | undefined;
  }
  /** Show the public keys of these files. */
  | { readonly kind: "show"; readonly paths: readonly string[] };

const KINDS = ["generate", "psk", "show"] as const;

/**
 * What the words after `key` ask for.
 *
 * @throws {UsageError} for what is no command.
 */
export function parseKeyCommand(args: readonly string[]): KeyCommand {
  const [word = "", ...rest] = args;
  const kind = KINDS.find((kind) => kind === word);
  switch (kind) {
    case "generate":
    case "psk":
      return { kind, out: parseOut(kind, rest) };
    case "show":
      return { kind, paths: parsePaths(rest) };
    case undefined: {
      const near = closest(word, KINDS);
      const hint = near === undefined ? "" : ` (did you mean key ${near}?)`;
      throw new UsageError(
        word === ""
          ? `${KEY_WORD} is followed by ${KINDS.join(", ")}`
          : `Unknown command ${quote(redactUrl(`${KEY_WORD} ${word}`))}${hint}`,
      );
    }
  }
}

function parsePaths(args: readonly string[]): readonly string[] {
  const flag = args.find((arg) => arg.startsWith("-"));
  if (flag !== undefined) throw unexpected("show", flag);
  for (const path of args) {
    try {
      secretPath.parse(path);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new UsageError(`${KEY_WORD} show: ${error.message}`);
    }
  }
  if (args.length > 0) return args;
  throw new UsageError(
    `${KEY_WORD} show needs the path of a secret key's file`,
  );
}

function parseOut(kind: string, args: readonly string[]): string | undefined {
  const [flag, ...rest] = args;
  if (flag === undefined) return undefined;
  const inline = /^--?out=(.*)$/s.exec(flag)?.[1];
  const [path, more] = inline !== undefined
    ? [inline, rest[0]]
    : /^--?out$/.test(flag)
    ? rest
    : [undefined, flag];
  if (more !== undefined) throw unexpected(kind, more);
  if (path === undefined || path === "") {
    throw new UsageError("--out needs a value");
  }
  return path;
}

function unexpected(kind: string, arg: string): UsageError {
  return new UsageError(
    `Unexpected argument ${quote(redactUrl(arg))} of ${KEY_WORD} ${kind}`,
  );
}
