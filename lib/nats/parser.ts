/**
 * The framing of the NATS protocol, from the broker to us: where each
 * operation in a buffer begins and ends, and where its parts lie.
 *
 * It is a cursor over somebody else's buffer: it copies nothing, keeps no
 * bytes and allocates nothing per message. What is incomplete is simply asked
 * for again when there is more, so an operation that arrives in pieces needs
 * no second path.
 *
 * @module
 */

/**
 * The longest control line in bytes. Brokers let through lines of 4096 bytes
 * unless configured otherwise, MSG lines have a subscription ID more, and INFO
 * lists a cluster's addresses; ten times that is a broken peer.
 */
export const MAX_LINE_BYTES = 64 * 1024;

/** The largest payload a broker can be configured for (its own hard limit), in bytes. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** What {@linkcode NatsParser.parse} found. */
export const OP = {
  /** Not all of the next operation is there yet. */
  incomplete: 0,
  /** A message (MSG or HMSG). */
  message: 1,
  /** PING. */
  ping: 2,
  /** PONG. */
  pong: 3,
  /** +OK. */
  ok: 4,
  /** -ERR; its text lies from `argStart` to `argEnd`. */
  error: 5,
  /** INFO; its JSON lies from `argStart` to `argEnd`. */
  info: 6,
} as const;

/** A value of {@linkcode OP}. */
export type Op = typeof OP[keyof typeof OP];

/** The bytes are no NATS protocol: the connection cannot go on. */
export class NatsProtocolError extends Error {
  /** What stack traces call it. */
  override readonly name = "NatsProtocolError";
}

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const ZERO = 48;
const NINE = 57;

/** Most words of a control line: HMSG subject sid reply header-size size. */
const MAX_WORDS = 6;

/** Digits of the longest number read: nine, so that no sum leaves 2^53. */
const MAX_DIGITS = 9;

const KEYWORDS = {
  MSG: ascii("MSG"),
  HMSG: ascii("HMSG"),
  PING: ascii("PING"),
  PONG: ascii("PONG"),
  OK: ascii("+OK"),
  ERR: ascii("-ERR"),
  INFO: ascii("INFO"),
};

/** A cursor over protocol bytes. Its fields describe the operation found last. */
export class NatsParser {
  /** Where the operation ends: the start of the next one. */
  end = 0;
  /**
   * After `incomplete`: how many bytes, counted from where parsing started,
   * must be there before it is worth asking again.
   */
  needed = 0;
  /** Start of the argument of INFO or -ERR. */
  argStart = 0;
  /** End of the argument of INFO or -ERR. */
  argEnd = 0;
  /** ID of the subscription a message is for. */
  sid = 0;
  /** Start of a message's subject. */
  subjectStart = 0;
  /** End of a message's subject. */
  subjectEnd = 0;
  /** Start of a message's reply subject; equal to `replyEnd` without one. */
  replyStart = 0;
  /** End of a message's reply subject. */
  replyEnd = 0;
  /** Start of a message's headers; equal to `dataStart` without any. */
  headerStart = 0;
  /** Start of a message's payload, which is where its headers end. */
  dataStart = 0;
  /** End of a message's payload. */
  dataEnd = 0;

  readonly #starts = new Int32Array(MAX_WORDS);
  readonly #ends = new Int32Array(MAX_WORDS);

  /**
   * Looks at the operation at `start` of the bytes `start` to `limit` of
   * `bytes`, and sets the fields that describe it.
   *
   * @throws {NatsProtocolError} when the bytes are not NATS.
   */
  parse(bytes: Uint8Array, start: number, limit: number): Op {
    if (start >= limit) return this.#incomplete(1);
    switch (bytes[start]) {
      case 77: // M
        return this.#message(bytes, start, limit, false);
      case 72: // H
        return this.#message(bytes, start, limit, true);
      case 80: // P
        return bytes[start + 1] === 73 /* I */
          ? this.#bare(bytes, start, limit, KEYWORDS.PING, OP.ping)
          : this.#bare(bytes, start, limit, KEYWORDS.PONG, OP.pong);
      case 43: // +
        return this.#bare(bytes, start, limit, KEYWORDS.OK, OP.ok);
      case 45: // -
        return this.#argument(bytes, start, limit, KEYWORDS.ERR, OP.error);
      case 73: // I
        return this.#argument(bytes, start, limit, KEYWORDS.INFO, OP.info);
      default:
        throw unexpected(bytes, start, limit);
    }
  }

