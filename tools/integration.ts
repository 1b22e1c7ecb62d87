/**
 * Runs the integration tests: `deno task test:integration [FILE...] [FLAG...]`,
 * with flags of `deno test`. They wait more than they work, for processes, for
 * time limits and for silence, so that several files run side by side; what
 * needs the machine to itself runs alone, after the others. Of those side by
 * side a few that failed get a second chance, alone, at the end: what then passes
 * is named, and has passed.
 *
 * @module
 */

import {
  conclude,
  outcomeOf,
  type RunOutcome,
  secondChances,
} from "./test_outcome.ts";

/** Files that run alone, each for a reason. Others run side by side. */
export const ALONE: readonly { readonly file: string; readonly why: string }[] =
  [
    {
      file: "attacks_opens_test.ts",
      why:
        "floods of 32,000 opens take the processor from others; the honest open is to be served within 5 s beside them",
    },
    {
      file: "descriptors_test.ts",
      why:
        "a thousand connections at once, each to be decided within 4 s, which is the promise",
    },
    {
      file: "limits_test.ts",
      why: "compares how quick a tunnel is beside 500 others and without them",
    },
  ];

/** The folder of the tests. */
const FOLDER = "integration_tests";

/** The top of the project. */
const PROJECT = new URL("../", import.meta.url);

/** Files side by side for each core: a file computes half of its time at most. */
const JOBS_PER_CORE = 2;

/** Files side by side at most: each has up to ten processes, of 100 MB or less. */
const MAX_JOBS = 8;

/** The integration tests, by how they run. */
export interface Passes {
  /** Those that run side by side. */
  readonly together: readonly string[];
  /** Those that run one after the other. */
  readonly alone: readonly string[];
}

/** Divides `files`, names in the folder of the tests: each is in exactly one pass. */
export function passesOf(files: readonly string[]): Passes {
  const alone = new Set(ALONE.map(({ file }) => file));
  return {
    together: files.filter((file) => !alone.has(file)),
    alone: files.filter((file) => alone.has(file)),
  };
}

/** The names of all integration tests, sorted. */
export async function integrationTests(): Promise<string[]> {
  const files: string[] = [];
  for await (const { name } of Deno.readDir(new URL(FOLDER, PROJECT))) {
    if (name.endsWith("_test.ts")) files.push(name);
  }
  return files.sort();
}

/** How many files run side by side: `DENO_JOBS`, or by the cores. */
function jobs(): string {
  const wanted = Deno.env.get("DENO_JOBS") ?? "";
  if (wanted !== "") return wanted;
  const fitting = JOBS_PER_CORE * navigator.hardwareConcurrency;
  return String(Math.min(fitting, MAX_JOBS));
}

/** Runs `deno test` on `files`; what came of it. */
async function test(
  files: readonly string[],
  { flags, env = {} }: {
    readonly flags: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<RunOutcome> {
  const paths = files.map((file) => `${FOLDER}/${file}`);
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--frozen", ...flags, ...paths],
    cwd: PROJECT,
    env: { ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const decoder = new TextDecoder();
  let output = "";
  for await (const bytes of child.stdout) {
    output += decoder.decode(bytes, { stream: true });
    await writeAll(bytes);
  }
  const { success } = await child.status;
  return outcomeOf(files, { success, output });
}

/** Shows it as it comes. */
async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await Deno.stdout.write(bytes.subarray(at));
  }
}

function say(line: string): void {
  // deno-lint-ignore no-console -- what the command prints
  console.log(line);
}

/** Runs what `args` name, or all; the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const isFile = (arg: string): boolean => arg.endsWith("_test.ts");
  const flags = args.filter((arg) => !isFile(arg));
  const named = args.filter(isFile).map((path) => path.replace(/^.*\//, ""));
  const passes = passesOf(named.length > 0 ? named : await integrationTests());
  const pass = async (
    how: string,
    files: readonly string[],
    options: Parameters<typeof test>[1],
  ): Promise<RunOutcome> => {
    if (files.length === 0) return { files: new Map(), elsewhere: 0 };
    say(`== integration tests, ${how}: ${files.length} files`);
    const started = performance.now();
    const outcome = await test(files, options);
    const seconds = Math.round((performance.now() - started) / 1000);
    say(`== integration tests, ${how}: ${seconds} s`);
    return outcome;
  };
  const env = { DENO_JOBS: jobs() };
  const together = await pass(
    `${env.DENO_JOBS} files side by side`,
    passes.together,
    { flags: ["--parallel", ...flags], env },
  );
  // Also after a failure: it tells what else there is.
  const alone = await pass("one file at a time", passes.alone, { flags });
  const again = await pass(
    "once more, one file at a time",
    secondChances(together),
    { flags },
  );
  const { passed, failed, flaky } = conclude({ together, alone, again });
  for (const file of flaky) say(`flaky beside others: ${file}`);
  // .ci/run reads it.
  say(`== integration tests: ${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
