/** Holds docs/log.md to the source, both ways: each line of the log is there with its level, and no other. */
import assert from "node:assert/strict";
import { HOLE, literalsOf } from "../support/literals.ts";
import { type LogCall, logCallsOf } from "../support/log_calls.ts";
import { faultOf, isAbout, LOG_ROWS } from "../support/log_table.ts";

const LIB = new URL("../../lib/", import.meta.url);

/** Files that log messages which stand elsewhere, and the files where, with the name that they have there. */
const ELSEWHERE: Readonly<
  Record<string, { readonly file: string; readonly name: string }>
> = {
  "client/client.ts": { file: "tunnel/v1_machine.ts", name: "V1_WARNING" },
  "process/exposures.ts": { file: "process/exposures.ts", name: "what" },
  "process/main.ts": { file: "process/descriptors.ts", name: "text" },
  "server/server.ts": { file: "tunnel/v1_machine.ts", name: "V1_WARNING" },
};

/** What is said past the loggers, in `lib/process/log.ts` and `explain.ts`. */
const SAID = ["log lines dropped", "internal error"];

/** The path below `lib/` and the text of each source. */
async function* sources(
  folder = LIB,
): AsyncGenerator<{ readonly path: string; readonly text: string }> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const url = new URL(isDirectory ? `${name}/` : name, folder);
    if (isDirectory) yield* sources(url);
    else {
      yield {
        path: url.href.slice(LIB.href.length),
        text: await Deno.readTextFile(url),
      };
    }
  }
}

const texts = new Map<string, string>();
for await (const { path, text } of sources()) texts.set(path, text);
const calls = [...texts].flatMap(([path, text]) =>
  logCallsOf(text).map((call) => ({ ...call, path }))
);

/** What a call may say: its message, or those that stand elsewhere. */
function messagesOf(
  { path, message }: LogCall & { readonly path: string },
): readonly string[] {
  if (message !== undefined) return [message];
  const place = ELSEWHERE[path];
  assert.ok(place, `${path} logs something that is no literal`);
  return literalsOf(texts.get(place.file) ?? "")
    .filter(({ name, text }) =>
      name === place.name && text.includes(" ") ||
      LOG_ROWS.some(({ message }) => message === text)
    )
    .map(({ text }) => text);
}

Deno.test("docs/log.md has each line of the log with its levels", () => {
  assert.ok(calls.length > 80, `only ${calls.length} lines were found`);
  const faults: string[] = [];
  for (const call of calls) {
    for (const message of messagesOf(call)) {
      const where = `${call.path}:${call.line}: ${message}`;
      const row = LOG_ROWS.find((row) => isAbout(row, message));
      if (row === undefined) faults.push(`${where}: is not there`);
      else if (!call.levels.every((level) => row.levels.includes(level))) {
        faults.push(`${where}: is ${call.levels}, there ${row.levels}`);
      }
    }
  }
  assert.deepEqual(faults, []);
});

Deno.test("docs/log.md has only lines that a source says, each once, with all levels that they have", () => {
  const said = calls.flatMap((call) =>
    messagesOf(call).map((message) => ({ ...call, message }))
  );
  const faults: string[] = [];
  for (const row of LOG_ROWS) {
    const { message } = row;
    if (SAID.includes(message)) continue;
    const saying = said.filter((call) => isAbout(row, call.message));
    if (saying.length === 0) faults.push(`${message}: nobody says it`);
    const levels = new Set(saying.flatMap((call) => call.levels));
    // What the notices of descriptors are is decided where they are made.
    const isOpen = saying.some((call) => call.levels.length === 0);
    if (!isOpen && row.levels.some((level) => !levels.has(level))) {
      faults.push(`${message}: is ${[...levels]}, there ${row.levels}`);
    }
  }
  assert.deepEqual(faults, []);
  const messages = LOG_ROWS.map(({ message }) => message);
  assert.deepEqual(messages, [...new Set(messages)]);
});

Deno.test("docs/log.md names only fields that a source knows", () => {
  const all = [...texts.values()].join("\n");
  const fields = new Set(
    LOG_ROWS.flatMap(({ fields }) => fields.map(({ name }) => name)),
  );
  assert.ok(fields.size > 40, String(fields.size));
  assert.deepEqual(
    [...fields].filter((name) =>
      !new RegExp(`(?<![.\\w])${name}\\b(?!\\()`).test(all)
    ),
    [],
  );
});

Deno.test("docs/log.md and docs/troubleshooting.md know the same warnings and errors", async () => {
  const guide = await Deno.readTextFile(
    new URL("../../docs/troubleshooting.md", import.meta.url),
  );
  const words = guide.replaceAll(/\s+/g, " ");
  const missing = LOG_ROWS.filter(({ levels }) =>
    levels.includes("warn") || levels.includes("error")
  ).map(({ message }) => message)
    .filter((message) =>
      !message.split(HOLE).every((part) => words.includes(part.trim()))
    );
  assert.deepEqual(missing, []);
});

Deno.test("log calls: each way of calling a logger, with its levels and message", () => {
  const source = [
    '/* log.info("not this") */ // nor log.info("that")',
    'log.info("one", { a: 1 });',
    "this.#log.warn(",
    "  `two ${x} three`,",
    ");",
    'getLogger(["sproxy", role]).error("four", { "b": 1 });',
    'log[isCut ? "warn" : "info"]("five");',
    "log.warn(TEXT, {});",
    'logger.debugger("no");',
    'catalog.info("no");',
  ].join("\n");
  assert.deepEqual(
    logCallsOf(source).map(({ levels, message }) => [levels.join(), message]),
    [
      ["info", "one"],
      ["warn", `two ${HOLE} three`],
      ["error", "four"],
      ["info,warn", "five"],
      ["warn", undefined],
    ],
  );
});

Deno.test("the check of captured lines sees another level, field, order, and what is not there", () => {
  const record = (
    level: "info" | "warning",
    rawMessage: string,
    properties: Record<string, unknown>,
  ): Parameters<typeof faultOf>[0] => ({
    ...{ category: ["sproxy", "x"], message: [], timestamp: 0 },
    ...{ level, rawMessage, properties },
  });
  const good = { tunnels: 1, ms: 2 };
  assert.equal(faultOf(record("info", "draining", good)), undefined);
  for (
    const bad of [
      record("warning", "draining", good),
      record("info", "drained", good),
      record("info", "draining", { ms: 2, tunnels: 1 }),
      record("info", "draining", { tunnels: 1 }),
      record("info", "draining", { ...good, more: 1 }),
    ]
  ) assert.ok(faultOf(bad));
});
