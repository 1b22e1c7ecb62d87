/** What is logged, kept for a test to look at. */
import { configureSync, type LogRecord, resetSync } from "@logtape/logtape";

/** The log of a test. */
export interface CapturedLog extends Disposable {
  readonly records: readonly LogRecord[];
}

/** Keeps everything that is logged from now on, until it is disposed. */
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
  return { records, [Symbol.dispose]: () => resetSync() };
}