  #incomplete(needed: number): Op {
    this.needed = needed;
    return OP.incomplete;
  }

  /** An operation that is a keyword and nothing else. */
  #bare(
    bytes: Uint8Array,
    start: number,
    limit: number,
    keyword: Uint8Array,
    op: Op,
  ): Op {
    requireKeyword(bytes, start, limit, keyword);
    const end = start + keyword.length + 2;
    if (end > limit) return this.#incomplete(keyword.length + 2);
    if (bytes[end - 2] !== CR || bytes[end - 1] !== LF) {
      throw unexpected(bytes, start, limit);
    }
    this.end = end;
    return op;
  }

  /** An operation that is a keyword and the rest of its line. */
  #argument(
    bytes: Uint8Array,
    start: number,
    limit: number,
    keyword: Uint8Array,
    op: Op,
  ): Op {
    requireKeyword(bytes, start, limit, keyword);
    const from = start + keyword.length;
    if (from < limit && !isBlank(bytes[from])) {
      throw unexpected(bytes, start, limit);
    }
    const lineLimit = Math.min(limit, start + MAX_LINE_BYTES);
    let i = from;
    while (i < lineLimit && bytes[i] !== LF) i++;
    if (i >= lineLimit) return this.#unfinishedLine(start, limit);
    if (i === from || bytes[i - 1] !== CR) {
      throw unexpected(bytes, start, limit);
    }
    let argStart = from;
    while (isBlank(bytes[argStart])) argStart++;
    this.argStart = argStart;
    this.argEnd = i - 1;
    this.end = i + 1;
    return op;
  }

  /** `[H]MSG subject sid [reply] [header-size] size` and the payload. */
  #message(
    bytes: Uint8Array,
    start: number,
    limit: number,
    withHeaders: boolean,
  ): Op {
    requireKeyword(
      bytes,
      start,
      limit,
      withHeaders ? KEYWORDS.HMSG : KEYWORDS.MSG,
    );
    const starts = this.#starts;
    const ends = this.#ends;
    const lineLimit = Math.min(limit, start + MAX_LINE_BYTES);
    let words = 0;
    let inWord = false;
    let i = start;
    let byte = 0;
    for (; i < lineLimit; i++) {
      byte = bytes[i] ?? 0;
      // Whatever the broker lets pass in a subject is part of it.
      if (!isBlank(byte) && byte !== CR && byte !== LF) {
        if (!inWord) {
          if (words === MAX_WORDS) throw unexpected(bytes, start, limit);
          starts[words] = i;
          inWord = true;
        }
      } else {
        if (inWord) {
          ends[words++] = i;
          inWord = false;
        }
        if (!isBlank(byte)) break;
      }
    }
    if (i === lineLimit || (byte === CR && i + 1 === limit)) {
      return this.#unfinishedLine(start, limit);
    }
    if (byte !== CR || bytes[i + 1] !== LF) {
      throw unexpected(bytes, start, limit);
    }
    const numbers = withHeaders ? 2 : 1;
    const hasReply = words === 4 + numbers;
    if (
      (!hasReply && words !== 3 + numbers) ||
      ends[0] !== start + (withHeaders ? 4 : 3)
    ) {
      throw unexpected(bytes, start, limit);
    }
    this.sid = readNumber(bytes, starts[2] ?? 0, ends[2] ?? 0);
    const size = readNumber(
      bytes,
      starts[words - 1] ?? 0,
      ends[words - 1] ?? 0,
    );
    const headerSize = withHeaders
      ? readNumber(bytes, starts[words - 2] ?? 0, ends[words - 2] ?? 0)
      : 0;
    if (headerSize > size || size > MAX_MESSAGE_BYTES) {
      throw new NatsProtocolError(
        `a message of ${size} bytes with ${headerSize} bytes of headers was announced`,
      );
    }
    const headerStart = i + 2;
    const dataEnd = headerStart + size;
    const end = dataEnd + 2;
    if (end > limit) return this.#incomplete(end - start);
    if (bytes[dataEnd] !== CR || bytes[dataEnd + 1] !== LF) {
      throw new NatsProtocolError("a message does not end where it says");
    }
    this.subjectStart = starts[1] ?? 0;
    this.subjectEnd = ends[1] ?? 0;
    if (hasReply) {
      this.replyStart = starts[3] ?? 0;
      this.replyEnd = ends[3] ?? 0;
    } else {
      this.replyStart = this.replyEnd = 0;
    }
    this.headerStart = headerStart;
    this.dataStart = headerStart + headerSize;
    this.dataEnd = dataEnd;
    this.end = end;
    return OP.message;
  }

  /** The line at `start` has no end yet. */
  #unfinishedLine(start: number, limit: number): Op {
    if (limit - start >= MAX_LINE_BYTES) {
      throw new NatsProtocolError(
        `a control line is longer than ${MAX_LINE_BYTES} bytes`,
      );
    }
    return this.#incomplete(limit - start + 1);
  }
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB;
}

/** Checks as much of `keyword` as is there. */
function requireKeyword(
  bytes: Uint8Array,
  start: number,
  limit: number,
  keyword: Uint8Array,
): void {
  const length = Math.min(keyword.length, limit - start);
  for (let i = 0; i < length; i++) {
    if (bytes[start + i] !== keyword[i]) throw unexpected(bytes, start, limit);
  }
}

/** The number in `bytes` from `start` to `end`. */
function readNumber(bytes: Uint8Array, start: number, end: number): number {
  if (end === start || end - start > MAX_DIGITS) {
    throw new NatsProtocolError(`a number has ${end - start} digits`);
  }
  let value = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (byte < ZERO || byte > NINE) {
      throw new NatsProtocolError("a number has a character that is no digit");
    }
    value = value * 10 + byte - ZERO;
  }
  return value;
}

/** How many bytes of what was not understood an error shows. */
const SHOWN_BYTES = 32;

function unexpected(
  bytes: Uint8Array,
  start: number,
  limit: number,
): NatsProtocolError {
  const shown = new TextDecoder().decode(
    bytes.subarray(start, Math.min(limit, start + SHOWN_BYTES)),
  );
  return new NatsProtocolError(`unexpected bytes ${JSON.stringify(shown)}`);
}
