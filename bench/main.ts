/**
 * `deno task bench`: the tunnel beside plain TCP and `ssh -L`, measured in
 * the same run, in turn.
 *
 * @module
 */

import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { messageOf, UsageError } from "../lib/base/errors.ts";
import type { Bench, Group } from "./bench.ts";
import { bulk } from "./bulk.ts";
import { connections } from "./connections.ts";
import { growth } from "./growth.ts";
import { latency } from "./latency.ts";
import { describeMachine } from "./machine.ts";
import { markdownReport } from "./markdown.ts";
import { Recorder, type Skip, WAY_NAMES, type WayName } from "./measure.ts";
import { memory } from "./memory.ts";
import { redis } from "./redis.ts";
import { jsonReport, type Results, terminalTable } from "./report.ts";
import { resume } from "./resume.ts";
import { SshKit } from "./ssh.ts";
import { findTools } from "./tools.ts";

const HELP = `Measures the tunnel beside plain TCP and ssh -L, in turn.

Usage: deno task bench [flags]

  --quick            One short round of everything, a few minutes
  --rounds N         Rounds of the main figures, 1 to 50 (default 5)
  --only NAMES       Only these groups, separated by commas: GROUPS
  --ways NAMES       Only these ways: ${WAY_NAMES.join(", ")}
  --role-args ARGS   Flags for both roles of the tunnel, separated by spaces
  --json PATH        Where the JSON goes (default bench/results/latest.json)
  --against DIR      Also measures the tunnel of another checkout, in turn
                     with this one, and prints the ratios
  --report           Also writes docs/performance.md
  --help             This text
`;

/** All groups, in the order in which they run. */
const GROUPS: readonly Group[] = [
  bulk,
  latency,
  redis,
  connections,
  memory,
  growth,
  resume,
];

/** Longest the whole bench may take, in ms: twice what it takes, for each round and beside them. */
const LIMIT = { round: 6 * 60_000, once: 25 * 60_000 } as const;

/** The top of the project. */
const PROJECT = new URL("../", import.meta.url);

/** What was asked for. */
interface Settings {
  readonly help: boolean;
  readonly quick: boolean;
  readonly rounds: number;
  readonly groups: readonly Group[];
  readonly ways: readonly WayName[];
  readonly roleArgs: readonly string[];
  readonly json: string | URL;
  readonly report: boolean;
  readonly against: URL | undefined;
}

function say(line: string): void {
  // deno-lint-ignore no-console -- the bench's output
  console.log(line);
}

/**
 * Reads the command line.
 *
 * @throws {UsageError} naming the flag and its value.
 */
function readSettings(args: readonly string[]): Settings {
  const { values } = parseFlags(args);
  const quick = values.quick ?? false;
  const rounds = Number(values.rounds ?? (quick ? 1 : 5));
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 50) {
    throw new UsageError(`--rounds "${values.rounds}" is not within 1 to 50`);
  }
  return {
    help: values.help ?? false,
    quick,
    rounds,
    groups: chosen("--only", values.only, GROUPS, ({ name }) => name),
    ways: chosen("--ways", values.ways, WAY_NAMES, (name) => name),
    roleArgs: (values["role-args"] ?? "").split(/\s+/).filter((w) => w !== ""),
    json: values.json ?? new URL("bench/results/latest.json", PROJECT),
    report: values.report ?? false,
    against: values.against === undefined
      ? undefined
      : pathToFileURL(`${values.against}/`),
  };
}

/** The flags as `parseArgs` takes them. */
const FLAGS = {
  help: { type: "boolean", short: "h" },
  quick: { type: "boolean" },
  rounds: { type: "string" },
  only: { type: "string" },
  ways: { type: "string" },
  "role-args": { type: "string" },
  json: { type: "string" },
  report: { type: "boolean" },
  against: { type: "string" },
} as const;

function parseFlags(
  args: readonly string[],
): ReturnType<typeof parseArgs<{ options: typeof FLAGS }>> {
  try {
    return parseArgs({ args: [...args], options: FLAGS });
  } catch (error) {
    throw new UsageError(messageOf(error), { cause: error });
  }
}

/** Those of `all` whose names are in a list with commas; all without a list. */
function chosen<T>(
  flag: string,
  list: string | undefined,
  all: readonly T[],
  nameOf: (one: T) => string,
): readonly T[] {
  if (list === undefined) return all;
  const names = list.split(",");
  const unknown = names.find((name) => !all.some((a) => nameOf(a) === name));
  if (unknown !== undefined) {
    throw new UsageError(
      `${flag} "${unknown}" is none of ${all.map(nameOf).join(", ")}`,
    );
  }
  return all.filter((one) => names.includes(nameOf(one)));
}

