/**
 * The frame of both programs: command line, log, signals, status, workers and
 * exit codes.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Address, formatAddress } from "../base/address.ts";
import { type CommandLine, parseCommandLine } from "../config/cli.ts";
import { asksForJson } from "../config/log_choice.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { WayIn } from "../config/ways_in.ts";
import { systemClock } from "../base/clock.ts";
import {
  type ReadFiles,
  systemSources,
  takeServiceVariables,
} from "../config/sources.ts";
import { messageOf, RunError } from "../base/errors.ts";
import { closeLog, configureLog, say, setLogLevel, speakAs } from "./log.ts";
import type { Role } from "../wire/subjects.ts";
import { authReader } from "./auth_reader.ts";
import { checkFiles } from "./check.ts";
import { DebuggerGuard } from "./debugger.ts";
import {
  type Consumers,
  consumersOf,
  planDescriptors,
  workersOf,
} from "./descriptors.ts";
import { EXIT, explain, logNotices } from "./explain.ts";
import { type Exposure, ExposureLog, exposures, modeOf } from "./exposures.ts";
import { isJournal } from "./journal.ts";
import type { RoleHost } from "./role_host.ts";
import { runKeyCommand } from "./key_command.ts";
import { Execution } from "./run_exec.ts";
import { readKeys } from "./key_files.ts";
import { Looks, processView } from "./look.ts";
import { checkLogin, loginReader, type Pipes } from "./login_files.ts";
import type { Metric } from "./metric.ts";
import type { CollectMetrics } from "./metrics.ts";
import type { ProcessFacts } from "./process_metrics.ts";
import { LiveReload } from "./live_reload.ts";
import { Reloads } from "./reload.ts";
import { Reloader } from "./reloader.ts";
import { exitCodeOf, isStop, logStops, watchSignals } from "./signals.ts";
import type { Status, StatusOptions, StatusServer } from "./status.ts";
import { StatusToken } from "./status_token.ts";
import { systemDescriptors, toldDescriptors } from "../net/descriptors.ts";
import { listenHosts } from "../net/listen.ts";
import { filesOf, watchConfig } from "./watch.ts";
import type { Tools } from "./tool.ts";
import type { RunRole } from "./worker.ts";
import { startFields } from "./start_line.ts";
import { checkListenable } from "./ways_in.ts";
import { runWorkers } from "./workers.ts";

/**
 * Runs the program of `role` and returns its exit code.
 *
 * @param role Which program.
 * @param run What it does with its configuration until told to stop.
 * @param tools What an operator may call in place of that.
 */
