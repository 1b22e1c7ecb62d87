import assert from "node:assert/strict";
import { getLogger } from "@logtape/logtape";
import fc from "fast-check";
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
  const decoder = new TextDecoder();
  let text = "";
  configureLog({
    level: "debug",
    format: "text",
    color: false,
    write(bytes: Uint8Array): number {
      text += decoder.decode(bytes, { stream: true });
      return bytes.length;
    },
    ...options,
  });
  try {
    run();
  } finally {
    closeLog();
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
      [new Error("no\n route"), '"no route"'],
      [{ a: [1, "x"] }, String.raw`"{\"a\":[1,\"x\"]}"`],
    ] as const
  ) assert.equal(lineOf("m", { value }), `m value=${text}`);
  assert.equal(lineOf("m", { value: undefined }), "m");
  assert.equal(lineOf("m", { "a key": 1 }), 'm "a key"=1');
});

Deno.test("the log fills values into the message, and does not repeat them", () => {
  assert.equal(
    lineOf("listening on {address}", { address: "a\nb", port: 1 }),
    String.raw`listening on a\nb port=1`,
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
      error: new Error("no"),
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
  const message = text.map((part) => part.replaceAll(/[{}]/g, ""));
  fc.assert(fc.property(message, properties, (message, properties) => {
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

Deno.test("the log writes lines whole though little is taken at a time", () => {
  let text = "";
  logged(() => logger.info("tunnel closed", { id: "a.b.1" }), {
    write(bytes: Uint8Array): number {
      text += new TextDecoder().decode(bytes.subarray(0, 3));
      return Math.min(3, bytes.length);
    },
  });
  assert.match(text, /^\S+ INFO {2}tunnel closed id=a\.b\.1\n$/);
});

Deno.test("the log waits a little for a full pipe, then drops and counts", () => {
  let refusals = 2;
  let calls = 0;
  let text = "";
  const write = (bytes: Uint8Array): number => {
    calls++;
    if (refusals-- > 0) throw new Deno.errors.WouldBlock("full");
    text += new TextDecoder().decode(bytes);
    return bytes.length;
  };
  logged(() => {
    logger.info("one");
    assert.match(text, /one\n$/, "it was tried again");
    refusals = Infinity;
    logger.info("two");
    const patient = calls;
    logger.info("three");
    assert.equal(calls, patient + 1, "it is not waited for twice");
    refusals = 0;
    logger.info("four");
    logger.info("five");
  }, { write });
  assert.deepEqual(
    text.trimEnd().split("\n").map((line) => line.replace(/^\S+ /, "")),
    [
      "INFO  one",
      "WARN  log lines dropped count=2",
      "INFO  four",
      "INFO  five",
    ],
  );
});

Deno.test("the log starts a new line after one that was cut off", () => {
  let room = 10;
  let text = "";
  const write = (bytes: Uint8Array): number => {
    if (room === 0) throw new Deno.errors.BrokenPipe("gone");
    const taken = bytes.subarray(0, room);
    room -= taken.length;
    text += new TextDecoder().decode(taken);
    return taken.length;
  };
  logged(() => {
    logger.info("one");
    room = Infinity;
    logger.info("two");
  }, { write });
  const [first, second, third] = text.split("\n");
  assert.equal(first?.length, 10);
  assert.match(second ?? "", /WARN {2}log lines dropped count=1$/);
  assert.match(third ?? "", /INFO {2}two$/);
});

Deno.test("the log goes on without a reader, and the process ends well", async () => {
  const code = `
    import { getLogger } from "@logtape/logtape";
    import { closeLog, configureLog } from ${
    JSON.stringify(import.meta.resolve("../../lib/process/log.ts"))
  };
    configureLog({ level: "info", format: "json" });
    const logger = getLogger(["sproxy"]);
    await Deno.stdin.read(new Uint8Array(1));
    for (let i = 0; i < 1000; i++) logger.info("line", { i });
    closeLog();
    console.log("survived");
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", code],
    cwd: new URL("../../", import.meta.url),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await child.stderr.cancel();
  const writer = child.stdin.getWriter();
  await writer.write(new Uint8Array(1));
  await writer.close();
  const stdout = await new Response(child.stdout).text();
  const { code: exitCode } = await child.status;
  assert.deepEqual([stdout, exitCode], ["survived\n", 0]);
});
