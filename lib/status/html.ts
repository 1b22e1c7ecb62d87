/**
 * HTML in which nothing foreign can be anything but text: each value in a
 * template is escaped, unless it is HTML that was made here. Pure.
 *
 * @module
 */
import { escapeUnsafe } from "../base/text.ts";

/** HTML that was made by {@linkcode html}. */
export class Html {
  /** The text of it. */
  readonly text: string;

  /** Takes `text` as it is: for this file alone. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a template; false and undefined are nothing. */
export type Part = Html | string | number | false | undefined | readonly Part[];

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** HTML of a template: its values are text, in elements as in quoted attributes. */
export function html(
  strings: TemplateStringsArray,
  ...values: readonly Part[]
): Html {
  const pieces = fixedPieces(strings);
  return new Html(
    pieces.map((piece, at) => piece + textOf(values[at])).join(""),
  );
}

/** What is fixed of each template, by its place in the program. */
const FIXED = new WeakMap<TemplateStringsArray, readonly string[]>();

/** What is fixed of a template, without the lines and indents of its source. */
function fixedPieces(strings: TemplateStringsArray): readonly string[] {
  const known = FIXED.get(strings);
  if (known !== undefined) return known;
  const pieces = strings.map((piece) => piece.replaceAll(/\s*\n\s*/g, " "));
  FIXED.set(strings, pieces);
  return pieces;
}

/** HTML of constants of this program, such as its style sheet. */
export function trusted(text: string): Html {
  return new Html(text);
}

function textOf(value: Part): string {
  if (value === undefined || value === false) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "number") return String(value);
  if (typeof value === "object") return value.map(textOf).join("");
  // Nor may it turn the direction of what follows.
  return escapeUnsafe(value)
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}
