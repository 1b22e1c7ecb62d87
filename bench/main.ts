/**
 * Runs `deno task bench`: the tunnel beside plain TCP and `ssh -L`, or beside
 * the tunnel of another checkout, measured in the same run, in turn.
 *
 * @module
 */

import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { messageOf, UsageError } from "../lib/base/errors.ts";
import {
  findOrInstall,
  locate,
  locateAll,
  TOOLS,
} from "../tools/find_or_install.ts";
import type { Group } from "./bench.ts";
import { beside } from "./beside.ts";
import { bulk } from "./bulk.ts";
import { connections } from "./connections.ts";
import { growth } from "./growth.ts";
import { Interruption } from "./interruption.ts";
import { DEFAULT_PATHS, type PathName, readPaths } from "./lab/path_names.ts";
import { latency } from "./latency.ts";
import { describeMachine } from "./machine.ts";
import { Recorder, WAY_NAMES, type WayName } from "./measure.ts";
import { memory } from "./memory.ts";
import { type Peers, readPeers } from "./peers.ts";
import { programs } from "./programs.ts";
import { paths } from "./paths.ts";
import { redis } from "./redis.ts";
import {
  type GroupResults,
  markdownReport,
  type Results,
  type Skip,
  terminalTable,
} from "./report.ts";
import { resume } from "./resume.ts";
import { SshKit } from "./ssh.ts";

/** All groups, in the order in which they run. */
const GROUPS = [
  bulk,
  latency,
  beside,
  redis,
  programs,
  connections,
  memory,
  growth,
  resume,
  paths,
];

/** What is compared with another checkout unless told otherwise. */
const PAIRED = [bulk, latency, beside, redis, connections];

const HELP = `Measures the tunnel beside plain TCP and ssh -L, in turn.

Usage: deno task bench [flags]

  --rounds N         Rounds of the main figures, 1 to 50 (default 5)
  --only NAMES       Only these groups, separated by commas:
                     ${GROUPS.map(({ name }) => name).join(", ")}
  --ways NAMES       Only these ways: ${WAY_NAMES.join(", ")}
  --against DIR      Beside the tunnel of another checkout instead; unless
                     told otherwise, only the ways tunnel and other in
                     ${PAIRED.map(({ name }) => name).join(", ")}
  --paths PATHS      Only these long paths, as RTT/LOSS in ms and %, or narrow
                     (20 ms, 50 Mbit/s), e.g. 60/1,narrow
  --role-args ARGS   Flags for both roles of the tunnel, separated by spaces
  --json PATH        Writes all values to a file
  --report           Writes docs/performance.md
  --help             This text

Beside them, as the ways chisel and peer, where the environment names them:
  BENCH_CHISEL       Path of chisel
  BENCH_PEER_COMMAND A command that forwards, with {listen} and {target} where
                     it is to have host:port; it runs until SIGTERM
  BENCH_PEER_NAME    What it is called; default its first word
`;

/** Programs the bench can do without; what needs them is skipped. */
const OPTIONAL_TOOLS = [
  { command: "redis-benchmark", aptPackage: "redis-tools" },
  { command: "iperf3", aptPackage: "iperf3" },
  { command: "ssh", aptPackage: "openssh-client" },
  { command: "ssh-keygen", aptPackage: "openssh-client" },
  { command: "sshd", aptPackage: "openssh-server" },
].map((tool) => ({ ...tool, hint: tool.command }));

/** Programs that are used where they are: to install a database for a bench is too much. */
const FOUND_TOOLS = ["initdb", "postgres", "pgbench", "nginx", "h2load"];

/** The top of the project. */
const PROJECT = new URL("../", import.meta.url);

/** What was asked for. */
interface Settings {
  readonly rounds: number;
  readonly groups: readonly Group[];
  readonly ways: readonly WayName[];
  readonly paths: readonly PathName[];
  readonly against: URL | undefined;
  readonly peers: Peers;
  readonly roleArgs: readonly string[];
  readonly json: string | undefined;
  readonly report: boolean;
}

function say(line: string): void {
  // deno-lint-ignore no-console -- the bench's output
  console.log(line);
}

/**
 * Reads the command line; undefined when help was asked for.
 *
 * @throws {UsageError} naming the flag and its value.
 * @throws {TypeError} when a flag is unknown or has no value.
 */
