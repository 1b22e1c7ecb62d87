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
 * What came of a run of `files`, which ended with success or not, by what it
 * printed (its report in JUnit's form counts a test as of the file that calls
 * `Deno.test`, which is the same for all). Of a run that failed each file of
 * which it says nothing has failed: it was not come to.
 */
export function outcomeOf(
  files: readonly string[],
  { success, output }: { readonly success: boolean; readonly output: string },
): RunOutcome {
  const lines = output.replace(COLOURS, "").split("\n");
  const told = countsIn(lines);
  const untold = { passed: 0, failed: success ? 0 : 1 };
  const outcomes = new Map(
    files.map((file) => [file, told.get(file) ?? untold] as const),
  );
  if (success) return { files: outcomes, elsewhere: 0 };
  const blamed = [...outcomes.values()].some(({ failed }) => failed > 0);
  // It says how many failed: none of them may be overlooked.
  const summed = lines.findLast((line) => SUMMARY.test(line));
  const all = Number(SUMMARY.exec(summed ?? "")?.[1] ?? Infinity);
  const found = [...told.values()].reduce((sum, { failed }) => sum + failed, 0);
  return { files: outcomes, elsewhere: blamed && found >= all ? 0 : 1 };
}

/** What a terminal makes colours of. */
// deno-lint-ignore no-control-regex -- they begin with ESC
const COLOURS = /\x1b\[[0-9;]*m/g;

/** Before the tests of a file, where files run one at a time. */
const BEGINS = /^running \d+ tests? from \S*?([^/]+)$/;

/** A test that ended, not a step of one; side by side with its file before it. */
const ENDED =
  /^(?:\.\/\S*?([^/\s]+) => )?(?!\s)(?:(?! \.\.\. ).)* \.\.\. (ok|FAILED|cancelled)(?: \(|$)/;

/** A file that failed outside of its tests. */
const UNCAUGHT = /^Uncaught error from \S*?([^/\s]+) FAILED$/;

/** The end of a run. */
const SUMMARY = /^(?:ok|FAILED) \| \d+ passed.* \| (\d+) failed/;

/** How many tests passed and failed in each file, by the lines that `deno test` prints. */
function countsIn(lines: readonly string[]): ReadonlyMap<string, Counts> {
  const counts = new Map<string, Counts>();
  let current = "";
  for (const line of lines) {
    current = BEGINS.exec(line)?.[1] ?? current;
    const [, beside, how] = ENDED.exec(line) ?? [];
    const broken = UNCAUGHT.exec(line)?.[1];
    if (how === undefined && broken === undefined) continue;
    const file = broken ?? beside ?? current;
    const { passed, failed } = counts.get(file) ?? { passed: 0, failed: 0 };
    counts.set(
      file,
      how === "ok"
        ? { passed: passed + 1, failed }
        : { passed, failed: failed + 1 },
    );
  }
  return counts;
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
