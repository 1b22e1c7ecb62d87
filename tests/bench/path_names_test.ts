import assert from "node:assert/strict";
import { DEFAULT_PATHS, readPaths } from "../../bench/lab/path_names.ts";

Deno.test("--paths names round trips and losses", () => {
  assert.deepEqual(readPaths("60/0.1,narrow"), [
    { title: "60 ms, 0.1 %", path: { rtt: 60, loss: 0.001 } },
    { title: "20 ms, 50 Mbit/s", path: { rtt: 20, rate: 50e6 } },
  ]);
  assert.equal(readPaths(DEFAULT_PATHS).length, 10);
});

Deno.test("--paths says which one is wrong", () => {
  for (const text of ["", "60", "0/1", "60/101", "9999/0", "60/x", "wide"]) {
    assert.throws(
      () => readPaths(`20/0,${text}`),
      { message: new RegExp(`^--paths "${text}" is neither narrow nor `) },
    );
  }
});
