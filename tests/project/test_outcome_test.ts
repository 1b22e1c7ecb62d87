/** What counts of the integration tests: each failure, but one that was luck beside others. */
import assert from "node:assert/strict";
import {
  conclude,
  outcomeOf,
  type RunOutcome,
  secondChances,
} from "../../tools/test_outcome.ts";

/** What `deno test --parallel` prints. */
const BESIDE = `Check integration_tests/a_test.ts
\x1b[38;5;245m./integration_tests/a_test.ts => \x1b[0ma good one ... \x1b[32mok\x1b[0m \x1b[38;5;245m(1ms)\x1b[0m
./integration_tests/b_test.ts => with => in it ... ok (1ms)
./integration_tests/a_test.ts => a bad one ...
------- post-test output -------
all is ... ok
./integration_tests/a_test.ts => a bad one ...----- post-test output end -----
./integration_tests/a_test.ts => a bad one ... FAILED (2s)
./integration_tests/a_test.ts => not here ... ignored (0ms)
./integration_tests/b_test.ts => of steps ... one ... ok (0ms)
./integration_tests/b_test.ts => of steps ... two ... FAILED (2ms)
./integration_tests/b_test.ts => of steps ... FAILED (due to 1 failed step) (14ms)
./integration_tests/b_test.ts => never run ... cancelled (0ms)
./integration_tests/c_test.ts => fine ... ok (0ms)
Uncaught error from ./integration_tests/d_test.ts FAILED

FAILED | 3 passed (1 step) | 4 failed (1 step) | 1 ignored (476ms)
`;

/** The same of files one at a time. */
const IN_TURN = `running 2 tests from ./integration_tests/a_test.ts
a good one ... ok (516us)
a bad one ...
------- output -------
noise
----- output end -----
a bad one ... FAILED (863us)
running 1 test from ./integration_tests/b_test.ts
of steps ...
  one ... ok (1ms)
of steps ... ok (56ms)

FAILED | 2 passed (1 step) | 1 failed (1s)
`;

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

Deno.test("outcomeOf() reads what passed and failed in each file, whether side by side or in turn", () => {
  const beside = outcomeOf(
    ["a_test.ts", "b_test.ts", "c_test.ts", "d_test.ts"],
    { success: false, output: BESIDE },
  );
  assert.deepEqual(beside, {
    files: new Map([
      ["a_test.ts", { passed: 1, failed: 1 }],
      ["b_test.ts", { passed: 1, failed: 2 }],
      ["c_test.ts", { passed: 1, failed: 0 }],
      ["d_test.ts", { passed: 0, failed: 1 }],
    ]),
    elsewhere: 0,
  });
  const inTurn = outcomeOf(["a_test.ts", "b_test.ts"], {
    success: false,
    output: IN_TURN,
  });
  assert.deepEqual([...inTurn.files.values()], [
    { passed: 1, failed: 1 },
    { passed: 1, failed: 0 },
  ]);
});

Deno.test("outcomeOf() counts a file of a failed run as failed of which nothing is said", () => {
  const { files } = outcomeOf(["c_test.ts", "broken_test.ts"], {
    success: false,
    output: BESIDE,
  });
  assert.deepEqual(files.get("c_test.ts"), { passed: 1, failed: 0 });
  assert.deepEqual(files.get("broken_test.ts"), { passed: 0, failed: 1 });
});

Deno.test("outcomeOf() blames nobody for a failed run of which all files passed, and counts it", () => {
  const outcome = outcomeOf(["c_test.ts"], { success: false, output: BESIDE });
  assert.equal(outcome.elsewhere, 1);
  assert.deepEqual(secondChances(outcome), []);
  const { failed } = conclude({ together: outcome, alone: NONE, again: NONE });
  assert.equal(failed, 1);
});

Deno.test("outcomeOf() overlooks no failure: more that are summed up than told, or no sum, is one of no file", () => {
  const of = (output: string): number =>
    outcomeOf(["a_test.ts"], { success: false, output }).elsewhere;
  assert.equal(of(BESIDE), 0);
  assert.equal(of(BESIDE.replace("| 4 failed", "| 5 failed")), 1);
  assert.equal(of(BESIDE.replace(/^FAILED .*$/m, "")), 1);
  assert.equal(of(""), 1);
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
