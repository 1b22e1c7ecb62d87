/**
 * Tables in plain text, for a terminal of 80 columns: what tools show people.
 *
 * @module
 */
import { escapeUnsafe } from "../base/text.ts";

/** Columns of a terminal, where nothing else is known. */
const WIDTH = 80;

/** Least width of the last column, in characters, however wide the others are. */
const LEAST_LAST = 12;

/** A column. */
export interface Column {
  /** Its heading. */
  readonly name: string;
  /** Most characters of it; what is longer is cut. The last one wraps instead. */
  readonly most?: number;
  /** Whether it is numbers, which stand at the right. */
  readonly right?: boolean;
}

/**
 * `rows` as a table, with a line end; foreign text in it is made harmless.
 * Columns without anything in them are left out.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const cells = rows.map((row) => row.map(escapeUnsafe));
  const used = columns.map((_, at) => cells.some((row) => row[at] !== ""));
  const shown = columns.filter((_, at) => used[at]);
  const body = cells.map((row) =>
    row.filter((_, at) => used[at])
      .map((cell, at) => cut(cell, shown[at]?.most))
  );
  const widths = shown.map(({ name }, at) =>
    Math.max(name.length, ...body.map((row) => row[at]?.length ?? 0))
  );
  const last = shown.length - 1;
  const before = widths.slice(0, last).reduce((sum, one) => sum + one + 2, 0);
  const room = Math.max(LEAST_LAST, WIDTH - before);
  const lines = [shown.map(({ name }) => name), ...body].flatMap((row) => {
    const wrapped = wrap(row[last] ?? "", room);
    const head = row.slice(0, last).map((cell, at) =>
      shown[at]?.right
        ? cell.padStart(widths[at] ?? 0)
        : cell.padEnd(widths[at] ?? 0)
    );
    return wrapped.map((part, at) =>
      at === 0 ? [...head, part].join("  ") : " ".repeat(before) + part
    );
  });
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

/** A time that something took, in ms, as `ping` writes it: three digits that count. */
export function formatMs(ms: number): string {
  if (ms >= 100) return ms.toFixed(0);
  return ms >= 10 ? ms.toFixed(1) : ms.toFixed(2);
}

/** Milliseconds to the microsecond. */
export function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

function cut(text: string, most = Infinity): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** The words of `text` in lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${line} ${word}`;
    } else lines.push(word);
  }
  return lines;
}
