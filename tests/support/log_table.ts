/**
 * The lines of the log as docs/log.md lists them, and whether one that was
 * written is among them.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { HOLE } from "./literals.ts";

/** A line of the log, as the document has it. */
export interface LogRow {
  /** The levels that it may have. */
  readonly levels: readonly string[];
  /** Its message, with `…` for what varies. */
  readonly message: string;
  /** Its fields in their order. */
  readonly fields: readonly {
    readonly name: string;
    readonly optional: boolean;
  }[];
}

/** A row of a table: levels, the message as code, the fields as code. */
const ROW = /^\| ([a-z, ]+?) +\| `([^`]+)` +\| ([^|]*?) *\|/gm;

/** The rows of the document. */
export const LOG_ROWS: readonly LogRow[] = rowsOf(
  Deno.readTextFileSync(new URL("../../docs/log.md", import.meta.url)),
);

/** What the levels of the library are called in the log. */
const LEVEL_NAMES: Readonly<Record<string, string>> = {
  warning: "warn",
  fatal: "error",
};

function rowsOf(markdown: string): LogRow[] {
  return [...markdown.matchAll(ROW)].map((
    [, levels = "", message = "", fields = ""],
  ) => ({
    levels: levels.split(", "),
    message,
    fields: [...fields.matchAll(/`(\w+)(\??)`/g)].map((
      [, name = "", mark],
    ) => ({
      name,
      optional: mark === "?",
    })),
  }));
}

/** Whether `row` is about `message`. */
export function isAbout(row: LogRow, message: string): boolean {
  if (!row.message.includes(HOLE)) return row.message === message;
  const parts = row.message.split(HOLE).map((part) =>
    part.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&")
  );
  return new RegExp(`^${parts.join(".+")}$`, "s").test(message);
}

/** What is not as the document has it with a line of the program; undefined where all is. */
export function faultOf(
  { category, level, rawMessage, properties }: LogRecord,
): string | undefined {
  // Lines of tests about the log itself.
  if (category[0] !== "sproxy" || category[1] === "test") return undefined;
  const message = String(rawMessage);
  const name = LEVEL_NAMES[level] ?? level;
  const row = LOG_ROWS.find((row) => isAbout(row, message));
  if (row === undefined) return `"${message}" is not in docs/log.md`;
  if (!row.levels.includes(name)) {
    return `"${message}" has the level ${name}, in docs/log.md ${row.levels}`;
  }
  const fields = Object.entries(properties)
    .filter(([, value]) => value !== undefined).map(([field]) => field);
  const wanted = row.fields.filter(({ name, optional }) =>
    // The format adds it to an error that is a fault.
    name !== "stack" && (!optional || fields.includes(name))
  ).map(({ name }) => name);
  const told = fields.filter((field) => field !== "stack");
  return told.join() === wanted.join()
    ? undefined
    : `"${message}" has the fields ${told.join()}, in docs/log.md ${wanted.join()}`;
}

/** Expects that each of `records` is as the document has it. */
export function expectDocumented(records: readonly LogRecord[]): void {
  const faults = new Set(records.flatMap((record) => faultOf(record) ?? []));
  assert.deepEqual([...faults], []);
}
