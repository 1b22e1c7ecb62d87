/** How the integration tests are divided: each file runs once, and what runs alone says why. */
import assert from "node:assert/strict";
import { ALONE, integrationTests, passesOf } from "../../tools/integration.ts";

Deno.test("each integration test is in exactly one pass", async () => {
  const files = await integrationTests();
  assert.ok(files.length > 50, `only ${files.length} files were found`);
  const { together, alone } = passesOf(files);
  assert.deepEqual([...together, ...alone].sort(), files);
  assert.ok(together.length > alone.length);
});

Deno.test("what runs alone is there, is named once, and says why", async () => {
  const files = await integrationTests();
  const named = ALONE.map(({ file }) => file);
  assert.deepEqual(named.filter((file) => !files.includes(file)), []);
  assert.deepEqual([...new Set(named)], named);
  assert.deepEqual(ALONE.filter(({ why }) => why.length < 20), []);
});

Deno.test("the tasks run the integration tests by their passes, and no other way", async () => {
  const text = await Deno.readTextFile(
    new URL("../../deno.json", import.meta.url),
  );
  const tasks: Record<string, string> = JSON.parse(text).tasks;
  for (const name of ["test", "test:integration"]) {
    assert.match(tasks[name] ?? "", / deno run -A tools\/integration\.ts$/);
  }
  assert.doesNotMatch(text, /deno test [^"]*integration_tests/);
});
