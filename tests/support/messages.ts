/**
 * Which texts of a source are messages for users, which a guide quotes, and
 * whether the two agree.
 *
 * @module
 */
import { HOLE, type Literal, literalsOf } from "./literals.ts";

/** Two words, or a word and a hole: what a person may read, and no name or key. */
const PROSE = /(?:\p{L}{2}|…)\S* +\S*(?:\p{L}|…)/u;

/** What makes a message of each text within it, even of a single word. */
const TELLS =
  /\.(?:warn|error|fatal)$|\blog\[\w+\]$|^new (?:RunError|UsageError)$|notReadyReason$/i;

/** Names that do the same for a text. */
const TOLD_AS = /^(?:text|why|notReadyReason)$/;

/** What a quote has for a hole: what varies in it, too, or a few words. */
const VARIES = `(?:.*${HOLE}.*| ?\\S*(?: \\S+){0,2} ?)`;

/** Names of texts that say what to do, or what there is: they are no news. */
const ADVICE = /^(?:help|usage|notes|todo)$/;

/** Functions that give such texts. */
const ADVISES = /remed/i;

/** Lines of the log that tell of nothing wrong. */
const QUIET = /\.(?:debug|info)$/;

/**
 * The messages of a source: each of its texts that a user may come to read.
 * Any text of two words counts: so none can hide in a constant, a function or
 * the hole of another.
 */
export function messagesOf(source: string): Literal[] {
  return literalsOf(source).filter(({ text, within, name }) =>
    /\p{L}{2}/u.test(text) &&
    !within.some((it) => QUIET.test(it) || ADVISES.test(it)) &&
    !ADVICE.test(name) &&
    (PROSE.test(text) || TOLD_AS.test(name) ||
      within.some((it) => TELLS.test(it)))
  );
}

/**
 * The messages that a guide quotes: the code in its headings, and in the first
 * column of its tables. Code elsewhere quotes nothing.
 */
export function quotesOf(markdown: string): string[] {
  return markdown.split("\n")
    .map((line) =>
      /^#+ .*/.exec(line)?.[0] ?? /^\|(?:\\\||[^|])*/.exec(line)?.[0] ?? ""
    )
    .flatMap((place) => [...place.matchAll(/`([^`]+)`/g)])
    .map(([, code = ""]) => normal(code.replaceAll("\\|", "|")));
}

/**
 * Whether one of `quotes` has the message: its parts in their order, with what
 * varies between them. A single word must be a quote of its own.
 */
export function isQuoted(message: string, quotes: readonly string[]): boolean {
  const text = normal(message);
  if (/^\S*$/.test(text) && !text.includes(HOLE)) return quotes.includes(text);
  const parts = partsOf(text).map((part) =>
    (/^\p{L}/u.test(part) ? "(?<![\\p{L}\\d])" : "") + escape(part) +
    (/\p{L}$/u.test(part) ? "(?![\\p{L}\\d])" : "")
  );
  const pattern = new RegExp(parts.join(VARIES), "u");
  return quotes.some((quote) => pattern.test(quote));
}

/** Finds out what of a quote no source says. */
export class Said {
  readonly #parts = new Map<string, string[]>();

  /** Takes in the texts of all sources. */
  constructor(texts: Iterable<string>) {
    for (const part of new Set([...texts].flatMap(partsOf))) {
      const first = part.charAt(0);
      this.#parts.set(first, [...this.#parts.get(first) ?? [], part]);
    }
  }

  /** The parts of `quote` that are not put together of texts of the sources. */
  unsaid(quote: string): string[] {
    return partsOf(quote).filter((part) => !this.#covers(part));
  }

  #covers(part: string): boolean {
    const reached = new Set([0]);
    for (let at = 0; at < part.length; at++) {
      if (!reached.has(at)) continue;
      if (part.charAt(at) === " ") reached.add(at + 1);
      for (const text of this.#parts.get(part.charAt(at)) ?? []) {
        const end = at + text.length;
        const whole = !isInWord(part, at) && !isInWord(part, end);
        if (whole && part.startsWith(text, at)) reached.add(end);
      }
    }
    return reached.has(part.length);
  }
}

/** Whether a word goes on at `at`. */
function isInWord(text: string, at: number): boolean {
  return /^\p{L}\p{L}$/u.test(text.slice(Math.max(0, at - 1), at + 1));
}

/** What is fixed of a text. */
function partsOf(text: string): string[] {
  return normal(text).split(HOLE).map((part) => part.trim())
    .filter((part) => part !== "");
}

/** A text however its lines are broken. */
function normal(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

function escape(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
