/** Since when a process is ready or not, and what went wrong last. */
import assert from "node:assert/strict";
import { Readiness } from "../../lib/process/readiness.ts";
import { makeInstanceId } from "../../lib/process/instance.ts";

Deno.test("Readiness tells since when, and does not begin anew with another reason", () => {
  const readiness = new Readiness(10);
  assert.deepEqual(readiness.told, { since: 10 });
  readiness.note("starting", 20);
  assert.equal(readiness.told.since, 10);
  readiness.note(undefined, 30);
  readiness.note(undefined, 40);
  assert.equal(readiness.told.since, 30);
  readiness.note("no server", 50);
  readiness.note("not connected", 60);
  assert.equal(readiness.told.since, 50);
});

Deno.test("Readiness keeps what went wrong last when it is over", () => {
  const readiness = new Readiness(0);
  readiness.noteError(undefined, 5);
  readiness.noteError("refused", 10);
  readiness.note(undefined, 20);
  assert.deepEqual(readiness.told, {
    since: 20,
    lastError: { text: "refused", at: 10 },
  });
});

Deno.test("public IDs are ten letters and digits, each as likely as another", () => {
  assert.match(
    makeInstanceId((bytes) => crypto.getRandomValues(bytes)),
    /^[0-9a-z]{10}$/,
  );
  // Bytes that would make some likelier are drawn again.
  const rounds = [255, 252, 0];
  const id = makeInstanceId((bytes) => bytes.fill(rounds.shift() ?? 35));
  assert.equal(id, "0000000000");
});
