/** What counts of the integration tests: each failure, but one that was luck beside others. */
import assert from "node:assert/strict";
import {
  conclude,
  outcomeOf,
  type RunOutcome,
  secondChances,
} from "../../tools/test_outcome.ts";

/** A report as `deno test --junit-path` writes it. */
const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="9" failures="1" errors="2" time="0.477">
    <testsuite name="./integration_tests/a_test.ts" tests="4" disabled="1" errors="0" failures="1">
        <testcase name="a &lt;testsuite name=&quot;b_test.ts&quot;" classname="./a_test.ts" time="0.001" line="1" col="6">
            <failure message="x">Error: &lt;testsuite name=&quot;b_test.ts&quot; tests=&quot;9&quot;&gt;</failure>
        </testcase>
    </testsuite>
    <testsuite name="./integration_tests/b_test.ts" tests="2" disabled="0" errors="2" failures="0">
    </testsuite>
    <testsuite name="./integration_tests/c_test.ts" tests="3" disabled="0" errors="0" failures="0">
    </testsuite>
</testsuites>`;

/** A run in which some files failed and the others passed, each with one test. */
function run(
  files: Readonly<Record<string, "passed" | "failed">>,
  elsewhere = 0,
): RunOutcome {
  const counts = Object.entries(files).map(([file, how]) =>
    [
      file,
      how === "passed" ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 },
    ] as const
  );
  return { files: new Map(counts), elsewhere };
}

const NONE = run({});

Deno.test("outcomeOf() reads what passed and failed in each file, errors too, and what is ignored is neither", () => {
  const files = ["a_test.ts", "b_test.ts", "c_test.ts"];
  assert.deepEqual(
    outcomeOf(files, { success: false, report: REPORT }),
    {
      files: new Map([
        ["a_test.ts", { passed: 2, failed: 1 }],
        ["b_test.ts", { passed: 0, failed: 2 }],
        ["c_test.ts", { passed: 3, failed: 0 }],
      ]),
      elsewhere: 0,
    },
  );
});

Deno.test("outcomeOf() counts a file of a failed run as failed that is not in the report", () => {
  const { files } = outcomeOf(["c_test.ts", "broken_test.ts"], {
    success: false,
    report: REPORT,
  });
  assert.deepEqual(files.get("c_test.ts"), { passed: 3, failed: 0 });
  assert.deepEqual(files.get("broken_test.ts"), { passed: 0, failed: 1 });
  // As where the process died, or nothing could be checked.
  const { files: all } = outcomeOf(["a_test.ts", "b_test.ts"], {
    success: false,
    report: undefined,
  });
  assert.deepEqual([...all.values()].map(({ failed }) => failed), [1, 1]);
});

Deno.test("outcomeOf() blames nobody for a failed run of which all files passed, and counts it", () => {
  const outcome = outcomeOf(["c_test.ts"], { success: false, report: REPORT });
  assert.equal(outcome.elsewhere, 1);
  assert.deepEqual(secondChances(outcome), []);
  const { failed } = conclude({ together: outcome, alone: NONE, again: NONE });
  assert.equal(failed, 1);
});

Deno.test("at most three failed files get a second chance", () => {
  const three = { a: "failed", b: "failed", c: "failed" } as const;
  assert.deepEqual(secondChances(run({ ...three, d: "passed" })), [
    ...["a", "b", "c"],
  ]);
  assert.deepEqual(secondChances(run({ ...three, d: "failed" })), []);
  assert.deepEqual(secondChances(run(three, 1)), []);
});

Deno.test("of a file that was run again its second run counts, and it is named if it passed", () => {
  assert.deepEqual(
    conclude({
      together: run({ a: "failed", b: "failed", c: "passed" }),
      alone: run({ d: "passed" }),
      again: run({ a: "passed", b: "failed" }),
    }),
    { passed: 3, failed: 1, flaky: ["a"] },
  );
});

Deno.test("what fails alone, or is not run again, has failed", () => {
  assert.deepEqual(
    conclude({
      together: run({ a: "failed", b: "passed" }),
      alone: run({ d: "failed" }),
      again: NONE,
    }),
    { passed: 1, failed: 2, flaky: [] },
  );
});

Deno.test("a second run that did nothing, or failed as a whole, excuses nothing", () => {
  const together = run({ a: "failed", b: "passed" });
  const idle = { files: new Map([["a", { passed: 0, failed: 0 }]]) };
  assert.deepEqual(
    conclude({ together, alone: NONE, again: { ...idle, elsewhere: 0 } }),
    { passed: 1, failed: 1, flaky: [] },
  );
  assert.deepEqual(
    conclude({ together, alone: NONE, again: run({ a: "passed" }, 1) }),
    { passed: 2, failed: 1, flaky: [] },
  );
});
