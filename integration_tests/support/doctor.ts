/**
 * Runs `doctor` as a process, and looks at what it found.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type RoleName, type RoleOptions, spawnRole } from "./roles.ts";
import { soon } from "./waits.ts";

/** What a step has found, as the document has it. */
export interface FoundStep {
  readonly step: string;
  readonly about?: string;
  readonly state: "ok" | "warn" | "fail" | "skipped";
  readonly found: string;
  readonly todo?: string;
}

/** What an examination came to. */
export class Examination {
  /** The exit code. */
  readonly code: number;
  /** What was found, in order. */
  readonly findings: readonly FoundStep[];
  /** All it wrote. */
  readonly text: string;

  /** Of what a process has written, and how it ended. */
  constructor(code: number, text: string) {
    this.code = code;
    this.text = text;
    const { ok, findings } = JSON.parse(text);
    this.findings = findings;
    assert.equal(ok, code === 0, text);
  }

  /** The findings that went so. */
  of(...states: readonly FoundStep["state"][]): readonly FoundStep[] {
    return this.findings.filter(({ state }) => states.includes(state));
  }

  /** Expects exactly these failures (and so the exit code), each by its step and words of it: found, and what to do. */
  expectFailures(
    ...failures:
      readonly (readonly [step: RegExp, says: RegExp, todo: RegExp])[]
  ): void {
    const failed = this.of("fail");
    assert.equal(failed.length, failures.length, this.text);
    for (const [step, says, todo] of failures) {
      const hit = failed.find((one) =>
        step.test(`${one.step} ${one.about ?? ""}`) && says.test(one.found) &&
        todo.test(one.todo ?? "")
      );
      assert.ok(hit, `no failure ${step} ${says} ${todo}: ${this.text}`);
    }
    assert.equal(this.code, failures.length === 0 ? 0 : 1);
  }

  /** Expects that no step failed or was warned of. */
  expectWell(): void {
    assert.deepEqual(this.of("warn", "fail"), [], this.text);
    assert.equal(this.code, 0);
  }

  /** The first finding of a step. */
  step(step: string): FoundStep {
    const found = this.findings.find((one) => one.step === step);
    assert.ok(found, `no step ${step}: ${this.text}`);
    return found;
  }
}

/** Runs it to its end. */
export async function examine(
  role: RoleName,
  args: readonly string[],
  options: Omit<RoleOptions, "args"> = {},
): Promise<Examination> {
  const server = role === "server" ? ["--listen-addr", "off"] : [];
  const isPlaced = args.some((arg) => arg.startsWith("--listen-addr"));
  await using process = await spawnRole(role, {
    ...options,
    name: `${role} doctor`,
    args: ["doctor", "--json", ...isPlaced ? [] : server, ...args],
  });
  const { code } = await soon("doctor ends", process.status);
  return new Examination(code, process.lines.join("\n"));
}
