import assert from "node:assert/strict";
import { getLogger } from "@logtape/logtape";
import fc from "fast-check";
import { RunError } from "../../lib/base/errors.ts";
import {
  closeLog,
  configureLog,
  type LogOptions,
  MAX_VALUE_LENGTH,
} from "../../lib/process/log.ts";

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;

/** What `run` logs, as written, when the log is configured with `options`. */
function logged(
  run: () => void,
  options: Partial<LogOptions> = {},
): string {
  let text = "";
  configureLog({
    level: "debug",
    format: "text",
    color: false,
    push: (line) => void (text += line),
    ...options,
  });
  try {
    run();
  } finally {
    void closeLog();
  }
  return text;
}

/** The line of text, without time and level, of one event. */
function lineOf(message: string, properties: Record<string, unknown>): string {
  const text = logged(() => logger.info(message, properties));
  const [, line = text] = new RegExp(`^${TIME} INFO  (.*)\n$`).exec(text) ?? [];
  return line;
}

const logger = getLogger(["sproxy", "test"]);

Deno.test("the log writes time, level, message and key=value", () => {
  assert.equal(
    lineOf("tunnel closed", { id: "a.b.1", target: "[::1]:22", bytes: 5 }),
    "tunnel closed id=a.b.1 target=[::1]:22 bytes=5",
  );
  assert.equal(lineOf("plain", {}), "plain");
});

Deno.test("the log puts values in quotes where they would not be one word", () => {
  for (
    const [value, text] of [
      ["word", "word"],
      ["", '""'],
      ["two words", '"two words"'],
      ["a=b", '"a=b"'],
      ['say "x"', String.raw`"say \"x\""`],
      ["back\\slash", String.raw`"back\\slash"`],
      ["a\nb", String.raw`"a\nb"`],
      ["\x1b[2J", String.raw`"\u001b[2J"`],
      ["a\u2028b", String.raw`"a\u2028b"`],
      ["\u202eabc", String.raw`"\u202eabc"`],
      ["Grüße", "Grüße"],
      [5, "5"],
      [1.5, "1.5"],
      [7n, "7"],
      [true, "true"],
      [null, "null"],
      [new RunError("no\n route"), '"no route"'],
      [{ a: [1, "x"] }, String.raw`"{\"a\":[1,\"x\"]}"`],
    ] as const
  ) assert.equal(lineOf("m", { value }), `m value=${text}`);
  assert.equal(lineOf("m", { value: undefined }), "m");
  assert.equal(lineOf("m", { "a key": 1 }), 'm "a key"=1');
});

Deno.test("the log writes the message as it is: braces in it are no placeholders", () => {
  assert.equal(
    lineOf("key {a.b} is\nunknown", { port: 1 }),
    String.raw`key {a.b} is\nunknown port=1`,
  );
});

Deno.test("the log writes JSON whose time, level and msg are its own", () => {
  const text = logged(() =>
    logger.warn("tunnel closed", {
      id: "a",
      time: 1,
      level: "x",
      level_: "y",
      msg: { deep: 5n },
      error: new RunError("no"),
      none: undefined,
    }), { format: "json" });
  assert.match(text, new RegExp(`^{"time":"${TIME}","level":"warn","msg":`));
  const { time, ...rest } = JSON.parse(text);
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 3_600_000);
  assert.deepEqual(rest, {
    level: "warn",
    msg: "tunnel closed",
    id: "a",
    time_: 1,
    level_: "x",
    level__: "y",
    msg_: { deep: "5" },
    error: "no",
  });
});

Deno.test("the log writes one event as one line, whatever is in it", () => {
  const text = fc.string({ unit: "binary" });
  const value = fc.oneof(text, fc.anything({ withBigInt: true }));
  const properties = fc.dictionary(text, value, { maxKeys: 4 });
  fc.assert(fc.property(text, properties, (message, properties) => {
    for (const format of ["text", "json"] as const) {
      const text = logged(() => logger.info(message, properties), { format });
      assert.match(text, /^[^\p{Cc}\p{Zl}\p{Zp}]+\n$/u);
      if (format === "json") {
        const { level, msg } = JSON.parse(text);
        assert.equal(level, "info");
        assert.equal(msg, message);
      }
    }
  }));
});

