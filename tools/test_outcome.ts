/**
 * What came of the integration tests: what is read of a run of `deno test`,
 * which files are run once more, and the numbers at the end.
 *
 * @module
 */

/** Failed files at most that get a second chance: with more, it is no bad luck. */
const MAX_SECOND_CHANCES = 3;

/** How many tests passed and failed. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** What came of some files. */
export interface RunOutcome {
  /** By file. */
  readonly files: ReadonlyMap<string, Counts>;
  /** Failures that are of no file, such as a process that died. */
  readonly elsewhere: number;
}

/** What came of all. */
export interface Conclusion extends Counts {
  /** Files that failed beside others, and not alone. */
  readonly flaky: readonly string[];
}

/**
 * What came of a run of `files`, which ended with success or not, by its report
 * in JUnit's form, if it wrote one. Of a run that failed each file without a
 * report has failed: it could not be loaded, or was not come to.
 */
export function outcomeOf(
  files: readonly string[],
  { success, report }: {
    readonly success: boolean;
    readonly report: string | undefined;
  },
): RunOutcome {
  const reported = new Map(suitesOf(report ?? ""));
  const unreported = { passed: 0, failed: success ? 0 : 1 };
  const outcomes = new Map(
    files.map((file) => [file, reported.get(file) ?? unreported] as const),
  );
  const blamed = [...outcomes.values()].some(({ failed }) => failed > 0);
  return { files: outcomes, elsewhere: success || blamed ? 0 : 1 };
}

/** The counts of each file in a report; quotes and brackets in its texts are escaped. */
function* suitesOf(report: string): Generator<[string, Counts]> {
  for (const [, attributes = ""] of report.matchAll(/<testsuite (.*?)>/g)) {
    const value = (name: string): string =>
      new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? "";
    const [tests, disabled, errors, failures] = [
      ...["tests", "disabled", "errors", "failures"],
    ].map((name) => Number(value(name)));
    const failed = (errors ?? 0) + (failures ?? 0);
    const passed = (tests ?? 0) - (disabled ?? 0) - failed;
    yield [value("name").replace(/^.*\//, ""), { passed, failed }];
  }
}

/** The files that are run once more, alone, after this run side by side. */
export function secondChances(together: RunOutcome): readonly string[] {
  const failed = [...together.files].flatMap(([file, { failed }]) =>
    failed > 0 ? [file] : []
  );
  const few = failed.length <= MAX_SECOND_CHANCES && together.elsewhere === 0;
  return few ? failed : [];
}

/** The end of it: of a file that was run again its second run counts. */
export function conclude(
  { together, alone, again }: {
    /** Those that ran side by side. */
    readonly together: RunOutcome;
    /** Those that never do: what fails there has failed. */
    readonly alone: RunOutcome;
    /** Those that ran again. */
    readonly again: RunOutcome;
  },
): Conclusion {
  const last = new Map([...together.files, ...alone.files, ...again.files]);
  let passed = 0;
  let failed = together.elsewhere + alone.elsewhere + again.elsewhere;
  for (const counts of last.values()) {
    passed += counts.passed;
    failed += counts.failed;
  }
  // One that did nothing the second time has not passed.
  const flaky = again.elsewhere > 0 ? [] : [...again.files].flatMap(
    ([file, { passed, failed }]) => passed > 0 && failed === 0 ? [file] : [],
  );
  const idle = again.elsewhere > 0 ? 0 : [...again.files.values()].filter(
    ({ passed, failed }) => passed === 0 && failed === 0,
  ).length;
  return { passed, failed: failed + idle, flaky };
}
