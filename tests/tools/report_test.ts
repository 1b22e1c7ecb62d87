/** What `doctor` has found, as text and as a document. */
import assert from "node:assert/strict";
import { type Finding, renderFinding, Report } from "../../lib/tools/report.ts";

const FINDINGS: readonly Finding[] = [
  { step: "name", about: "h", state: "ok", found: "10.0.0.1" },
  { step: "login", state: "fail", found: "refused", todo: "mend it" },
  { step: "clock", state: "skipped", found: "nobody tells" },
  { step: "rate", state: "warn", found: "slow" },
];

function gather(asJson: boolean): { text: string; ok: boolean } {
  let text = "";
  const report = new Report((part) => text += part, asJson);
  for (const finding of FINDINGS) report.add(finding);
  const ok = report.end({ role: "client" });
  return { text, ok };
}

Deno.test("a report is a line for each step, what to do below, and a count at the end", () => {
  assert.deepEqual(gather(false), {
    ok: false,
    text: [
      "ok       name h: 10.0.0.1",
      "FAIL     login: refused",
      "         -> mend it",
      "skipped  clock: nobody tells",
      "warn     rate: slow",
      "1 ok, 1 warn, 1 FAIL, 1 skipped",
      "",
    ].join("\n"),
  });
});

Deno.test("a report for programs is one document", () => {
  const { text, ok } = gather(true);
  assert.equal(ok, false);
  assert.deepEqual(JSON.parse(text), {
    ok: false,
    role: "client",
    findings: JSON.parse(JSON.stringify(FINDINGS)),
  });
});

Deno.test("warnings and what was skipped are no failure, and what others say breaks no line", () => {
  const report = new Report(() => {}, false);
  report.add({ step: "a", state: "warn", found: "x" });
  report.add({ step: "b", state: "skipped", found: "x" });
  assert.equal(report.end({}), true);
  const text = renderFinding({
    step: "a",
    state: "fail",
    found: "it says\n\x1b[31m",
  });
  assert.equal(text, "FAIL     a: it says\\n\\u001b[31m\n");
});