Deno.test("the log survives values that cannot be written", () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const hostile = {
    toJSON(): never {
      throw new Error("no");
    },
  };
  for (const value of [cycle, hostile, Symbol("s"), (): void => {}]) {
    for (const format of ["text", "json"] as const) {
      const text = logged(() => logger.info("m", { value }), { format });
      assert.match(text, /^.*\bm\b.*\n$/);
    }
  }
});

Deno.test("the log cuts what is too long", () => {
  const flood = "x".repeat(MAX_VALUE_LENGTH + 1);
  const cut = `${"x".repeat(MAX_VALUE_LENGTH)}…`;
  const text = logged(() => logger.info(flood, { flood }), { format: "json" });
  const { msg, flood: value } = JSON.parse(text);
  assert.deepEqual([msg, value], [cut, cut]);
  assert.ok(lineOf("m", { deep: [flood] }).length < 2 * MAX_VALUE_LENGTH);
});

Deno.test("the log has the levels from the one it is told", () => {
  const all = ["debug", "info", "warn", "error"] as const;
  for (const [index, level] of all.entries()) {
    for (const format of ["text", "json"] as const) {
      const text = logged(() => {
        for (const name of all) logger[name](`it is ${name}`);
      }, { level, format });
      const lines = text.trimEnd().split("\n");
      assert.deepEqual(
        lines.map((line) => /it is (\w+)/.exec(line)?.[1]),
        all.slice(index),
      );
      for (const [at, line] of lines.entries()) {
        const name = all[index + at] ?? "";
        const shown = format === "json"
          ? `"level":"${name}"`
          : ` ${name.toUpperCase().padEnd(5)} `;
        assert.ok(line.includes(shown), line);
      }
    }
  }
});

Deno.test("the log colours the level alone, and only when told to", () => {
  const text = logged(() => logger.error("m", { a: 1 }), { color: true });
  assert.ok(text.endsWith("Z \x1b[31mERROR\x1b[0m m a=1\n"), text);
  const json = logged(() => logger.error("m"), { color: true, format: "json" });
  assert.ok(!json.includes("\x1b"));
});

Deno.test("closeLog() ends the log", () => {
  const text = logged(() => logger.info("one"));
  logger.info("two");
  assert.match(text, /one\n$/);
});

Deno.test("the log says where a fault of ours was thrown, on the same line", () => {
  const error = new TypeError("x is not a function");
  const text = logged(() => logger.error("tunnel failed", { error }));
  assert.match(
    text,
    /tunnel failed error="x is not a function" stack="TypeError: .*log_test\.ts:.*"\n$/,
  );
  const json = JSON.parse(
    logged(() => logger.error("tunnel failed", { error }), { format: "json" }),
  );
  assert.deepEqual([json.error, json.stack], [error.message, error.stack]);
});

Deno.test("the log says durations as people do, and in JSON in ms", () => {
  const fields = { ms: 15_120_000, sent: 1 };
  assert.equal(lineOf("m", fields), "m ms=4h12m sent=1");
  assert.equal(lineOf("m", { ms: 350 }), "m ms=350ms");
  assert.equal(lineOf("m", { ms: "soon" }), "m ms=soon");
  const json = logged(() => logger.info("m", fields), { format: "json" });
  assert.match(json, /"ms":15120000,"sent":1\}/);
});

Deno.test("the log has the number of the worker in each of its lines, behind what they say", () => {
  const lines = (format: "text" | "json"): string =>
    logged(() => {
      logger.info("m", { id: "a" });
      logger.warn("n");
    }, { format, worker: 2 });
  assert.match(lines("text"), /INFO {2}m id=a worker=2\n.* n worker=2\n$/);
  assert.match(lines("json"), /"id":"a","worker":2\}\n.*"worker":2\}\n$/);
});

Deno.test("the log of the journal has priorities and no time of its own", () => {
  const run = (): void => {
    for (const level of ["debug", "info", "warn", "error"] as const) {
      logger[level]("m\nn", { a: 1 });
    }
  };
  assert.equal(
    logged(run, { journal: true, color: true }),
    [7, 6, 4, 3].map((priority) => `<${priority}>m\\nn a=1\n`).join(""),
  );
  const json = logged(run, { journal: true, format: "json" });
  assert.match(json, /^\{"time":/);
});
