#!/usr/bin/env node
// Runs the program beside this file with the Deno that npm has installed.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const isWindows = process.platform === "win32";

/** Where Deno is: its package puts it beside itself, unless scripts are off. */
// deno-lint-ignore explicit-function-return-type -- JavaScript has no types
function findDeno() {
  const folder = dirname(require.resolve("deno/package.json"));
  const path = join(folder, isWindows ? "deno.exe" : "deno");
  return existsSync(path) ? path : require("deno/install_api.cjs").runInstall();
}

const deno = findDeno();
const program = fileURLToPath(new URL("./PROGRAM.js", import.meta.url));
const args = [
  ...["run", "--no-config", "--no-lock", "--no-prompt"],
  ...["--unstable-net", "PERMISSIONS"],
  ...[program, ...process.argv.slice(2)],
];

if (!isWindows && typeof process.execve === "function") {
  // Deno becomes this process: signals are its own. That this is new in Node
  // is nothing to tell the user of.
  process.emitWarning = () => {};
  process.execve(deno, [deno, ...args], process.env);
}

const child = spawn(deno, args, { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("exit", (code, signal) => {
  process.exit(code ?? 128 + (constants.signals[signal ?? ""] ?? 0));
});
child.on("error", (error) => {
  process.stderr.write(`error: cannot run ${deno}: ${error.message}\n`);
  process.exit(1);
});
