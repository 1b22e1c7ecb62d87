/**
 * The public ID of this process: what people and tools tell it from others by.
 * It stands in no connection ID and opens nothing, so anybody may know it.
 *
 * @module
 */

/** Letters and digits of an ID: 36^10 are some 51 bits, so that two of a million processes are one with a chance of 1 in 7,000. */
const LENGTH = 10;

/** Without a sign that a shell, a subject or the ADR-32 of NATS could take for something else. */
const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

/** Bytes from here on would make some letters likelier than others. */
const FAIR = 256 - 256 % ALPHABET.length;

let id: string | undefined;

/** The ID of this process, or of this worker of it: made at random when it is first asked for. */
export function instanceId(): string {
  return id ??= makeInstanceId((bytes) => crypto.getRandomValues(bytes));
}

/** An ID out of bytes that nobody can guess. */
export function makeInstanceId(
  random: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array,
): string {
  let text = "";
  while (text.length < LENGTH) {
    for (const byte of random(new Uint8Array(LENGTH))) {
      if (byte >= FAIR) continue;
      text += ALPHABET[byte % ALPHABET.length] ?? "";
      if (text.length === LENGTH) break;
    }
  }
  return text;
}
