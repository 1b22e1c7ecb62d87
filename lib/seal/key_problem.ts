/**
 * What is wrong with the text of a key, told without a letter of it: a seed
 * that was mistyped is a secret still.
 *
 * @module
 */
import { parsePublicKey, parseSeed } from "./keys.ts";

/** What a key is written as: a seed is secret, a public key is for others. */
export type KeyKind = "seed" | "public";

/** What a key of each kind is called, begins with, and how many letters it has. */
const FORMS = {
  seed: { noun: "seed", start: "SX", letters: 58 },
  public: { noun: "public key", start: "X", letters: 56 },
} as const;

/** What keeps `text` from being a key of this kind, as a clause; undefined if nothing does. */
export function keyProblem(kind: KeyKind, text: string): string | undefined {
  const parse = kind === "seed" ? parseSeed : parsePublicKey;
  if (parse(text) !== undefined) return undefined;
  const { noun, start, letters } = FORMS[kind];
  if (kind === "seed" && parsePublicKey(text) !== undefined) {
    return "it is a public key (X...) where the secret seed (SX...) must be";
  }
  if (kind === "public" && text.startsWith(FORMS.seed.start)) {
    return "it is a secret seed (SX...) where the public key (X...) must be, which 'key show' tells; it is secret no more if others can read this";
  }
  if (!text.startsWith(start)) {
    return `it does not begin with ${start}, as each ${noun} of 'key generate' does; keys of NATS users and accounts are of another kind`;
  }
  if (!/^[A-Z2-7]*$/.test(text)) {
    return "it has characters other than A to Z and 2 to 7";
  }
  if (text.length !== letters) {
    return `it has ${text.length} characters, and each ${noun} has ${letters}`;
  }
  return "its check sum is wrong: a character is mistyped";
}
