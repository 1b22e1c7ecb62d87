/**
 * Checks all that can be said without running the program: `deno task gate`.
 * Stops at the first step that says no. The tests are `deno task test`.
 *
 * @module
 */

import type { Role } from "../lib/wire/subjects.ts";
import { compileProgram } from "./release/compile.ts";
import { ROLES } from "./release/targets.ts";

/** The top of the project. */
const PROJECT = new URL("../", import.meta.url).pathname;

/** A step of the gate; throws to say no. */
interface Step {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** A step that runs `deno` with these arguments. */
function deno(name: string, args: readonly string[]): Step {
  return { name, run: () => runDeno(args) };
}

async function runDeno(args: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: PROJECT,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (code !== 0) {
    throw new Error(`\`deno ${args.join(" ")}\` ended with exit code ${code}`);
  }
}

/** The public modules: what `deno doc --lint` reads. */
async function documented(): Promise<string[]> {
  const files: string[] = [];
  for await (const room of Deno.readDir(`${PROJECT}lib`)) {
    for await (const { name } of Deno.readDir(`${PROJECT}lib/${room.name}`)) {
      files.push(`lib/${room.name}/${name}`);
    }
  }
  return [...files.sort(), ...ROLES.map((role) => `${role}.ts`)];
}

/**
 * `deno doc --lint`, less what it says of types that an exported one refers
 * to: nobody imports this program, so that they need not be public.
 */
async function documentation(): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", ...await documented()],
    cwd: PROJECT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const text = new TextDecoder().decode(stderr);
  const found = text.split(/^(?=error\[)/m).filter((part) =>
    part.startsWith("error[")
  );
  const faults = found.filter((part) =>
    !part.startsWith("error[private-type-ref]")
  );
  // Nothing found and yet no success: the command itself failed.
  if (faults.length === 0 && found.length > 0) return;
  say(faults.length > 0 ? faults.join("\n\n") : text);
  throw new Error(`${faults.length} exported symbols lack documentation`);
}

/**
 * Compiles a role with the flags of its task, into a directory that is
 * removed. Compiling proper downloads a runtime to embed, which a build
 * machine may not reach; here the running `deno` stands in for it.
 */
async function compile(role: Role): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "compile-" });
  try {
    const output = `${directory}/${role}`;
    await compileProgram({ role, output, standIn: Deno.execPath() });
    const { size } = await Deno.stat(output);
    say(
      `${role}: embeds and links, ${
        Math.round(size / 1024 / 1024)
      } MiB with the stand-in runtime; this file was not run and would not run`,
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const STEPS: readonly Step[] = [
  deno("format", ["fmt", "--check"]),
  deno("lint", ["lint"]),
  deno("types, lock file as it is", ["check", "--frozen", "."]),
  { name: "documentation", run: documentation },
  deno("documentation of the library, whole", ["doc", "--lint", "mod.ts"]),
  deno("package for JSR", [
    ...["publish", "--dry-run", "--allow-dirty", "--quiet"],
  ]),
  deno("layers", [
    "test",
    "--frozen",
    "--allow-read=.",
    "tests/project/architecture_test.ts",
  ]),
  ...ROLES.map((role) => ({
    name: `compile ${role}`,
    run: () => compile(role),
  })),
];

function say(line: string): void {
  // deno-lint-ignore no-console -- the gate's output
  console.log(line);
}

async function main(): Promise<number> {
  const begun = performance.now();
  for (const { name, run } of STEPS) {
    say(`== ${name}`);
    const started = performance.now();
    try {
      await run();
    } catch (error) {
      say(
        `== ${name}: FAILED: ${error instanceof Error ? error.message : error}`,
      );
      return 1;
    }
    say(`== ${name}: ok (${seconds(started)})`);
  }
  say(`== gate: ok, ${STEPS.length} steps (${seconds(begun)})`);
  return 0;
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

if (import.meta.main) Deno.exit(await main());
