/**
 * What is true of the process as a whole, however many workers it has.
 *
 * @module
 */
import process from "node:process";
import { VERSION } from "../config/cli.ts";
import { PROTOCOL_VERSION } from "../wire/open.ts";
import type { Role } from "../wire/subjects.ts";
import type { Metric } from "./metric.ts";
import { metric } from "./metrics.ts";
import type { Status } from "./status.ts";

/** What {@linkcode processMetrics} is told. */
export interface ProcessFacts {
  /** Which program it is. */
  readonly role: Role;
  /** Its status, as all of its workers have it. */
  readonly status: Omit<Status, "metrics">;
  /** How many descriptors are open, and most that may be, where that is known. */
  readonly descriptors: Partial<Record<"open" | "limit", number | undefined>>;
}

/** The metrics of the process: those of its system, and what it says of itself. */
export function processMetrics(
  { role, status, descriptors: { open, limit } }: ProcessFacts,
): Metric[] {
  const { user, system } = process.cpuUsage();
  const ready = status.notReadyReason === undefined ? 1 : 0;
  const { workers = 1, ready: readyWorkers = ready } = status.details ?? {};
  return [
    metric("process_cpu_seconds_total", (user + system) / 1e6),
    metric("process_resident_memory_bytes", Deno.memoryUsage().rss),
    metric("process_start_time_seconds", performance.timeOrigin / 1000),
    ...(open === undefined ? [] : [metric("process_open_fds", open)]),
    ...(limit === undefined ? [] : [metric("process_max_fds", limit)]),
    metric("sproxy_build_info", [{
      labels: {
        version: VERSION,
        deno: Deno.version.deno,
        protocol: String(PROTOCOL_VERSION),
        role,
      },
      value: 1,
    }]),
    metric("sproxy_ready", ready),
    metric("sproxy_workers", workers),
    metric("sproxy_workers_ready", readyWorkers),
    metric("sproxy_worker_failures_total", status.workerFailures ?? 0),
  ];
}
