/** What a program says that fails of a fault of its own. */
import assert from "node:assert/strict";

const MAIN = new URL("../../lib/process/main.ts", import.meta.url).href;

/** What a server whose role has a fault writes to standard error. */
async function faulty(args: readonly string[]): Promise<string> {
  const code = `
    import { main } from ${JSON.stringify(MAIN)};
    Deno.exit(await main("server", () => {
      throw new TypeError("out of luck");
    }));
  `;
  const child = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      code,
      "--",
      "--listen-addr",
      "off",
      "--log-level",
      "error",
      ...args,
    ],
    cwd: new URL("../../", import.meta.url),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  assert.equal(child.code, 1);
  return new TextDecoder().decode(child.stderr);
}

Deno.test("main() shows the stack of a fault of the program", async () => {
  assert.match(
    await faulty([]),
    /^error: internal error: TypeError: out of luck\n +at .*\n/,
  );
});

Deno.test("main() shows the stack of a fault as a field in JSON", async () => {
  const entry = JSON.parse(
    await faulty(["--log-format", "json"]),
  );
  assert.equal(entry.level, "error");
  assert.equal(entry.msg, "internal error");
  assert.equal(entry.error, "out of luck");
  assert.match(entry.stack, /^TypeError: out of luck\n +at /);
});
