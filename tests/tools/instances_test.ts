/** Which instances an operator means, and what is shown of them. */
import assert from "node:assert/strict";
import { isFailure, oneOf } from "../../lib/tools/instances.ts";
import { at, numberAt, textAt } from "../../lib/tools/values.ts";
import type { FoundInstance } from "../../lib/wire/micro.ts";
import type { ToolCall } from "../../lib/process/tool.ts";

function instance(id: string, pid: string, worker?: string): FoundInstance {
  const metadata = {
    ...{ role: "server", host: "vm", pid },
    ...(worker !== undefined && { worker }),
  };
  return { id, version: "0.1.0", metadata, subjects: [] };
}

function chosen(
  found: readonly FoundInstance[],
  ...flags: readonly string[]
): readonly string[] {
  const call = {
    word: "drain",
    flags: new Map(flags.map((flag) => [flag, "true"])),
  } as Pick<ToolCall, "word" | "flags"> as ToolCall;
  return oneOf(found, call).map(({ id }) => id);
}

Deno.test("what ends something is done to the process that was chosen, or to all, and never for want of others", () => {
  const one = [instance("a", "1", "1"), instance("b", "1", "2")];
  const two = [...one, instance("c", "2")];
  assert.deepEqual(chosen(one, "id"), ["a"]);
  assert.throws(() => chosen(one), /--all: a server@vm\/1\/1$/);
  assert.deepEqual(chosen(two, "all"), ["a", "c"]);
  assert.throws(
    () => chosen(two),
    /^UsageError: say which to drain with --id, or --all: a server@vm\/1\/1, c server@vm\/2$/,
  );
  assert.throws(() => chosen(two, "all", "id"), /do not go together/);
});

Deno.test("an answer of another process is read as far as it is what it should be", () => {
  const answer = { a: { b: 7, c: "x", d: [1] }, e: null };
  assert.equal(at(answer, "a", "b"), 7);
  assert.equal(at(answer, "e", "b"), undefined);
  assert.equal(at("text", "length"), undefined);
  assert.equal(textAt(answer, "a", "c"), "x");
  assert.equal(textAt(answer, "a", "b"), "");
  assert.equal(numberAt(answer, "a", "b"), 7);
  assert.equal(numberAt(answer, "a", "c"), 0);
  assert.ok(isFailure({ failed: "no" }));
  assert.ok(!isFailure({ failed: "no", more: 1 }));
  assert.ok(!isFailure({}));
});
