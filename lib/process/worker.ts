/**
 * The side of a worker's thread: a role with its own connection to NATS, told
 * by the main thread what to do. A worker runs the same program file as the
 * main thread, and finds out by {@linkcode inWorker} which of the two it is.
 *
 * @module
 */
import { type CommandLine, parseCommandLine } from "../config/cli.ts";
import type {
  ClientConfig,
  CommonConfig,
  ConfigByRole,
  ServerConfig,
} from "../config/config.ts";
import type { Role } from "../wire/subjects.ts";
import { systemSources } from "../config/sources.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { authReader } from "./auth_reader.ts";
import { isJournal } from "./journal.ts";
import { closeLog, configureLog, stackOf } from "./log.ts";
import type { Look } from "./look.ts";
import type { RoleHost } from "./role_host.ts";
import { logLevelPart } from "./live_reload.ts";
import { type Prepared, type Reloaded, Reloads } from "./reload.ts";
import { isStop } from "./signals.ts";
import type { Status } from "./status.ts";
import type {
  FromWorker,
  ToWorker,
  WorkerFailure,
  WorkerReloaded,
} from "./worker_messages.ts";

/** How often the status goes to the main thread, in ms: as fresh as a probe needs it. */
const STATUS_MS = 500;

/** Smallest share of the memory budget, in bytes: that of the smallest budget. */
const MIN_BUDGET_BYTES = 1024 * 1024;

type Start = ToWorker & { readonly type: "start" };

type ReloadMessage = ToWorker & {
  readonly type: "prepare" | "commit" | "abandon";
};

/** What a worker that runs reloads with. */
interface Reloading {
  readonly start: Start;
  readonly reloads: Reloads;
}

/** Runs a role with its configuration until told to stop. */
export type RunRole<R extends Role> = (
  config: ConfigByRole[R],
  host: RoleHost,
) => Promise<void>;

/** Whether this thread is a worker's. */
export function inWorker(): boolean {
  return "WorkerGlobalScope" in globalThis;
}

/** Does in this worker what the main thread says, which also ends it. */
export async function serveAsWorker<R extends Role>(
  role: R,
  run: RunRole<R>,
): Promise<void> {
  const drain = new AbortController();
  const now = new AbortController();
  const stop = { drain: drain.signal, now: now.signal };
  const { promise: started, resolve } = Promise.withResolvers<Start>();
  const { promise: running, resolve: onRunning } = Promise.withResolvers<
    Reloading
  >();
  const { promise: fault, reject } = Promise.withResolvers<never>();
  const onReload = async (
    message: ReloadMessage,
    prepared: Prepared | undefined,
  ): Promise<Prepared | undefined> => {
    if (message.type !== "prepare") {
      await prepared?.[message.type]?.();
      post({ type: "done" });
      return undefined;
    }
    const { start, reloads } = await running;
    try {
      const ready = await reloads.prepare(readAnew(role, start, message));
      const { tunnels, places } = ready;
      post({ type: "prepared", tunnels, places });
      return ready;
    } catch (error) {
      const { kind, text } = describeFailure(error);
      if (kind === "internal") throw error;
      post({ type: "refused", kind, text });
      return undefined;
    }
  };
  let find: Look | undefined;
  const look = async (number: number): Promise<void> => {
    const [part] = (await find?.())?.parts ?? [];
    if (part !== undefined) post({ type: "part", number, part });
  };
  let reload = Promise.resolve<Prepared | undefined>(undefined);
  globalThis.addEventListener("message", (event) => {
    const { data } = event as MessageEvent<ToWorker>;
    switch (data.type) {
      case "start":
        resolve(data);
        break;
      case "look":
        look(data.number).catch(reject);
        break;
      case "prepare":
      case "commit":
      case "abandon":
        reload = reload.then((before) => onReload(data, before));
        reload.catch(reject);
        break;
      default:
        (data.type === "drain" ? drain : now).abort();
    }
  });
  // Nothing caught these: told as what they are, the worker starts again.
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    reject(event.error);
  });
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    reject(event.reason);
  });
  const work = async (): Promise<void> => {
    const start = await started;
    const command = commandOf(role, start);
    const config = share(command.config, start);
    const latest = start.reload && readAnew(role, start, start.reload);
    configureLog({
      ...config.log,
      level: (latest?.config ?? config).log.level,
      worker: start.index,
      journal: await isJournal(systemSources().env),
    });
    const reloads = new Reloads(latest);
    reloads.join(logLevelPart);
    const { collectMetrics: collect } = await import("./metrics.ts");
    let read: (() => Status) | undefined;
    const tell = (): void => {
      if (read !== undefined) post({ type: "status", status: read() });
    };
    setInterval(tell, STATUS_MS);
    const ended = run(config, {
      stop,
      worker: { index: start.index, places: start.places },
      pipes: start.pipes,
      readAuth: authReader(role, { ...start, command }),
      keys: start.keys,
      reloads,
      tunnelsByDescriptors: start.tunnelsByDescriptors,
      maxStrangers: start.maxStrangers,
      askDrain: () => post({ type: "drain" }),
      collect,
      showStatus: (shown, look) => {
        read = shown;
        find = look;
      },
      onStarted: (places) => {
        tell();
        post({ type: "started", places });
      },
    });
    onRunning({ start, reloads });
    await ended;
    tell();
  };
  let outcome: FromWorker = { type: "stopped" };
  try {
    await Promise.race([work(), fault]);
  } catch (error) {
    if (!isStop(error, stop)) {
      outcome = { type: "failed", ...describeFailure(error) };
    }
  }
  // The main thread ends this one at the word.
  await closeLog();
  post(outcome);
}

