/**
 * Finds each line of the log that a source can write: its level and message.
 *
 * @module
 */
import { HOLE, type Literal, literalsOf } from "./literals.ts";

/** A place that writes to the log. */
export interface LogCall {
  /** The line of the source, from 1. */
  readonly line: number;
  /** The levels that it may have. */
  readonly levels: readonly string[];
  /** Its message, with `…` for what varies; undefined where it stands elsewhere. */
  readonly message: string | undefined;
}

/** A call of a logger, up to its parenthesis. */
const CALL =
  /(?:\blog|#log|getLogger\(\s*\[[^\]]*\]\s*\)|\bgetLogger\([^()]*\))\s*(?:\.(debug|info|warn|error|fatal)|\[([^\]]+)\])\(\s*/g;

/** The levels in order. */
const LEVELS = ["debug", "info", "warn", "error", "fatal"] as const;

/** The calls of loggers in `source`. */
export function logCallsOf(source: string): LogCall[] {
  const code = source.replaceAll(
    /\/\*[^]*?\*\/|(?<![:"'`\\])\/\/[^\n]*/g,
    (comment) => comment.replaceAll(/[^\n]/g, " "),
  );
  const literals = literalsOf(source);
  return [...code.matchAll(CALL)].map((match) => {
    const [whole, level, choice = ""] = match;
    const end = match.index + whole.length;
    const line = lineOf(code, end);
    return {
      line,
      levels: level === undefined
        ? LEVELS.filter((name) => choice.includes(`"${name}"`))
        : [level],
      message: /["'`]/.test(code.charAt(end))
        ? messageAt(literals, line, code.slice(end))
        : undefined,
    };
  });
}

/** The literal that begins with `rest` on this line. */
function messageAt(
  literals: readonly Literal[],
  line: number,
  rest: string,
): string | undefined {
  const start = /^.[^"'`$\\\n]*/.exec(rest)?.[0].slice(1) ?? "";
  return literals.find((literal) =>
    literal.line === line && literal.text.startsWith(start) &&
    (start !== "" || literal.text.startsWith(HOLE))
  )?.text;
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split("\n").length;
}
