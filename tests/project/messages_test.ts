/** The readers that hold the guide to the source, on small samples. */
import assert from "node:assert/strict";
import { literalsOf } from "../support/literals.ts";
import { isQuoted, messagesOf, quotesOf, Said } from "../support/messages.ts";

function textsOf(source: string): string[] {
  return literalsOf(source).map(({ text }) => text);
}

function toldBy(source: string): string[] {
  return messagesOf(source).map(({ text }) => text);
}

Deno.test("literals: strings and templates, with what surrounds them", () => {
  const source = [
    "// no `comment",
    '/* nor "this" */',
    'this.#log.warn("one two", { why: `the ${name} of ${f("x")}` });',
    "const A: string | undefined =",
    "  'three';",
  ].join("\n");
  assert.deepEqual(literalsOf(source), [
    { text: "one two", line: 3, within: ["this.#log.warn"], name: "" },
    { text: "x", line: 3, within: ["this.#log.warn", "f"], name: "" },
    { text: "the … of …", line: 3, within: ["this.#log.warn"], name: "why" },
    { text: "three", line: 5, within: [], name: "A" },
  ]);
});

Deno.test("literals: holes with braces, strings and templates of their own", () => {
  assert.deepEqual(
    textsOf('f(`a ${b ? `c ${d({ e: "}" })} f` : "g`"} h ${`i`}`)'),
    ["}", "c … f", "g`", "i", "a … h …"],
  );
});

Deno.test("literals: escapes, and patterns that look like something else", () => {
  assert.deepEqual(textsOf('x("say \\"no\\"\\n", `a\\`b\\${c}`)'), [
    'say "no" ',
    "a`b${c}",
  ]);
  assert.deepEqual(
    textsOf('const a = /["`\\/]/.test(b) ? c / d : (e) / f; return /\'/; "g"'),
    ["g"],
  );
});

Deno.test("literals: the function in whose body they stand", () => {
  const [found] = literalsOf(
    'get x(): A { } #notReadyReason(a: B): string | undefined { if (c) { return "d"; } }',
  );
  assert.deepEqual(found?.within, ["#notReadyReason"]);
});

Deno.test("literals: what is not understood is told with its line", () => {
  assert.throws(() => literalsOf("a\n(`b"), /line 2/);
  assert.throws(() => literalsOf("a\n)("), /line 2/);
});

Deno.test("messages: at each place that tells, in constants, functions and holes", () => {
  const told = [
    'log.warn("stalled")',
    'getLogger(["a"]).error("failed")',
    "log[level](`broken`)",
    'throw new RunError("Gone")',
    'throw new UsageError(["Wrong"])',
    'const reason = { code, text: "gone" };',
    'let notReadyReason: string | undefined = "waiting";',
    '#notReadyReason(): string { return "waiting"; }',
    "f(`for ${x} only`)",
    'const HINT = "in a constant";',
    'function f(): string { return "from a function"; }',
    "g(`${n} ${n === 1 ? `of a hole` : x}`)",
  ];
  for (const source of told) assert.equal(toldBy(source).length, 1, source);
});

Deno.test("messages: not names, keys, help, nor lines that tell of nothing wrong", () => {
  const silent = [
    'import { a } from "./a.ts";',
    'const key = "nats.url";',
    'x === "half-closed"',
    'log.info("all is well", { why: "it is so" })',
    "this.#log.debug(`message ${x} dropped`)",
    'const option = { help: "How long it takes" };',
    'const finding = { todo: "start it anew" };',
    'function remedyOf(): string { return "start it anew"; }',
    "`${a}: ${b}`",
  ];
  for (const source of silent) assert.deepEqual(toldBy(source), [], source);
});

Deno.test("quotes: code in headings and in the first column of tables alone", () => {
  const guide = [
    "# Guide",
    "### `one`, `two  …`",
    "Text with `code`.",
    "| Message | Why |",
    "| ------- | --- |",
    "| `three \\| four` | `five` |",
    "- `six`",
  ].join("\n");
  assert.deepEqual(quotesOf(guide), ["one", "two …", "three | four"]);
});

Deno.test("a message is quoted when its parts are, as whole words and in order", () => {
  const quotes = ["Cannot listen on …: the port is in use; …", "it has a path"];
  assert.ok(isQuoted("Cannot … …: …", quotes));
  assert.ok(isQuoted("the port is in use; …", quotes));
  assert.ok(isQuoted("it has a path", quotes));
  assert.ok(!isQuoted("it has a pat", quotes));
  assert.ok(!isQuoted("in use … Cannot", quotes));
  assert.ok(!isQuoted("Cannot … a path", quotes), "of two quotes");
  assert.ok(!isQuoted("it has a path; write host:port", quotes));
  assert.ok(!isQuoted("it has (a) path?", quotes));
});

Deno.test("a quote is said when texts of sources, put together, give it", () => {
  const said = new Said([
    "… is not ",
    "longer than …",
    "so a",
    " silence",
    "s",
    "…, ",
    ", is not",
  ]);
  assert.deepEqual(said.unsaid("x.y (…, is not longer than …"), ["x.y ("]);
  assert.deepEqual(said.unsaid("… is not longer than …, so a silence"), []);
  assert.deepEqual(said.unsaid("… so a silences"), ["so a silences"]);
  assert.deepEqual(said.unsaid("… is longer than …"), ["is longer than"]);
});
