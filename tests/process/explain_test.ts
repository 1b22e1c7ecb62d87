/** What of a problem programs find in fields. */
import assert from "node:assert/strict";
import { takeApart } from "../../lib/process/explain.ts";

Deno.test("takeApart() finds where a value stands, the value, and what to do", () => {
  for (
    const [problem, wanted] of [
      ["Cannot listen", { text: "Cannot listen" }],
      ['--log-level: "loud" is none of debug, info', {
        text: '--log-level: "loud" is none of debug, info',
        option: "--log-level",
        value: "loud",
      }],
      [
        String
          .raw`environment variable LOG_LEVEL: "a\"b" is none; run 'x --help' for usage`,
        {
          text: String.raw`environment variable LOG_LEVEL: "a\"b" is none`,
          variable: "LOG_LEVEL",
          value: 'a"b',
          hint: "run 'x --help' for usage",
        },
      ],
      ["log.level in ./a.yaml: a list where there must be a string", {
        text: "log.level in ./a.yaml: a list where there must be a string",
        key: "log.level",
        file: "./a.yaml",
      }],
      ['Cannot use the file of --nats-tls-key, "a b": it is encrypted', {
        text: 'Cannot use the file of --nats-tls-key, "a b": it is encrypted',
        option: "--nats-tls-key",
        file: "a b",
      }],
      ["--password: it is empty", {
        text: "--password: it is empty",
        option: "--password",
      }],
    ] as const
  ) assert.deepEqual(takeApart(problem), wanted);
});
