/**
 * Text on its way to a person: foreign text made harmless, and the word a
 * person probably meant.
 *
 * @module
 */

/**
 * What may not reach a terminal or a log as it is: control characters, the
 * two Unicode line ends, the marks that turn the direction of text, and what
 * nobody sees, such as a zero-width space out of a web page.
 */
const UNSAFE =
  /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/gu;

/** Short escapes, as JSON and most languages have them. */
const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

/** Longest piece of foreign text shown in an error message, in UTF-16 units. */
const QUOTE_LIMIT = 80;

/**
 * `text` with each character that could break a line, move a cursor, turn the
 * direction of text or stay unseen written as an escape. The escapes are those
 * of JSON, so escaped JSON is still the same JSON.
 */
export function escapeUnsafe(text: string): string {
  return text.replace(
    UNSAFE,
    (character) => SHORT_ESCAPES.get(character) ?? escapeUnits(character),
  );
}

/** Each UTF-16 unit of `character` as JSON escapes it. */
function escapeUnits(character: string): string {
  return character.split("").map((unit) =>
    "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0")
  ).join("");
}

/**
 * `text` in double quotes on one line, for an error message: escaped, and cut
 * at `limit` UTF-16 units with an ellipsis.
 */
export function quote(text: string, limit: number = QUOTE_LIMIT): string {
  const cut = text.length > limit ? text.slice(0, limit) + "…" : text;
  return escapeUnsafe(JSON.stringify(cut));
}

/** `names` on one line, at most so many of them and the number of the others. */
export function joined(names: readonly string[], most: number): string {
  const more = names.length - most;
  const told = names.slice(0, most).join(", ");
  return more > 0 ? `${told} and ${more} more` : told;
}

/**
 * `text`, which may be one URL or several, with everything that could be a
 * secret replaced by `***`: whatever stands before the last `@`, and the seed
 * of an nkey, which somebody took for a path or a public key.
 */
export function redactUrl(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1***@")
    .replaceAll(/(?<![A-Z2-7])S[A-Z][A-Z2-7]{20,}/g, "***");
}

/**
 * The candidate that `word` was most probably meant to be, or undefined when
 * none is near. Case, dashes, dots and underscores do not count, so that
 * `-natsUrl` finds `--nats-url`.
 */
export function closest(
  word: string,
  candidates: Iterable<string>,
): string | undefined {
  const wanted = skeleton(word);
  // One slip in three letters is a typing mistake; more is another word.
  let best = Math.floor(wanted.length / 3) + 1;
  let found: string | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, skeleton(candidate));
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

/** The letters and digits of `word`, in lower case, bounded in length. */
function skeleton(word: string): string {
  return word.slice(0, QUOTE_LIMIT).toLowerCase().replace(/[^a-z0-9]/g, "");
}

/** Levenshtein distance: the fewest letters to add, drop or replace. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      line.push(Math.min(
        (line[column - 1] ?? Infinity) + 1,
        (above[column] ?? Infinity) + 1,
        (above[column - 1] ?? Infinity) + (same ? 0 : 1),
      ));
    }
    above = line;
  }
  return above[b.length] ?? Infinity;
}
