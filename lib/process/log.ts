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
import { messageOf } from "../base/errors.ts";
import { escapeUnsafe, quote } from "../base/text.ts";

/** The first part of the category of every logger of this program. */
export const LOG_CATEGORY = "sproxy";

/** Longest string in a log line, in UTF-16 units: a stack trace fits, a flood does not. */
export const MAX_VALUE_LENGTH = 4096;

/** How long a full pipe holds the process up before lines are dropped, in ms: a slow reader catches up. */
const FULL_PIPE_PATIENCE = 50;

/** What {@linkcode configureLog} is told. */
export interface LogOptions extends LogConfig {
  /**
   * Writes some of the bytes at once and returns how many; by default to
   * standard error.
   */
  readonly write?: (bytes: Uint8Array) => number;
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

/** Starts logging as `options` say. */
export function configureLog(options: LogOptions): void {
  const format = options.format === "json"
    ? formatJson
    : textFormatter(options.color ?? hasColor());
  const sink = lineSink(
    format,
    options.write ?? ((bytes) => Deno.stderr.writeSync(bytes)),
  );
  configureSync({
    sinks: { stderr: sink },
    loggers: [
      {
        category: LOG_CATEGORY,
        lowestLevel: options.level === "warn" ? "warning" : options.level,
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

/** Ends logging. Every line is written when it is logged, so none is lost. */
export function closeLog(): void {
  resetSync();
}

/** Whether standard error shows colours; the runtime has read NO_COLOR itself. */
function hasColor(): boolean {
  return !Deno.noColor && Deno.stderr.isTerminal();
}

/**
 * A sink that writes each record at once, and never throws. Lines that cannot
 * be written are dropped and counted, and the count is logged when writing
 * works again.
 */
function lineSink(
  format: Formatter,
  write: (bytes: Uint8Array) => number,
): (record: LogRecord) => void {
  const encoder = new TextEncoder();
  let dropped = 0;
  let torn = false;
  return (record) => {
    const lines = dropped > 0
      ? [droppedRecord(record, dropped), record]
      : [record];
    const text = lines.map((line) => `${format(line)}\n`).join("");
    // A line that was cut off must not run into the next.
    const bytes = encoder.encode(torn ? `\n${text}` : text);
    // Only once: a reader that has stopped must not slow everything down.
    const patience = dropped > 0 ? 0 : FULL_PIPE_PATIENCE;
    const written = writeFully(bytes, { write, patience });
    if (written > 0) torn = written < bytes.length;
    dropped = written < bytes.length ? dropped + 1 : 0;
  };
}

/**
 * Writes `bytes`, for at most `patience` ms while the pipe is full, and
 * returns how many of them were taken.
 */
function writeFully(
  bytes: Uint8Array,
  { write, patience }: {
    readonly write: (bytes: Uint8Array) => number;
    readonly patience: number;
  },
): number {
  let written = 0;
  let waited = 0;
  while (written < bytes.length) {
    try {
      written += write(bytes.subarray(written));
    } catch (error) {
      const full = error instanceof Deno.errors.WouldBlock;
      // Without a log there is nowhere to tell that the log is gone.
      if (!full || waited >= patience) return written;
      pause(1);
      waited++;
    }
  }
  return written;
}

/** Holds the thread up for `milliseconds`. */
function pause(milliseconds: number): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(cell, 0, 0, milliseconds);
}

/** The record that tells of `count` lost lines, at the time of `record`. */
function droppedRecord(record: LogRecord, count: number): LogRecord {
  const message = "log lines dropped";
  return {
    category: [LOG_CATEGORY],
    level: "warning",
    message: [message],
    rawMessage: message,
    timestamp: record.timestamp,
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
  for (const [key, value] of Object.entries(record.properties)) {
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
    for (const [key, value] of Object.entries(record.properties)) {
      const text = toText(value);
      if (text === undefined || isInMessage(record, key)) continue;
      parts.push(`${bare(key)}=${bare(text)}`);
    }
    return parts.join(" ");
  };
}

/** The message with its values in place, cut. */
function messageText({ rawMessage, message }: LogRecord): string {
  const text = typeof rawMessage === "string" && !rawMessage.includes("{")
    ? rawMessage
    : message.map((part) => toText(part) ?? "").join("");
  return cut(text);
}

/** Whether the message shows property `key` already. */
function isInMessage({ rawMessage }: LogRecord, key: string): boolean {
  return typeof rawMessage === "string" && rawMessage.includes(`{${key}}`);
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
