/** The project's own promises about itself: its tasks, and what no file may say. */
import assert from "node:assert/strict";

const PROJECT = new URL("../../", import.meta.url);

/** The tasks the README and the workflows rely on. */
const TASKS = [
  "server",
  "client",
  "exec",
  "demo",
  "setup",
  "test",
  "test:unit",
  "test:integration",
  "gate",
  "compile",
  "compile:server",
  "compile:client",
];

/** Directories that are not the project's text. */
const SKIPPED = /^(\.git|\.cache|node_modules|dist|coverage)$/;

/** Files larger than this are not text, in bytes. */
const MAX_TEXT = 2 * 1024 * 1024;

/**
 * What no file may hold. Each is put together from two halves, so that this
 * file passes its own test.
 */
const FORBIDDEN: readonly {
  readonly what: string;
  readonly pattern: RegExp;
}[] = [
  {
    what: "a package of a registry that is out of reach",
    pattern: new RegExp(`\\bjs${"r"}:|@js${"r"}/`),
  },
  {
    what: "the host of a package registry",
    pattern: new RegExp(
      `\\b(registry\\.npm${"js"}|npm${"js"}\\.(org|com)|js${"r"}\\.io|registry\\.yarn${"pkg"}|proxy\\.golan${"g"})`,
    ),
  },
  {
    what: "a path of somebody's machine",
    pattern: new RegExp(
      `(^|[\\s"'\`(=:,])(file://)?/(wor${"k"}|roo${"t"}|hom${"e"}|User${"s"})/`,
      "m",
    ),
  },
];

async function* texts(
  directory: URL,
): AsyncGenerator<{ readonly path: string; readonly text: string }> {
  for await (const { name, isDirectory, isFile } of Deno.readDir(directory)) {
    if (SKIPPED.test(name)) continue;
    if (isDirectory) yield* texts(new URL(`${name}/`, directory));
    if (!isFile) continue;
    const url = new URL(name, directory);
    if ((await Deno.stat(url)).size > MAX_TEXT) continue;
    const path = url.pathname.slice(PROJECT.pathname.length);
    yield { path, text: await Deno.readTextFile(url) };
  }
}

async function tasks(): Promise<Record<string, string>> {
  const config = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", PROJECT)),
  );
  return config.tasks ?? {};
}

Deno.test("deno.json has every documented task", async () => {
  const all = await tasks();
  assert.deepEqual(TASKS.filter((name) => !(name in all)), []);
});

Deno.test("deno.json starts the roles with least permissions, compiled or not", async () => {
  const all = await tasks();
  for (const role of ["server", "client"]) {
    const permissions = (command = ""): string[] =>
      command.split(/\s+/).filter((word) => /^(-A|--allow-)/.test(word)).sort();
    const run = permissions(all[role]);
    assert.ok(run.includes("--allow-net"), `${role}: ${run.join(" ")}`);
    for (const wide of ["-A", "--allow-all", "--allow-run", "--allow-ffi"]) {
      assert.ok(!run.includes(wide), `${role} must not be given ${wide}`);
    }
    // A binary runs anywhere: the same kinds, not the same directories; and
    // nobody can add to it what `exec` needs.
    const kinds = (words: string[]): string[] =>
      words.map((word) => word.replace(/=.*/, ""));
    assert.deepEqual(
      kinds(permissions(all[`compile:${role}`])),
      kinds([...run, ...(role === "client" ? ["--allow-run"] : [])]).sort(),
    );
  }
});

Deno.test("deno task exec is the client, and may run commands", async () => {
  const { client = "", exec = "" } = await tasks();
  assert.equal(
    exec.replace(" --allow-run", ""),
    client.replace(/ client\.ts$/, " client.ts exec"),
  );
  assert.ok(exec.includes(" --allow-run "));
});

Deno.test("no file holds what it must not", async () => {
  const found: string[] = [];
  let files = 0;
  for await (const { path, text } of texts(PROJECT)) {
    files++;
    for (const { what, pattern } of FORBIDDEN) {
      const match = pattern.exec(text);
      if (match) found.push(`${path}: ${what}: ${JSON.stringify(match[0])}`);
    }
  }
  assert.ok(files > 20, `only ${files} files were read`);
  assert.deepEqual(found, []);
});

Deno.test("the forbidden patterns find what they are for", () => {
  const samples = [
    `import "js${"r"}:@std/assert"`,
    `from https://registry.npm${"js"}.org/x`,
    `see "/wor${"k"}/main/lib" there`,
  ];
  for (const [index, { pattern }] of FORBIDDEN.entries()) {
    assert.ok(pattern.test(samples[index] ?? ""), samples[index]);
  }
});
