import assert from "node:assert/strict";
import { cpuOf, memoryOf, unlessEnded } from "../../bench/usage.ts";

/** A process number that no system gives: above the highest there can be. */
const NOBODY = 2 ** 22 + 1;

Deno.test("a process that ended while it was looked at is left out", async () => {
  const gone = Object.assign(
    new Error("No such process (os error 3): readfile '/proc/7/stat'"),
    { code: "ESRCH" },
  );
  assert.equal(await unlessEnded(() => Promise.reject(gone)), undefined);
  assert.equal(
    await unlessEnded(() => Deno.readTextFile(`/proc/${NOBODY}/stat`)),
    undefined,
  );
  assert.equal(await unlessEnded(() => Promise.resolve(7)), 7);
  await assert.rejects(
    unlessEnded(() => Promise.reject(new TypeError("something else"))),
    TypeError,
  );
});

Deno.test("a process of a way that has ended is a fault, not a figure of 0", async () => {
  await assert.rejects(
    cpuOf({ client: { pid: NOBODY } }),
    Deno.errors.NotFound,
  );
  await assert.rejects(
    memoryOf({ client: { pid: NOBODY } }),
    Deno.errors.NotFound,
  );
  const { us } = await memoryOf({ us: { pid: Deno.pid } });
  assert.ok(us !== undefined && us > 1024 * 1024);
});
