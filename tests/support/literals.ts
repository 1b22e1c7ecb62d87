/**
 * Reads the text literals out of TypeScript: strings and templates, also those
 * within the holes of others, with the calls they stand in.
 *
 * @module
 */

/** Stands for a hole of a template, and in a guide for what varies. */
export const HOLE = "…";

/** A string or a template of a source. */
export interface Literal {
  /** Its text, with {@linkcode HOLE} for each hole. */
  readonly text: string;
  /** The line it begins on, from 1. */
  readonly line: number;
  /** What is called with it, or has it in its body, from the outermost to the innermost: `this.#log.warn`. */
  readonly within: readonly string[];
  /** The name that it is given, as in `text: "..."`; empty without one. */
  readonly name: string;
}

/** What is called, at the end of the code before a parenthesis. */
const CALLEE = /((?:new\s+)?[\w$#.?]+(?:\[\w+\])?)\s*$/;

/** The function whose body begins at the end of this code. */
const FUNCTION = /([\w#]+)\([^()]*\)(?::[^{}();]*)?\s*$/;

/** The name of what follows, at the end of the code before it. */
const NAME = /(\w+)\s*\??(?::(?:[\w\s|<>[\]]*=)?|=)\s*$/;

/** What may stand before an expression: after it a slash begins a pattern, and is no division. */
const BEFORE_EXPRESSION =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|case|typeof))\s*$/;

/** The text literals of `source`, in the order in which they end. */
export function literalsOf(source: string): Literal[] {
  return new Reader(source).read();
}

/** A bracket that is open. */
interface Open {
  /** What closes it. */
  readonly end: string;
  /** What is called, or is defined; empty for other brackets. */
  readonly of: string;
}

class Reader {
  readonly #source: string;
  readonly #found: Literal[] = [];
  readonly #open: Open[] = [];
  #at = 0;
  /** The code up to here, on one line and without comments and texts. */
  #code = "";

  constructor(source: string) {
    this.#source = source;
  }

  read(): Literal[] {
    this.#readCode();
    if (this.#at < this.#source.length) throw this.#fault("a bracket too many");
    return this.#found;
  }

  /** Reads to the bracket that closes what was open, or to the end. */
  #readCode(): void {
    const depth = this.#open.length;
    while (this.#at < this.#source.length) {
      const char = this.#source.charAt(this.#at);
      if (char === this.#open[depth - 1]?.end && this.#open.length === depth) {
        return;
      }
      this.#readToken(char);
    }
    if (this.#open.length > 0) throw this.#fault("a bracket is not closed");
  }

  #readToken(char: string): void {
    const rest = this.#source.slice(this.#at, this.#at + 2);
    if (rest === "//") this.#skip(/[^\n]*/y);
    else if (rest === "/*") this.#skip(/\/\*[^]*?\*\//y);
    else if (char === '"' || char === "'") this.#readString(char);
    else if (char === "`") this.#readTemplate();
    else if (char === "/" && BEFORE_EXPRESSION.test(this.#code)) {
      this.#skip(/\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/\w*/y);
      this.#code += "0";
    } else if (char === "(" || char === "[" || char === "{") {
      this.#readBrackets(char);
    } else {
      this.#code += char;
      this.#at++;
    }
  }

  #readBrackets(char: string): void {
    const end = char === "(" ? ")" : char === "[" ? "]" : "}";
    const pattern = char === "(" ? CALLEE : char === "{" ? FUNCTION : /$^/;
    this.#enter(end, pattern.exec(this.#code)?.[1] ?? "");
    this.#code += char;
    this.#at++;
    this.#readCode();
    this.#leave(end);
    this.#code += end;
  }

  #readString(quote: string): void {
    const start = this.#at;
    const [raw] = this.#take(
      quote === '"' ? /"(?:\\[^]|[^"\\\n])*"/y : /'(?:\\[^]|[^'\\\n])*'/y,
    );
    this.#add(start, unescape(raw.slice(1, -1)), this.#code);
    this.#code += '""';
  }

  #readTemplate(): void {
    const start = this.#at++;
    const before = this.#code;
    let text = "";
    for (;;) {
      text += unescape(this.#take(/(?:\\[^]|\$(?!\{)|[^`\\$])*/y)[0]);
      if (this.#source.charAt(this.#at) === "`") break;
      text += HOLE;
      this.#at += 2;
      this.#enter("}", "");
      this.#code = "(";
      this.#readCode();
      this.#leave("}");
    }
    this.#at++;
    this.#add(start, text, before);
    this.#code = `${before}""`;
  }

  #enter(end: string, of: string): void {
    this.#open.push({ end, of });
  }

  #leave(end: string): void {
    if (this.#source.charAt(this.#at) !== end) {
      throw this.#fault(`no ${end} here`);
    }
    this.#open.pop();
    this.#at++;
  }

  #add(start: number, text: string, before: string): void {
    this.#found.push({
      text,
      line: this.#source.slice(0, start).split("\n").length,
      within: this.#open.map(({ of }) => of).filter((it) => it !== ""),
      name: NAME.exec(before)?.[1] ?? "",
    });
  }

  #skip(pattern: RegExp): void {
    this.#take(pattern);
    this.#code += " ";
  }

  /** Takes what `pattern`, which is sticky, finds here. */
  #take(pattern: RegExp): RegExpExecArray {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#source);
    if (match === null) throw this.#fault(`no ${pattern.source} here`);
    this.#at = pattern.lastIndex;
    return match;
  }

  #fault(what: string): Error {
    const line = this.#source.slice(0, this.#at).split("\n").length;
    return new Error(`Not understood, line ${line}: ${what}`);
  }
}

/** `raw` without its escapes: what is written with them matters in no message. */
function unescape(raw: string): string {
  return raw.replaceAll(
    /\\(?:u\{?[\da-fA-F]+\}?|x[\da-fA-F]{2}|[^])/g,
    (escape) => {
      const [, letter = ""] = escape;
      return /[nrtux0\n]/.test(letter) ? " " : letter;
    },
  );
}
