/** What is logged, kept for a test to look at, and held to what is documented. */
import { configureSync, type LogRecord, resetSync } from "@logtape/logtape";
import { expectDocumented } from "./log_table.ts";

/** The log of a test. */
export interface CapturedLog extends Disposable {
  readonly records: readonly LogRecord[];
}

/**
 * Keeps everything that is logged from now on, until it is disposed, which
 * throws where a line is not as docs/log.md has it.
 */
export function captureLog(): CapturedLog {
  const records: LogRecord[] = [];
  configureSync({
    sinks: { test: (record) => void records.push(record) },
    loggers: [
      { category: "sproxy", lowestLevel: "debug", sinks: ["test"] },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: [] },
    ],
    reset: true,
  });
  return {
    records,
    [Symbol.dispose]: () => {
      resetSync();
      expectDocumented(records);
    },
  };
}
