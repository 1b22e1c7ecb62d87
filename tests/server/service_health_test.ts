/** When a service is in order, by how its checks end. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Reason } from "../../lib/base/errors.ts";
import { ServiceHealth } from "../../lib/server/service_health.ts";

const FAILURE: Reason = { code: "refused", text: "connection refused" };

/** The changes after each end of a check: `.` for a success, `x` for a failure. */
function changesAfter(ends: string, most: number): string {
  const health = new ServiceHealth();
  return [...ends].map((end) => {
    const change = health.note(end === "x" ? FAILURE : undefined, most);
    assert.equal(health.why, end === "x" ? FAILURE : undefined);
    return change === undefined ? "-" : change === "up" ? "U" : "D";
  }).join("");
}

Deno.test("ServiceHealth is up after one success, and down after so many failures in a row", () => {
  const cases: readonly (readonly [ends: string, most: number, string])[] = [
    [".", 3, "U"],
    ["..", 3, "U-"],
    [".xxx", 3, "U--D"],
    [".xx.xx.", 3, "U------"],
    [".xxxxx.", 3, "U--D--U"],
    [".x.", 1, "UDU"],
    // What has never been up is down at once, and that is said once.
    ["xxx.", 3, "D--U"],
    ["x.xx.xxx", 3, "DU-----D"],
  ];
  for (const [ends, most, changes] of cases) {
    assert.equal(changesAfter(ends, most), changes, ends);
  }
  assert.equal(new ServiceHealth().up, false);
});

Deno.test("ServiceHealth that is presumed to be up is so until its first check fails", () => {
  const after = (ends: string): boolean => {
    const health = new ServiceHealth({ presumed: true });
    assert.ok(health.up);
    for (const end of ends) health.note(end === "x" ? FAILURE : undefined, 3);
    return health.up;
  };
  assert.deepEqual(
    ["x", ".", ".xx", ".xxx", "x."].map(after),
    [false, true, true, false, true],
  );
});

Deno.test("ServiceHealth is up after a success until the last ends are all failures", () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1 }),
      fc.integer({ min: 1, max: 4 }),
      (ends, most) => {
        const health = new ServiceHealth();
        for (const ok of ends) health.note(ok ? undefined : FAILURE, most);
        const last = ends.lastIndexOf(true);
        assert.equal(health.up, last >= 0 && ends.length - 1 - last < most);
      },
    ),
  );
});
