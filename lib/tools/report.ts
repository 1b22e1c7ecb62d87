/**
 * What `doctor` has found, as people and programs read it: a line for each step
 * as it is done, or one document.
 *
 * @module
 */
import { escapeUnsafe } from "../base/text.ts";

/** How a step went. */
export type State = "ok" | "warn" | "fail" | "skipped";

/** What a step has found. */
export interface Finding {
  /** Which step. */
  readonly step: string;
  /** What was looked at, where a step looks at several. */
  readonly about?: string | undefined;
  /** How it went. */
  readonly state: State;
  /** What was found, with its figures. */
  readonly found: string;
  /** What to do about it. */
  readonly todo?: string | undefined;
}

/** How states are written, all of one width. */
const WORDS: Readonly<Record<State, string>> = {
  ok: "ok",
  warn: "warn",
  fail: "FAIL",
  skipped: "skipped",
};

/** A column that fits each of them, and a blank. */
const WIDTH = 9;

/** A finding on a line, and below it what to do. */
export function renderFinding(
  { step, about, state, found, todo }: Finding,
): string {
  const what = about === undefined ? step : `${step} ${about}`;
  const line = `${WORDS[state].padEnd(WIDTH)}${what}: ${found}`;
  const rest = todo === undefined ? "" : `${" ".repeat(WIDTH)}-> ${todo}`;
  return [line, rest].filter((text) => text !== "")
    .map((text) => `${escapeUnsafe(text)}\n`).join("");
}

/** The last line: how many steps went how. */
export function renderSummary(findings: readonly Finding[]): string {
  const count = (state: State): number =>
    findings.filter((finding) => finding.state === state).length;
  const parts = [
    `${count("ok")} ok`,
    ...(["warn", "fail", "skipped"] as const)
      .filter((state) => count(state) > 0)
      .map((state) => `${count(state)} ${WORDS[state]}`),
  ];
  return `${parts.join(", ")}\n`;
}

/** Whether nothing has failed. */
export function isWell(findings: readonly Finding[]): boolean {
  return findings.every(({ state }) => state !== "fail");
}

/** Gathers findings, and prints each at once where people read. */
export class Report {
  /** What was found, in order. */
  readonly findings: Finding[] = [];
  readonly #print: (text: string) => void;
  readonly #asJson: boolean;

  /** Nothing was found yet. */
  constructor(print: (text: string) => void, asJson: boolean) {
    this.#print = print;
    this.#asJson = asJson;
  }

  /** A step was done. */
  add(finding: Finding): void {
    this.findings.push(finding);
    if (!this.#asJson) this.#print(renderFinding(finding));
  }

  /** All is done: says so, with `facts` about the process in the document; whether nothing has failed. */
  end(facts: Readonly<Record<string, unknown>>): boolean {
    const { findings } = this;
    const ok = isWell(findings);
    this.#print(
      this.#asJson
        ? `${JSON.stringify({ ok, ...facts, findings }, undefined, 2)}\n`
        : renderSummary(findings),
    );
    return ok;
  }
}