function readSettings(args: readonly string[]): Settings | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", short: "h" },
      rounds: { type: "string", default: "5" },
      only: { type: "string" },
      ways: { type: "string" },
      paths: { type: "string", default: DEFAULT_PATHS },
      against: { type: "string" },
      "role-args": { type: "string", default: "" },
      json: { type: "string" },
      report: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { against, report } = values;
  if (report && against !== undefined) {
    throw new UsageError("--report is of ssh -L: not with --against");
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 50) {
    throw new UsageError(`--rounds "${values.rounds}" is not within 1 to 50`);
  }
  const groups = values.only === undefined
    ? against === undefined ? GROUPS : PAIRED
    : chosen("--only", values.only, GROUPS, ({ name }) => name);
  const peers = readPeers(Deno.env.toObject());
  const all = WAY_NAMES.filter((way) =>
    way === "other"
      ? against !== undefined
      : way === "chisel" || way === "peer"
      ? peers[way] !== undefined
      : true
  );
  const ways = values.ways === undefined
    ? against === undefined ? all : ["tunnel", "other"] as const
    : chosen("--ways", values.ways, all, (name) => name);
  return {
    rounds,
    groups,
    ways,
    peers,
    paths: readPaths(values.paths),
    against: against === undefined ? undefined : pathToFileURL(`${against}/`),
    roleArgs: values["role-args"].split(/\s+/).filter((word) => word !== ""),
    json: values.json,
    report,
  };
}

/** Those of `all` whose names are in a list with commas. */
function chosen<T>(
  flag: string,
  list: string,
  all: readonly T[],
  nameOf: (one: T) => string,
): readonly T[] {
  const names = list.split(",");
  const unknown = names.find((name) => !all.some((a) => nameOf(a) === name));
  if (unknown !== undefined) {
    throw new UsageError(
      `${flag} "${unknown}" is none of ${all.map(nameOf).join(", ")}`,
    );
  }
  return all.filter((one) => names.includes(nameOf(one)));
}

/** The programs that are here, after an attempt to install those missing. */
async function findTools(): Promise<ReadonlyMap<string, string>> {
  const wanted = [...TOOLS, ...OPTIONAL_TOOLS];
  const found = new Map<string, string>();
  for (const command of FOUND_TOOLS) {
    const path = await locate(command);
    if (path !== undefined) found.set(command, path);
  }
  try {
    return new Map([...found, ...await findOrInstall(() => {}, wanted)]);
  } catch (error) {
    say(messageOf(error));
    return new Map([...found, ...await locateAll(wanted)]);
  }
}

async function runBench(
  settings: Settings,
  signal: AbortSignal,
): Promise<Results> {
  const begun = performance.now();
  const date = new Date().toISOString();
  const tools = await findTools();
  await using cleanup = new AsyncDisposableStack();
  const ssh = await SshKit.make(tools);
  if (ssh) cleanup.use(ssh);
  const machine = await describeMachine(tools, ssh, settings.peers);
  const groups: GroupResults[] = [];
  const skipped: Skip[] = [];
  const skip = (what: string, why: string, fault?: "fault"): void => {
    say(`   not measured: ${what}: ${why}`);
    // A missing program is met once for each group that needs it.
    if (skipped.some((one) => one.what === what)) return;
    skipped.push({ what, why, failed: fault !== undefined });
  };
  for (const { title, method, run } of settings.groups) {
    say(`\n== ${title}`);
    const started = performance.now();
    const recorder = new Recorder();
    const record = (
      way: WayName,
      round: number,
      { figure, ...sample }: Parameters<
        Parameters<Group["run"]>[0]["record"]
      >[2],
    ): void => recorder.add(figure, { way, round, ...sample });
    try {
      await run({ ...settings, tools, ssh, signal, record, skip });
    } catch (error) {
      signal.throwIfAborted();
      skip(title, messageOf(error), "fault");
    }
    const { series } = recorder;
    groups.push({ title, method, series });
    if (series.length > 0) say(terminalTable(series));
    say(`   (${((performance.now() - started) / 1000).toFixed(0)} s)`);
  }
  const config = await Deno.readTextFile(new URL("deno.json", PROJECT));
  return {
    date,
    version: String(JSON.parse(config).version),
    rounds: settings.rounds,
    seconds: Math.round((performance.now() - begun) / 1000),
    machine,
    groups,
    skipped,
  };
}

/** Writes docs/performance.md; `bench/notes.md` is put into it. */
async function writeReport(results: Results): Promise<void> {
  const notes = await Deno.readTextFile(new URL("notes.md", import.meta.url));
  await Deno.writeTextFile(
    new URL("docs/performance.md", PROJECT),
    markdownReport(results, notes),
  );
}

async function main(): Promise<number> {
  let settings: Settings | undefined;
  try {
    settings = readSettings(Deno.args);
  } catch (error) {
    // deno-lint-ignore no-console -- a command-line tool's output
    console.error(`bench: ${messageOf(error)}; see --help`);
    return 2;
  }
  if (settings === undefined) {
    say(HELP);
    return 0;
  }
  using interrupted = new Interruption();
  try {
    const results = await runBench(settings, interrupted.signal);
    if (settings.json !== undefined) {
      const text = `${JSON.stringify(results, undefined, 2)}\n`;
      await Deno.writeTextFile(settings.json, text);
    }
    if (settings.report) await writeReport(results);
    say(`\n${results.seconds} s in all`);
    return results.skipped.some(({ failed }) => failed) ? 1 : 0;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    say("interrupted: everything started was ended, nothing was written");
    return 130;
  }
}

if (import.meta.main) Deno.exit(await main());
