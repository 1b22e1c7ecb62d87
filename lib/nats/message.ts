/**
 * A received message as the shell sees it: one object used again and again,
 * whose parts are views into the read buffer and are decoded only when asked
 * for.
 *
 * @module
 */

import type { BusMessage } from "./bus.ts";
import type { NatsParser } from "./parser.ts";

const decoder = new TextDecoder();
const NOTHING: Uint8Array = new Uint8Array(0);

/** The message a {@linkcode NatsParser} stands at. */
export class InboundMessage implements BusMessage {
  readonly #parser: NatsParser;
  readonly #subjects = new SubjectTable();
  #bytes = NOTHING;
  #data: Uint8Array | undefined;
  #headers: string | undefined;

  /** Makes a message that follows `parser`. */
  constructor(parser: NatsParser) {
    this.#parser = parser;
  }

  /** Takes on the message that the parser found last in `bytes`. */
  moveTo(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#data = undefined;
    this.#headers = undefined;
  }

  /** The subject, as bytes. */
  get subjectBytes(): Uint8Array {
    const { subjectStart, subjectEnd } = this.#parser;
    return this.#bytes.subarray(subjectStart, subjectEnd);
  }

  /** The subject. */
  get subject(): string {
    const { subjectStart, subjectEnd } = this.#parser;
    return this.#subjects.get(this.#bytes, subjectStart, subjectEnd);
  }

  /** The subject to answer to, or the empty string. */
  get reply(): string {
    const { replyStart, replyEnd } = this.#parser;
    if (replyStart === replyEnd) return "";
    return decoder.decode(this.#bytes.subarray(replyStart, replyEnd));
  }

  /** The payload. */
  get data(): Uint8Array {
    return this.#data ??= this.#bytes.subarray(
      this.#parser.dataStart,
      this.#parser.dataEnd,
    );
  }

  /** The number in the first line of the headers, or 0. */
  get status(): number {
    const { headerStart, dataStart } = this.#parser;
    if (headerStart === dataStart) return 0;
    const [, status] = /^NATS\/1\.0[ \t]+(\d{3})\b/.exec(this.#headerText()) ??
      [];
    return status === undefined ? 0 : Number(status);
  }

  /** The first value of header `name`, in any case, or undefined. */
  header(name: string): string | undefined {
    const { headerStart, dataStart } = this.#parser;
    if (headerStart === dataStart) return undefined;
    const wanted = name.toLowerCase();
    const lines = this.#headerText().split("\r\n");
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(":");
      if (colon > 0 && line.slice(0, colon).toLowerCase() === wanted) {
        return line.slice(colon + 1).trim();
      }
    }
    return undefined;
  }

  #headerText(): string {
    const { headerStart, dataStart } = this.#parser;
    return this.#headers ??= decoder.decode(
      this.#bytes.subarray(headerStart, dataStart),
    );
  }
}

/** Places for subjects seen: enough for the tunnels that are busy at one time. */
const TABLE_SLOTS = 1024;

/** Longest subject kept, in bytes: bounds the table to 256 KiB. */
const MAX_KEPT_BYTES = 256;

/** How many of a subject's last bytes are hashed: where subjects differ most. */
const HASHED_BYTES = 12;

/**
 * Decodes subjects, and remembers the latest ones: finding one again costs
 * half of decoding it, and the string is the same one, already hashed for the
 * map it is looked up in.
 */
class SubjectTable {
  readonly #slots = new Array<
    { readonly bytes: Uint8Array; readonly text: string } | undefined
  >(TABLE_SLOTS).fill(undefined);

  /** The text from `start` to `end` of `bytes`. */
  get(bytes: Uint8Array, start: number, end: number): string {
    let hash = end - start;
    for (let i = Math.max(start, end - HASHED_BYTES); i < end; i++) {
      hash = (Math.imul(hash, 31) + (bytes[i] ?? 0)) | 0;
    }
    const slot = hash & (TABLE_SLOTS - 1);
    const kept = this.#slots[slot];
    if (kept !== undefined && sameBytes(kept.bytes, bytes, start, end)) {
      return kept.text;
    }
    const text = decoder.decode(bytes.subarray(start, end));
    if (end - start <= MAX_KEPT_BYTES) {
      this.#slots[slot] = { bytes: bytes.slice(start, end), text };
    }
    return text;
  }
}

function sameBytes(
  kept: Uint8Array,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (kept.length !== end - start) return false;
  // From the end, where subjects differ.
  for (let i = kept.length - 1; i >= 0; i--) {
    if (kept[i] !== bytes[start + i]) return false;
  }
  return true;
}
