/** Whether JSON is asked for, whatever else is wrong. */
import assert from "node:assert/strict";
import { asksForJson } from "../../lib/config/log_choice.ts";

Deno.test("asksForJson() reads the flag and the variable alone", () => {
  for (
    const [args, variable, wanted] of [
      [[], undefined, false],
      [[], "json", true],
      [[], " JSON \r", true],
      [[], "text", false],
      [["--log-format", "json"], undefined, true],
      [["--log-format=JSON"], undefined, true],
      [["--wrong", "--log-format", "json", "-x"], undefined, true],
      [["--log-format", "text"], "json", false],
      [["--log-format=json", "--log-format", "text"], undefined, false],
      [["--log-format", "text", "--log-format=json"], undefined, true],
      [["--log-format"], "json", false],
      [["exec", "a:1", "--", "b", "--log-format=json"], undefined, false],
      [["--log-formats", "json"], undefined, false],
    ] as const
  ) {
    const env = (name: string): string | undefined =>
      name === "LOG_FORMAT" ? variable : undefined;
    assert.equal(asksForJson(args, env), wanted, args.join(" "));
  }
});