export async function main<R extends Role>(
  role: R,
  run: RunRole<R>,
  tools: Tools,
): Promise<number> {
  try {
    const files: ReadFiles = new Map();
    const sources = systemSources(files);
    const { env } = sources;
    speakAs({
      format: asksForJson(Deno.args, env) ? "json" : "text",
      journal: await isJournal(env),
    });
    const command = parseCommandLine(role, Deno.args, sources);
    if (command.kind === "key") {
      const { output, note } = runKeyCommand(command.command);
      print(output);
      if (note !== undefined) say({ level: "info", text: note });
      return EXIT.ok;
    }
    if (command.kind === "check") {
      const { config, secretFiles, notices, text } = command;
      for (const note of await checkFiles(config, { secretFiles, notices })) {
        say(note);
      }
      print(text);
      return EXIT.ok;
    }
    if (command.kind === "tool") {
      const { config, notices } = command;
      configureLog(config.log);
      logNotices(role, notices);
      return await callTool(role, command, tools);
    }
    if (command.kind !== "run") {
      print(command.text);
      return EXIT.ok;
    }
    const { config, configFile, notices } = command;
    configureLog(config.log);
    const log = getLogger(["sproxy", role]);
    if (configFile !== undefined) {
      log.info("configuration read", { file: configFile });
    }
    logNotices(role, notices);
    const oneShot = config.role === "client"
      ? config.client.oneShot
      : undefined;
    const execution = oneShot?.kind === "exec"
      ? new Execution(oneShot)
      : undefined;
    const statusAt = statusAddress(config);
    // Before a permission is given up without which nothing is told.
    const told = statusAt.address === undefined ? undefined : toldDescriptors();
    // Who starts no command needs no permission to.
    if (execution === undefined) Deno.permissions.revokeSync({ name: "run" });
    let onHangup = (): void => {};
    using guard = new DebuggerGuard();
    using stop = watchSignals({
      onHangup: oneShot === undefined ? () => onHangup() : undefined,
      pass: (signal) => execution?.pass(signal) ?? false,
      onUser1: () => guard.onSignal(),
    });
    logStops(stop);
    // For all workers: each for itself could not read a pipe.
    const pipes: Pipes = new Map();
    const readAuth = authReader(role, { args: Deno.args, files, command });
    const readLogin = await loginReader(config.nats, pipes, readAuth);
    readLogin();
    const keys = readKeys(config.security, pipes);
    const start = {
      role,
      args: Deno.args,
      files,
      pipes,
      config,
      configFile,
      notices,
    };
    const reloader = new Reloader({ ...start, keys });
    reloader.logStart();
    const { secretFiles } = command;
    const count = workersOf(config);
    const waysIn = config.role === "client" ? config.client.forwards : [];
    const consumers = (waysIn: readonly WayIn[]): Consumers =>
      consumersOf(config, waysIn);
    let read = (): Status => ({ notReadyReason: "starting", metrics: [] });
    const { drainTimeout } = config.tunnel;
    const variables = takeServiceVariables();
    // What is a connection for another program speaks for no service.
    await using service =
      variables.notifySocket === undefined || oneShot?.kind === "stdio"
        ? undefined
        : (await import("./service_manager.ts")).openServiceManager(
          variables,
          { read: () => read(), drainTimeout },
        );
    // Before anything else takes some.
    const descriptors = planDescriptors(consumers(waysIn), systemDescriptors());
    const { level, text, about } = descriptors.notice;
    log[level](text, about);
    const { collect, ofProcess } = await loadMetrics(statusAt);
    const reloads = new Reloads();
    const looks = new Looks(processView(config, count), systemClock);
    const token = new StatusToken(config, {
      pipes,
      isUsed: statusAt.address !== undefined,
    });
    reloads.join(token);
    await using _status = await openStatus({
      ...statusAt,
      look: () => looks.snapshot(),
      token: () => token.current,
      maxConnections: descriptors.statusConnections,
      read: () => {
        const { metrics, ...rest } = read();
        const status = { ...rest, metrics };
        const own = ofProcess({
          role,
          status,
          descriptors: {
            open: told?.open(),
            limit: told?.limit ?? descriptors.limit,
          },
        });
        return { ...status, metrics: [...own, ...metrics] };
      },
    });
    const openNow = (
      config: ConfigByRole[Role],
      listensAt: readonly (readonly string[])[],
    ): readonly Exposure[] => [
      ...exposures(config, { listensAt, secretFiles, modeOf }),
    ];
    const exposed = new ExposureLog();
    let onTaken = (): void => {};
    using reloading = new LiveReload({
      reloader,
      parts: reloads,
      onBegin: (cause) => {
        service?.reloading();
        checkLogin(config.nats, readLogin, { cause, secretFiles });
      },
      onEnd: (failed) => service?.reloaded(failed),
      fit: (config) => {
        if (config.role !== "client") return {};
        const { forwards } = config.client;
        const { tunnels, strangers } = descriptors.again(consumers(forwards));
        return { tunnelsByDescriptors: tunnels, maxStrangers: strangers };
      },
      onTaken: async (config) => {
        setLogLevel(config.log.level);
        onTaken();
        const waysIn = config.role === "client" ? config.client.forwards : [];
        exposed.tell(openNow(config, await hostsOf(waysIn)));
      },
    });
    onHangup = () => void reloading.request("SIGHUP");
    const host: RoleHost = {
      tunnelsByDescriptors: descriptors.tunnels,
      maxStrangers: descriptors.strangers,
      stop,
      pipes,
      readAuth,
      keys,
      reloads,
      askDrain: stop.askDrain,
      collect,
      showStatus: (shown, look) => {
        read = shown;
        looks.look = look;
        looks.status = shown;
      },
      onStarted: () => service?.ready(),
    };
    // Before anything is waited for: a port that is taken is told at once.
    const places = await checkListenable(waysIn);
    const listensAt = places.map(({ hosts }) => hosts);
    const open = openNow(config, listensAt);
    const { pid, version: { deno } } = Deno;
    const facts = { workers: count, listensAt, open, deno, pid };
    log.info(`tcp-sproxy ${role} starts`, startFields(config, facts));
    exposed.tell(open);
    using watch = config.watchConfig
      ? watchConfig({
        files: () => filesOf(reloader.config, reloader.file),
        onChange: () => void reloading.request("watch"),
      })
      : undefined;
    onTaken = () => watch?.refresh();
    const work = (host: RoleHost): Promise<void> => {
      service?.endsAt(host.stop);
      const working = count === 1 ? run(config, host) : runWorkers({
        ...{ role, count, args: Deno.args, files, host },
        waysIn,
      });
      // Up to its first wait, which has had all its parts join.
      reloading.start();
      return working;
    };
    try {
      if (execution === undefined) await work(host);
      else {
        const { code, problem } = await execution.during(host, work);
        if (problem !== undefined) explain(problem);
        return code;
      }
    } catch (error) {
      if (!isStop(error, stop)) throw error;
      if (oneShot !== undefined) return exitCodeOf(stop);
    }
    return EXIT.ok;
  } catch (error) {
    return explain(error);
  } finally {
    await closeLog();
  }
}

