/**
 * One worker: a role in a thread of its own, with its own connection to NATS.
 * This file is an entry point; nothing imports it.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { parseCommandLine } from "../config/cli.ts";
import type { ClientConfig, CommonConfig } from "../config/config.ts";
import { systemSources } from "../config/sources.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { configureLog } from "./log.ts";
import { isStop, type RoleHost } from "./lifecycle.ts";
import { runClient } from "./run_client.ts";
import { runServer } from "./run_server.ts";
import type { StatusSource } from "./status_http.ts";
import type { FromWorker, ToWorker } from "./worker_messages.ts";

/** How often the status goes to the main thread, in ms: as fresh as a probe needs it. */
const STATUS_MS = 500;

/** Smallest share of the memory budget, in bytes: that of the smallest budget. */
const MIN_BUDGET_BYTES = 1024 * 1024;

type Start = ToWorker & { readonly type: "start" };

const drain = new AbortController();
const now = new AbortController();

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  switch (data.type) {
    case "start":
      void start(data);
      break;
    case "drain":
      drain.abort();
      break;
    case "now":
      now.abort();
  }
});

async function start(message: Start): Promise<void> {
  let source: StatusSource | undefined;
  const tell = (): void => {
    if (source === undefined) return;
    post({
      type: "status",
      readiness: source.readiness(),
      metrics: source.metrics(),
    });
  };
  const timer = setInterval(tell, STATUS_MS);
  const stop = { drain: drain.signal, now: now.signal };
  try {
    await run(message, {
      stop,
      showStatus: (shown) => source = shown,
      onStarted: (address) => post({ type: "started", address }),
    });
    tell();
    post({ type: "stopped" });
  } catch (error) {
    if (isStop(error, stop)) {
      post({ type: "stopped" });
      return;
    }
    const kind = error instanceof UsageError
      ? "usage"
      : error instanceof RunError
      ? "run"
      : "internal";
    post({ type: "failed", kind, text: messageOf(error) });
  } finally {
    clearInterval(timer);
  }
}

function run(message: Start, host: RoleHost): Promise<void> {
  const { role, args, count } = message;
  if (role === "server") {
    const command = parseCommandLine(role, args, systemSources());
    if (command.kind !== "run") return Promise.resolve();
    configureLog(command.config.log);
    return runServer(share(command.config, count), host);
  }
  const command = parseCommandLine(role, args, systemSources());
  if (command.kind !== "run") return Promise.resolve();
  configureLog(command.config.log);
  const config = share(command.config, count);
  return runClient({ ...config, client: ofWorker(config, message) }, host);
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

/** A client's own part: the shared address, and a token of its own. */
function ofWorker(
  { client }: ClientConfig,
  { address, index }: Start,
): ClientConfig["client"] {
  return {
    ...client,
    listenAddr: address ?? client.listenAddr,
    id: client.id === undefined ? undefined : `${client.id}-${index}`,
  };
}

function post(message: FromWorker): void {
  self.postMessage(message);
}
