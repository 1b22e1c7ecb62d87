/**
 * The side of a worker's thread: a role with its own connection to NATS, told
 * by the main thread what to do. A worker runs the same program file as the
 * main thread, and finds out by {@linkcode inWorker} which of the two it is.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import type { Address } from "../base/address.ts";
import { parseCommandLine } from "../config/cli.ts";
import type { CommonConfig, ConfigByRole } from "../config/config.ts";
import type { Role } from "../config/options.ts";
import { type ReadFiles, systemSources } from "../config/sources.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { closeLog, configureLog } from "./log.ts";
import type { RoleHost } from "./lifecycle.ts";
import { isStop, type StopSignals } from "./signals.ts";
import type { Status } from "./status.ts";

/** From the main thread to a worker. */
export type ToWorker =
  | {
    readonly type: "start";
    /** The command line. */
    readonly args: readonly string[];
    /** The files read for the configuration: all workers have the same, also one started anew. */
    readonly files: ReadFiles;
    /** Number of the worker, from 1. */
    readonly index: number;
    /** How many there are: limits of the process are shared out. */
    readonly count: number;
    /** The address the first worker listens at, which the others share. */
    readonly address: Address | undefined;
  }
  | { readonly type: "drain" }
  | { readonly type: "now" };

/** From a worker to the main thread. */
export type FromWorker =
  | { readonly type: "started"; readonly address: Address | undefined }
  | { readonly type: "status"; readonly status: Status }
  | { readonly type: "stopped" }
  | {
    readonly type: "failed";
    readonly kind: "usage" | "run" | "internal";
    readonly text: string;
  };

/** How often the status goes to the main thread, in ms: as fresh as a probe needs it. */
const STATUS_MS = 500;

/** Smallest share of the memory budget, in bytes: that of the smallest budget. */
const MIN_BUDGET_BYTES = 1024 * 1024;

type Start = ToWorker & { readonly type: "start" };

/** Runs a role with its configuration until told to stop. */
export type RunRole<R extends Role> = (
  config: ConfigByRole[R],
  host: RoleHost,
) => Promise<void>;

/** Whether this thread is a worker's. */
export function inWorker(): boolean {
  return "WorkerGlobalScope" in globalThis;
}

/** Does in this worker what the main thread says. */
export function serveAsWorker<R extends Role>(role: R, run: RunRole<R>): void {
  const drain = new AbortController();
  const now = new AbortController();
  const stop = { drain: drain.signal, now: now.signal };
  self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
    switch (data.type) {
      case "start":
        void start(stop, (host) => {
          const sources = systemSources(data.files);
          const command = parseCommandLine(role, data.args, sources);
          if (command.kind !== "run") return Promise.resolve();
          configureLog(command.config.log);
          return run(ofWorker(command.config, data), host);
        });
        break;
      case "drain":
        drain.abort();
        break;
      case "now":
        now.abort();
    }
  });
}

async function start(
  stop: StopSignals,
  run: (host: RoleHost) => Promise<void>,
): Promise<void> {
  let read: (() => Status) | undefined;
  const tell = (): void => {
    if (read !== undefined) post({ type: "status", status: read() });
  };
  const timer = setInterval(tell, STATUS_MS);
  let outcome: FromWorker = { type: "stopped" };
  try {
    await run({
      stop,
      showStatus: (shown) => read = shown,
      onStarted: (address) => post({ type: "started", address }),
    });
    tell();
  } catch (error) {
    if (!isStop(error, stop)) outcome = failure(error);
  } finally {
    clearInterval(timer);
  }
  // The main thread ends this one at the word.
  await closeLog();
  post(outcome);
}

function failure(error: unknown): FromWorker {
  if (error instanceof UsageError || error instanceof RunError) {
    const kind = error instanceof UsageError ? "usage" : "run";
    return { type: "failed", kind, text: messageOf(error) };
  }
  const text = error instanceof Error ? error.stack : undefined;
  return { type: "failed", kind: "internal", text: text ?? messageOf(error) };
}

/**
 * The configuration of one of several workers: limits of the process are
 * shared out, a client's address is, and its token is its own.
 */
function ofWorker<R extends Role>(
  config: ConfigByRole[R],
  { count, index, address }: Start,
): ConfigByRole[R] {
  const shared = share(config, count);
  if (shared.role === "server") return shared;
  const { client } = shared;
  return {
    ...shared,
    client: {
      ...client,
      listenAddr: address ?? client.listenAddr,
      id: client.id === undefined ? undefined : `${client.id}-${index}`,
    },
  };
}

/** The configuration of one of `count` workers: limits of the process are shared out. */
function share<C extends CommonConfig>(config: C, count: number): C {
  const { tunnel } = config;
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
  };
}

function post(message: FromWorker): void {
  self.postMessage(message);
}