function post(message: FromWorker): void {
  (globalThis as unknown as Pick<Worker, "postMessage">).postMessage(message);
}

function describeFailure(error: unknown): WorkerFailure {
  const text = messageOf(error);
  if (error instanceof UsageError) return { kind: "usage", text };
  if (error instanceof RunError) return { kind: "run", text };
  return { kind: "internal", text, stack: stackOf(error) };
}

/** What the command line of the process came to. */
function commandOf<R extends Role>(
  role: R,
  start: Start,
): CommandLine<ConfigByRole[R]> & { readonly kind: "run" } {
  const sources = systemSources(start.files);
  const command = parseCommandLine(role, start.args, sources);
  if (command.kind !== "run") throw new UsageError("a worker runs a role");
  return command;
}

/** What the main thread has read anew, as this worker has it. */
function readAnew<R extends Role>(
  role: R,
  start: Start,
  reload: WorkerReloaded,
): Reloaded {
  const { config } = commandOf(role, { ...start, files: reload.files });
  return {
    config: share<ConfigByRole[Role]>(config, start),
    files: reload.files,
    keys: reload.keys,
    places: reload.places,
    tunnelsByDescriptors: reload.tunnelsByDescriptors,
    maxStrangers: reload.maxStrangers,
  };
}

/** A configuration of either role. */
type AnyConfig =
  & CommonConfig
  & Partial<Pick<ClientConfig, "client">>
  & Partial<Pick<ServerConfig, "server" | "clients">>;

/** A worker's part of `config`: limits are shared out, and a client's token is its own. */
export function share<C extends AnyConfig>(
  config: C,
  { index, count }: Pick<Start, "index" | "count">,
): C {
  const { tunnel, client, server, clients } = config;
  const part = (whole: number, least: number): number =>
    Math.max(least, Math.ceil(whole / count));
  const memoryBudget = part(tunnel.memoryBudget, MIN_BUDGET_BYTES);
  return {
    ...config,
    tunnel: {
      ...tunnel,
      max: part(tunnel.max, 1),
      maxOpening: part(tunnel.maxOpening, 1),
      memoryBudget,
      window: Math.min(tunnel.window, memoryBudget),
    },
    ...(server !== undefined && {
      server: {
        ...server,
        maxTunnelsPerClient: part(server.maxTunnelsPerClient, 1),
        maxOpenRate: part(server.maxOpenRate, 1),
      },
    }),
    ...(clients !== undefined && {
      clients: clients.map((entry) => {
        const { maxTunnels, maxOpening, rate } = entry;
        return {
          ...entry,
          ...(maxTunnels !== undefined && { maxTunnels: part(maxTunnels, 1) }),
          ...(maxOpening !== undefined && { maxOpening: part(maxOpening, 1) }),
          ...(rate !== undefined && { rate: part(rate, 1) }),
        };
      }),
    }),
    ...(client !== undefined && {
      client: {
        ...client,
        id: client.id === undefined ? undefined : `${client.id}-${index}`,
      },
    }),
  };
}
