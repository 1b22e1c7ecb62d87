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
/** Most bytes of headers that are read: our longest are some 300, and garbage is to be cheap. */
const MAX_HEADER_BYTES = 8 * 1024;

const NOTHING: Uint8Array = new Uint8Array(0);

/** The message a {@linkcode NatsParser} stands at. */
export class InboundMessage implements BusMessage {
  readonly #parser: NatsParser;
  #bytes = NOTHING;
  #data: Uint8Array | undefined;
  #headers: ParsedHeaders | undefined;

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
    return decoder.decode(this.subjectBytes);
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
    return this.#parsedHeaders().status;
  }

  /** The first value of header `name`, in any case, or undefined. */
  header(name: string): string | undefined {
    const { headerStart, dataStart } = this.#parser;
    if (headerStart === dataStart) return undefined;
    return this.#parsedHeaders().values.get(name.toLowerCase());
  }

  #parsedHeaders(): ParsedHeaders {
    const { headerStart, dataStart } = this.#parser;
    const end = Math.min(dataStart, headerStart + MAX_HEADER_BYTES);
    return this.#headers ??= parseHeaders(
      decoder.decode(this.#bytes.subarray(headerStart, end)),
    );
  }
}

/** The headers of a message, taken apart once. */
interface ParsedHeaders {
  readonly status: number;
  /** First values, by names in lower case. */
  readonly values: ReadonlyMap<string, string>;
}

function parseHeaders(text: string): ParsedHeaders {
  const [first = "", ...lines] = text.split("\r\n");
  const [, status = "0"] = /^NATS\/1\.0[ \t]+(\d{3})\b/.exec(first) ?? [];
  const values = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    if (!values.has(name)) values.set(name, line.slice(colon + 1).trim());
  }
  return { status: Number(status), values };
}
