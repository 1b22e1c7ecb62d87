/** What parsers of front-ends make of bytes that come in pieces. */
import {
  concat,
  type FrontParser,
  type FrontRequest,
} from "../../lib/front/parser.ts";

/** What came of all pieces. */
export type Described =
  | {
    readonly type: "more" | "end";
    /** All that was answered, in hexadecimals. */
    readonly answer: string;
    /** The same as it is. */
    readonly raw: Uint8Array;
    readonly why: string | undefined;
  }
  | {
    readonly type: "request";
    readonly answer: string;
    readonly request: FrontRequest;
    /** The pieces that came after it. */
    readonly unread: Uint8Array;
  };

/** Bytes in hexadecimals, with blanks between. */
export function told(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join(" ");
}

/** Gives `parser` one piece after the other, until it wants no more. */
export function describe(
  parser: FrontParser,
  pieces: readonly Uint8Array[],
): Described {
  let raw: Uint8Array = new Uint8Array(0);
  for (const [at, piece] of pieces.entries()) {
    const step = parser.push(piece);
    raw = concat(raw, step.answer);
    const answer = told(raw);
    if (step.type === "end") return { type: "end", answer, raw, why: step.why };
    if (step.type === "request") {
      const unread = concat(...pieces.slice(at + 1));
      return { type: "request", answer, request: step.request, unread };
    }
  }
  return { type: "more", answer: told(raw), raw, why: undefined };
}

/** `bytes` whole, cut in two at each place (of a long text at some), and byte by byte. */
export function* everySplit(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  const step = Math.max(1, Math.floor(bytes.length / 200));
  for (let at = 1; at < bytes.length; at += step) {
    yield [bytes.slice(0, at), bytes.slice(at)];
  }
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}