async function runBench(
  settings: Settings,
  { signal, interrupted }: {
    /** Ends the bench, for whatever reason. */
    readonly signal: AbortSignal;
    /** Aborted when somebody ended it: then nothing is worth keeping. */
    readonly interrupted: AbortSignal;
  },
): Promise<Results> {
  const begun = performance.now();
  const date = new Date().toISOString();
  const tools = await findTools(say);
  await using cleanup = new AsyncDisposableStack();
  const ssh = await SshKit.make(tools);
  if (ssh) cleanup.use(ssh);
  const machine = await describeMachine(tools, ssh);
  const recorder = new Recorder();
  const skipped: Skip[] = [];
  const skip = (one: Skip) => {
    say(`   not measured: ${one.what}: ${one.why}`);
    // A missing program is met once for each group that needs it.
    if (!skipped.some(({ what }) => what === one.what)) skipped.push(one);
  };
  const bench: Bench = {
    ...settings,
    tools,
    ssh,
    signal,
    say,
    record: (figure, value) => recorder.add(figure, value),
    skip: (what, why) => skip({ what, why, failed: false }),
    fail: (what, error) => skip({ what, why: messageOf(error), failed: true }),
  };
  for (const group of settings.groups) {
    say(`\n== ${group.title}`);
    const started = performance.now();
    try {
      await group.run(bench);
    } catch (error) {
      interrupted.throwIfAborted();
      bench.fail(group.title, error);
    }
    const rows = recorder.series.filter(({ figure }) =>
      figure.group === group.name
    );
    if (rows.length > 0) say(terminalTable(rows));
    say(`   (${((performance.now() - started) / 1000).toFixed(0)} s)`);
    if (signal.aborted) break; // out of time: what there is is kept
  }
  return {
    date,
    version: await projectVersion(),
    quick: settings.quick,
    rounds: settings.rounds,
    seconds: Math.round((performance.now() - begun) / 1000),
    machine,
    groups: settings.groups.map(({ name, title }) => ({ name, title })),
    series: recorder.series,
    skipped,
  };
}

/** Writes docs/performance.md; `bench/notes.md` is put into it. */
async function writeReport(results: Results): Promise<void> {
  await Deno.writeTextFile(
    new URL("docs/performance.md", PROJECT),
    markdownReport(results, await readNotes()),
  );
}

/** What people wrote about the figures; empty when they did not. */
async function readNotes(): Promise<string> {
  try {
    return await Deno.readTextFile(new URL("notes.md", import.meta.url));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

async function projectVersion(): Promise<string> {
  const text = await Deno.readTextFile(new URL("deno.json", PROJECT));
  return String(JSON.parse(text).version);
}

async function main(): Promise<number> {
  let settings: Settings;
  try {
    settings = readSettings(Deno.args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    // deno-lint-ignore no-console -- a command-line tool's output
    console.error(`bench: ${error.message}; see --help`);
    return 2;
  }
  if (settings.help) {
    const names = GROUPS.map(({ name }) => name).join(", ");
    say(HELP.replace("GROUPS", names));
    return 0;
  }
  const interrupted = new AbortController();
  const onSignal = () => interrupted.abort(new Error("interrupted"));
  Deno.addSignalListener("SIGINT", onSignal);
  Deno.addSignalListener("SIGTERM", onSignal);
  try {
    const signal = AbortSignal.any([
      interrupted.signal,
      AbortSignal.timeout(LIMIT.once + LIMIT.round * settings.rounds),
    ]);
    const results = await runBench(settings, {
      signal,
      interrupted: interrupted.signal,
    });
    await Deno.mkdir(new URL("bench/results/", PROJECT), { recursive: true });
    await Deno.writeTextFile(settings.json, jsonReport(results));
    if (settings.report) await writeReport(results);
    say(`\n${results.seconds} s in all`);
    return results.skipped.some(({ failed }) => failed) ? 1 : 0;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    say("interrupted: everything started was ended, nothing was written");
    return 130;
  } finally {
    Deno.removeSignalListener("SIGINT", onSignal);
    Deno.removeSignalListener("SIGTERM", onSignal);
  }
}

if (import.meta.main) Deno.exit(await main());
