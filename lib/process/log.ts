/**
 * The log: one line for each event on standard error, as text for people, as
 * JSON for programs, or as the journal of systemd takes it. Modules take their
 * logger from the library; only an entry point configures it, once.
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
import { formatRough } from "../base/units.ts";
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
  /** Number of the worker whose thread this is, in each of its lines; undefined where there is but one. */
  readonly worker?: number | undefined;
  /** Whether the journal reads, so that text has a priority before it and no time: it has that of its own. */
  readonly journal?: boolean;
}

/**
 * The fields that are durations, in ms: JSON has the number, text says it as
 * people do.
 */
const DURATION = "ms";

/** Makes a line, without its end, of a record. */
type Formatter = (record: LogRecord) => string;

/** How each level is written, its colour as an SGR code, and its priority as the journal has them (sd-daemon(3), syslog's). */
const LEVELS: Readonly<
  Record<
    LogLevel,
    readonly [name: string, sgr: number, priority: number]
  >
> = {
  trace: ["debug", 90, 7],
  debug: ["debug", 90, 7],
  info: ["info", 32, 6],
  warning: ["warn", 33, 4],
  error: ["error", 31, 3],
  fatal: ["error", 31, 3],
};

/** Where the lines go; one for each thread. */
let writer = new LineWriter({
  droppedLine: (count) => `error: ${count} lines dropped\n`,
});

/** Writes a record as a line. */
let write: (record: LogRecord) => void = () => {};

/** How what is said before the log is configured, or beside it, is written. */
let spoken: Pick<LogOptions, "format" | "journal"> = { format: "text" };

/** Writes in this form what is said before the log is configured. */
export function speakAs(how: Pick<LogOptions, "format" | "journal">): void {
  spoken = how;
}

/** Starts logging as `options` say. */
export function configureLog(options: LogOptions): void {
  const { journal = spoken.journal === true, worker } = options;
  spoken = { format: options.format, journal };
  const plain = options.format === "json"
    ? formatJson
    : journal
    ? formatForJournal
    : textFormatter(options.color ?? hasColor());
  const format: Formatter = worker === undefined
    ? plain
    : (record) =>
      plain({ ...record, properties: { ...record.properties, worker } });
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

/** What is said outside of the log: to the person who has just started the program, or to what reads its lines. */
export interface Spoken {
  /** How much it matters. */
  readonly level: "info" | "warning" | "fatal";
  /** The sentence. */
  readonly text: string;
  /** What JSON has beside it. */
  readonly fields?: Readonly<Record<string, unknown>>;
  /** The same for a person, where more than the sentence is to be said; several lines perhaps. */
  readonly shown?: string;
}

/**
 * Says something whatever the level of the log, and before there is one: a line
 * as it is, or in JSON like all others.
 */
export function say({ level, text, fields = {}, shown = text }: Spoken): void {
  const record = recordOf(level, text, fields);
  const [, , priority] = LEVELS[level];
  const line = spoken.format === "json"
    ? formatJson(record)
    : spoken.journal === true
    // Each line has a priority of its own.
    ? shown.replaceAll(/^/gm, `<${priority}>`)
    : shown;
  writer.push(`${line}\n`);
}

/** Whether standard error shows colours; the runtime has read NO_COLOR itself. */
function hasColor(): boolean {
  return !Deno.noColor && Deno.stderr.isTerminal();
}

/** The record that tells of `count` lost lines. */
function droppedRecord(count: number): LogRecord {
  return recordOf("warning", "log lines dropped", { count });
}

/** A record of now. */
function recordOf(
  level: LogLevel,
  message: string,
  properties: Readonly<Record<string, unknown>>,
): LogRecord {
  return {
    category: [LOG_CATEGORY],
    level,
    message: [message],
    rawMessage: message,
    timestamp: Date.now(),
    properties: { ...properties },
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
    const time = new Date(record.timestamp).toISOString();
    const shown = color ? `\x1b[${sgr}m${padded}\x1b[0m` : padded;
    return `${time} ${shown} ${eventText(record)}`;
  };
}

/** A record as a line for the journal, which has a time of its own and takes the priority off. */
function formatForJournal(record: LogRecord): string {
  const [, , priority] = LEVELS[record.level];
  return `<${priority}>${eventText(record)}`;
}

/** What happened: message, key=value. */
function eventText(record: LogRecord): string {
  const parts = [escapeUnsafe(messageText(record))];
  for (const [key, value] of propertiesOf(record)) {
    const text = key === DURATION && typeof value === "number"
      ? formatRough(value)
      : toText(value);
    if (text !== undefined) parts.push(`${bare(key)}=${bare(text)}`);
  }
  return parts.join(" ");
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