/** Has the tool that is called do its work; a signal ends it. */
async function callTool<R extends Role>(
  role: R,
  command: CommandLine<ConfigByRole[R]> & { readonly kind: "tool" },
  tools: Tools,
): Promise<number> {
  const { word, words, toolFlags: flags, config, configFile } = command;
  const { secretFiles, notices } = command;
  const load = tools.get(word);
  if (load === undefined) throw new Error(`no tool is called ${word}`);
  using stop = watchSignals({ onUser1: () => {} });
  const { drain: signal } = stop;
  const tool = await load();
  try {
    return await tool({
      ...{ role, word, words, flags, config, configFile, signal, print },
      ...{ secretFiles, notices },
    });
  } catch (error) {
    if (!isStop(error, stop)) throw error;
    return exitCodeOf(stop);
  }
}

/** The IP addresses, or names of this machine, that each of `waysIn` stands for. */
async function hostsOf(
  waysIn: readonly WayIn[],
): Promise<readonly (readonly string[])[]> {
  return await Promise.all(waysIn.map(async ({ listen }) => {
    if ("path" in listen) return [];
    if (listen.host === "") return ["0.0.0.0"];
    return await listenHosts(listen) ?? [listen.host];
  }));
}

/** Where the status is to be served, and the flag that says so. */
function statusAddress(
  config: ConfigByRole[Role],
): { readonly address: Address | undefined; readonly flag: string } {
  return config.role === "server"
    ? { address: config.server.listenAddr, flag: "--listen-addr" }
    : { address: config.client.statusAddr, flag: "--status-addr" };
}

/** What makes metrics, which is loaded only where they are shown. */
async function loadMetrics(
  { address }: Pick<StatusOptions, "address"> | { readonly address: undefined },
): Promise<{
  readonly collect: CollectMetrics | undefined;
  readonly ofProcess: (facts: ProcessFacts) => readonly Metric[];
}> {
  if (address === undefined) {
    return { collect: undefined, ofProcess: () => [] };
  }
  const [{ collectMetrics }, { processMetrics }] = await Promise.all([
    import("./metrics.ts"),
    import("./process_metrics.ts"),
  ]);
  return { collect: collectMetrics, ofProcess: processMetrics };
}

async function openStatus(
  { address, ...options }: Omit<StatusOptions, "address"> & {
    readonly address: Address | undefined;
  },
): Promise<StatusServer | undefined> {
  if (address === undefined) return undefined;
  const hosts = await listenHosts(address);
  const { serveStatus } = await import("./status.ts");
  const server = serveStatus({ ...options, address, hosts });
  getLogger(["sproxy", "status"]).info("status listening", {
    address: formatAddress(server.address),
  });
  return server;
}

/**
 * Writes to standard output, whose reader may be gone, which is no reason to fail.
 *
 * @throws {RunError} when it takes no more, such as a file on a full disk.
 */
function print(text: string): void {
  let rest = new TextEncoder().encode(text);
  try {
    while (rest.length > 0) rest = rest.subarray(Deno.stdout.writeSync(rest));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return;
    const why = messageOf(error);
    throw new RunError(`Cannot write to standard output: ${why}`, {
      cause: error,
    });
  }
}
