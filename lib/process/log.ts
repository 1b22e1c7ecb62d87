/**
 * The log: one line for each event on standard error, as text for people or
 * as JSON for programs. Modules take their logger from the library; only an
 * entry point configures it, once.
 *
 * Values in a line come from peers that may be hostile. They are escaped, so
 * that one event is always one line and no terminal is told anything, and cut
 * at {@linkcode MAX_VALUE_LENGTH}.
 *
 * @module
 */

import {
  configureSync,
  type LogLevel,
  type LogRecord,
  resetSync,
} from "@logtape/logtape";
import type { LogConfig } from "../config/config.ts";
import {
  messageOf,
  RunError,
  TunnelError,
  UsageError,
} from "../base/errors.ts";
import { escapeUnsafe, quote } from "../base/text.ts";
import { LineWriter } from "./line_writer.ts";

/** The first part of the category of every logger of this program. */
const LOG_CATEGORY = "sproxy";

/** Longest string in a log line, in UTF-16 units: a stack trace fits, a flood does not. */
export const MAX_VALUE_LENGTH = 4096;

/** How long the last lines may take when the log is closed, in ms: a reader that reads needs less. */
const CLOSE_MS = 500;

/** What {@linkcode configureLog} is told. */
export interface LogOptions extends LogConfig {
  /** Takes each line, with its end; by default a bounded queue to standard error. */
  readonly push?: (line: string) => void;
  /** Whether text has colours; by default on a terminal, unless NO_COLOR is set. */
  readonly color?: boolean;
}

/** Makes a line, without its end, of a record. */
type Formatter = (record: LogRecord) => string;

/** How each level is written, and its colour as an SGR code. */
const LEVELS: Readonly<Record<LogLevel, readonly [name: string, sgr: number]>> =
  {
    trace: ["debug", 90],
    debug: ["debug", 90],
    info: ["info", 32],
    warning: ["warn", 33],
    error: ["error", 31],
    fatal: ["error", 31],
  };

/** Where the lines go; one for each thread. */
let writer = new LineWriter({
  droppedLine: (count) => `error: ${count} lines dropped\n`,
});

/** Writes a record as a line. */
let write: (record: LogRecord) => void = () => {};

/** Starts logging as `options` say. */
export function configureLog(options: LogOptions): void {
  const format = options.format === "json"
    ? formatJson
    : textFormatter(options.color ?? hasColor());
  const lines = writer = new LineWriter({
    droppedLine: (count) => `${format(droppedRecord(count))}\n`,
  });
  const { push = (line: string): void => lines.push(line) } = options;
  write = (record) => push(`${format(record)}\n`);
  setLogLevel(options.level);
}

/** From now on this is the least level that is logged; all else stays. */
export function setLogLevel(level: LogConfig["level"] | "fatal"): void {
  configureSync({
    sinks: { stderr: (record) => write(record) },
    loggers: [
      {
        category: LOG_CATEGORY,
        lowestLevel: level === "warn" ? "warning" : level,
        sinks: ["stderr"],
      },
      // The library's word about itself: only when a sink fails.
      {
        category: ["logtape", "meta"],
        lowestLevel: "warning",
        sinks: ["stderr"],
      },
    ],
    reset: true,
  });
}

/** Ends logging; resolves when the last lines are written, or their reader takes too long. */
export async function closeLog(): Promise<void> {
  resetSync();
  await writer.flush(CLOSE_MS);
}

/** Writes `text` and a line end as it is: what a person is told who just started the program. */
export function printError(text: string): void {
  writer.push(`${text}\n`);
}

/** Whether standard error shows colours; the runtime has read NO_COLOR itself. */
function hasColor(): boolean {
  return !Deno.noColor && Deno.stderr.isTerminal();
}

/** The record that tells of `count` lost lines. */
function droppedRecord(count: number): LogRecord {
  const message = "log lines dropped";
  return {
    category: [LOG_CATEGORY],
    level: "warning",
    message: [message],
    rawMessage: message,
    timestamp: Date.now(),
    properties: { count },
  };
}

/** A record as a line of JSON: time, level and msg, then the properties. */
function formatJson(record: LogRecord): string {
  const [level] = LEVELS[record.level];
  const members = new Map<string, unknown>([
    ["time", new Date(record.timestamp).toISOString()],
    ["level", level],
    ["msg", messageText(record)],
  ]);
  for (const [key, value] of propertiesOf(record)) {
    let name = key;
    while (members.has(name)) name += "_";
    members.set(name, value);
  }
  const parts: string[] = [];
  for (const [key, value] of members) {
    const json = toJson(value);
    if (json !== undefined) parts.push(`${JSON.stringify(key)}:${json}`);
  }
  return escapeUnsafe(`{${parts.join(",")}}`);
}

/** A formatter of lines of text: time, level, message, key=value. */
function textFormatter(color: boolean): Formatter {
  return (record) => {
    const [level, sgr] = LEVELS[record.level];
    const padded = level.toUpperCase().padEnd(5);
    const parts = [
      new Date(record.timestamp).toISOString(),
      color ? `\x1b[${sgr}m${padded}\x1b[0m` : padded,
      escapeUnsafe(messageText(record)),
    ];
    for (const [key, value] of propertiesOf(record)) {
      const text = toText(value);
      if (text !== undefined) parts.push(`${bare(key)}=${bare(text)}`);
    }
    return parts.join(" ");
  };
}

/** The properties, and beside an error that is a fault of ours where it was thrown. */
function* propertiesOf(
  { properties }: LogRecord,
): Generator<[key: string, value: unknown]> {
  for (const [key, value] of Object.entries(properties)) {
    yield [key, value];
    if (value instanceof Error && !isExpected(value)) {
      yield ["stack", value.stack];
    }
  }
}

/** Where anything thrown was thrown, as far as that is known. */
export function stackOf(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.stack : undefined) ??
    messageOf(thrown);
}

/** Whether an error was made to be told to a person, so that its message says all. */
function isExpected(error: Error): boolean {
  return error instanceof UsageError || error instanceof RunError ||
    error instanceof TunnelError;
}

/** The message as it was written, cut: values are properties, not parts of it. */
function messageText({ rawMessage }: LogRecord): string {
  return cut(typeof rawMessage === "string" ? rawMessage : rawMessage.join(""));
}

/** `text`, in quotes when it would not read as one word. */
function bare(text: string): string {
  return /^[^\s"=\\\p{C}]+$/u.test(text) ? text : quote(text, MAX_VALUE_LENGTH);
}

/** A value as text; undefined for one that is not there. */
function toText(value: unknown): string | undefined {
  if (typeof value === "string") return cut(value);
  if (value instanceof Error) return cut(messageOf(value));
  return typeof value === "object" && value !== null
    ? toJson(value)
    : value === undefined
    ? undefined
    : String(value);
}

/** A value as JSON; undefined for one that is not there. */
function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value, (_, inner) => {
      if (typeof inner === "string") return cut(inner);
      if (typeof inner === "bigint") return String(inner);
      return inner instanceof Error ? cut(messageOf(inner)) : inner;
    });
  } catch {
    // A cycle, most probably: what it is must do.
    return JSON.stringify(Object.prototype.toString.call(value));
  }
}

/** `text` up to {@linkcode MAX_VALUE_LENGTH}. */
function cut(text: string): string {
  return text.length > MAX_VALUE_LENGTH
    ? text.slice(0, MAX_VALUE_LENGTH) + "…"
    : text;
}
