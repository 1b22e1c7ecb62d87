/**
 * The command `key`: makes secrets, and shows what others may know of them.
 *
 * @module
 */
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { KeyCommand } from "../config/key_command.ts";
import { Problems } from "../config/problems.ts";
import {
  formatPublicKey,
  formatSeed,
  KEY_BYTES,
  keyPairOf,
  parseSeed,
} from "../seal/keys.ts";
import { readSeed } from "./key_files.ts";

/** What a command says. */
export interface Said {
  /** What was asked for, for standard output. */
  readonly output: string;
  /** What else a person should know; for standard error. */
  readonly note?: string;
}

/**
 * Carries out `command`.
 *
 * @throws {UsageError} when a file is none that it can be asked of.
 * @throws {RunError} when a file cannot be written.
 */
export function runKeyCommand(command: KeyCommand): Said {
  switch (command.kind) {
    case "generate": {
      const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
      const publicKey = formatPublicKey(keyPairOf(bytes).publicKey);
      const seed = formatSeed(bytes).reveal();
      // As age-keygen does; nk and nsc pass over the comment.
      const text = `# public key: ${publicKey}\n${seed}\n`;
      return command.out === undefined
        ? { output: text, note: `Public key: ${publicKey}` }
        : { output: `${publicKey}\n`, note: writeSecret(command.out, text) };
    }
    case "psk": {
      const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
      const text = `${bytes.toBase64()}\n`;
      return command.out === undefined
        ? { output: text }
        : { output: "", note: writeSecret(command.out, text) };
    }
    case "show":
      return { output: showAll(command.paths) };
  }
}

/** The public keys of the files, a line each. */
function showAll(paths: readonly string[]): string {
  const problems = new Problems();
  const keys = paths.flatMap((path) =>
    problems.attempt(() =>
      parseSeed(readSeed(path, { flag: "key show", pipes: new Map() }))
    ) ?? []
  );
  problems.throwIfAny();
  return keys.map(({ publicKey }) => `${formatPublicKey(publicKey)}\n`)
    .join("");
}

/** Writes a new file that only its owner may read; says where it is. */
function writeSecret(path: string, text: string): string {
  const { state } = Deno.permissions.querySync({ name: "write", path });
  if (state !== "granted") {
    throw new UsageError(
      `--out: no permission to write ${
        quote(path)
      } (Deno gives it with --allow-write=${path})`,
    );
  }
  try {
    Deno.writeTextFileSync(path, text, { createNew: true, mode: 0o600 });
  } catch (cause) {
    if (cause instanceof Deno.errors.AlreadyExists) {
      throw new UsageError(
        `--out: ${quote(path)} exists, and is left as it is: name a new file`,
        { cause },
      );
    }
    throw new RunError(`Cannot write ${quote(path)}: ${messageOf(cause)}`, {
      cause,
    });
  }
  return `The secret is in ${
    quote(path)
  }, which only its owner may read; nobody else needs it`;
}
