/**
 * What the steps of `doctor` have in common.
 *
 * @module
 */
import type { KeyTexts } from "../process/key_files.ts";
import type { ReadLogin } from "../process/login_files.ts";
import type { ToolCall } from "../process/tool.ts";
import type { Report } from "./report.ts";

/** What a step is told. */
export interface Surgery {
  /** The call. */
  readonly call: ToolCall;
  /** Where its findings go. */
  readonly report: Report;
  /** How long it may wait for an answer, in ms. */
  readonly timeout: number;
  /** How to log in; undefined where its files cannot be used. */
  readonly readLogin: ReadLogin | undefined;
  /** The keys; undefined where nothing is sealed. */
  readonly keys: KeyTexts | undefined;
  /** Whether the files of keys cannot be used. */
  readonly keysFailed: boolean;
}

/** So many milliseconds, for people. */
export function inMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
