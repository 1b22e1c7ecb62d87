/** Whether standard error is the journal. */
import assert from "node:assert/strict";
import { isJournal, isStreamOf } from "../../lib/process/journal.ts";

Deno.test("isStreamOf() compares device and inode, and takes nothing else for them", () => {
  const here = { dev: 9n, ino: 49812651n };
  for (
    const [variable, wanted] of [
      ["9:49812651", true],
      ["9:49812652", false],
      ["8:49812651", false],
      ["49812651:9", false],
      ["9:49812651 ", false],
      ["9:49812651:1", false],
      ["9", false],
      [":", false],
      ["0x9:49812651", false],
      ["-9:49812651", false],
      ["", false],
      [undefined, false],
    ] as const
  ) assert.equal(isStreamOf(variable, () => here), wanted, String(variable));
  // Inodes of large file systems are beyond what a number holds.
  const far = { dev: 9n, ino: 2n ** 64n - 1n };
  assert.ok(isStreamOf("9:18446744073709551615", () => far));
  assert.ok(!isStreamOf("9:18446744073709551614", () => far));
});

Deno.test("isStreamOf() takes no standard error for no journal", () => {
  const closed = (): never => {
    throw new Error("EBADF");
  };
  assert.equal(isStreamOf("1:1", closed), false);
});

Deno.test("isJournal() asks the system only where the variable is set", async () => {
  assert.equal(await isJournal(() => undefined), false);
  assert.equal(await isJournal(() => "0:1"), false);
});
