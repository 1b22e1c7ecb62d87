/**
 * How many tunnels the descriptors of a process allow, once the connections to
 * NATS, the status port and the runtime have theirs.
 *
 * @module
 */
import { MAX_STRANGERS } from "../client/strangers.ts";
import { RunError } from "../base/errors.ts";
import type { CommonConfig, ConfigByRole } from "../config/config.ts";
import type { WayIn } from "../config/ways_in.ts";
import {
  countDescriptors,
  type DescriptorCount,
  type DescriptorSource,
} from "../net/descriptors.ts";
import type { Role } from "../wire/subjects.ts";

/**
 * Held for each connection to NATS, for when it dials again: a file of
 * credentials, then the resolver's (two), then the address and the next one
 * beside it.
 */
export const LINK_RESERVE = 4;

/** A connection to NATS: itself, and what comes after it while it closes. */
const PER_LINK = LINK_RESERVE + 2;

/** A listener: `localhost` has two addresses, and at each one waits to be turned away. */
const PER_LISTENER = 4;

/** What a worker's thread takes in Deno 2.9: three of its event loop, a signal's, standard output and error. */
const PER_THREAD = 6;

/** What the runtime opens after the start, at most: its caches of code, a module that is loaded late. */
const RUNTIME = 8;

/** What the runtime opens to watch files: measured three, and the folder that is read. */
const WATCH = 4;

/** Status connections at once: enough for the probes and scrapers of a busy cluster. */
const STATUS_CONNECTIONS = 32;

/** The share of all that are free that they may have, and how many it is at least. */
const STATUS_SHARE = { part: 1 / 8, least: 2 } as const;

/** The share of all that are free for connections whose request or PROXY header is not whole, and how many it is at least. */
const STRANGERS_SHARE = { part: 1 / 8, least: 4 } as const;

/** What of a process takes descriptors. */
export interface Consumers {
  /** Threads that do the work, each with its connection to NATS. */
  readonly workers: number;
  /** Places where each of them listens. */
  readonly listeners: number;
  /** Whether at some of these connections say something first: at front-ends, or in PROXY headers. */
  readonly strangers?: boolean;
  /** Whether the status is served. */
  readonly status: boolean;
  /** Whether files are watched. */
  readonly watch?: boolean;
  /** Most tunnels that are wanted. */
  readonly maxTunnels: number;
}

/** What the process of `config` takes descriptors for, with its ways in or others. */
export function consumersOf(
  config: ConfigByRole[Role],
  waysIn: readonly WayIn[] = config.role === "client"
    ? config.client.forwards
    : [],
): Consumers {
  const status = config.role === "server"
    ? config.server.listenAddr
    : config.client.statusAddr;
  return {
    workers: workersOf(config),
    listeners: waysIn.length,
    strangers: waysIn.some((way) => "front" in way || way.acceptProxy),
    status: status !== undefined,
    watch: config.watchConfig,
    maxTunnels: config.tunnel.max,
  };
}

/** How many threads share the work. */
export function workersOf({ workers }: CommonConfig): number {
  return workers === "auto" ? navigator.hardwareConcurrency : workers;
}

/** What the descriptors of a process allow. */
export interface DescriptorPlan {
  /** Most tunnels; undefined when there is no limit that is known or near. */
  readonly tunnels: number | undefined;
  /** Most descriptors of the process; undefined when it is not known, or more than all this may need. */
  readonly limit: number | undefined;
  /** Most status connections at once. */
  readonly statusConnections: number;
  /** Most connections at once that have not said it whole; 0 where there is nothing to say. */
  readonly strangers: number;
  /** The line that tells of it. */
  readonly notice: {
    readonly level: "info" | "warn";
    readonly text: string;
    readonly about: Readonly<Record<string, number>>;
  };
  /**
   * The same for other consumers later on, of what was there at first.
   *
   * @throws {RunError} when they leave too few for a tunnel, and more than these did.
   */
  again(consumers: Consumers): DescriptorPlan;
}

/** Finds out what the descriptors of a process allow; nothing else may need one meanwhile. */
export function planDescriptors(
  consumers: Consumers,
  source: DescriptorSource | undefined,
): DescriptorPlan {
  if (source === undefined) return planFor(consumers, undefined);
  const { maxTunnels } = consumers;
  return planFor(
    consumers,
    countDescriptors(
      source,
      maxTunnels + mostStrangers(consumers) +
        vitalDescriptors(consumers, STATUS_CONNECTIONS),
    ),
  );
}

/** What so many descriptors allow; undefined where that is not known. */
function planFor(
  consumers: Consumers,
  count: DescriptorCount | undefined,
): DescriptorPlan {
  const { workers, maxTunnels } = consumers;
  const again = (later: Consumers): DescriptorPlan => {
    const plan = planFor(later, count);
    const { listeners } = later;
    if (plan.notice.level === "info" || listeners <= consumers.listeners) {
      return plan;
    }
    throw new RunError(
      `${listeners} places to listen at leave too few open files for NATS and the tunnels (raise ulimit -n)`,
    );
  };
  if (count === undefined) {
    const text =
      "the limit on open files is not known (with --allow-read=/dev/null it is, save on Windows): a lack of them shows only when it is there";
    return {
      tunnels: undefined,
      limit: undefined,
      statusConnections: STATUS_CONNECTIONS,
      strangers: mostStrangers(consumers),
      notice: { level: "info", text, about: {} },
      again,
    };
  }
  const { free, limit } = count;
  const shareOf = (
    { part, least }: { readonly part: number; readonly least: number },
  ): number => Math.max(least, Math.floor(free * part));
  const statusConnections = Math.min(STATUS_CONNECTIONS, shareOf(STATUS_SHARE));
  // More than the count went to are left to be found out.
  const strangers = limit === undefined
    ? mostStrangers(consumers)
    : Math.min(mostStrangers(consumers), shareOf(STRANGERS_SHARE));
  const left = free - strangers -
    vitalDescriptors(consumers, statusConnections);
  // Each worker may have one: with too few for that, it is tried.
  const tunnels = Math.max(workers, left);
  const about = {
    ...(limit !== undefined && { files: limit }),
    tunnels: Math.min(tunnels, maxTunnels),
  };
  const notice = left < workers && limit !== undefined
    ? {
      level: "warn",
      text:
        "there are too few open files to be sure of NATS beside the tunnels (raise ulimit -n)",
      about,
    } as const
    : {
      level: "info",
      text: left < maxTunnels && limit !== undefined
        ? "the limit on open files allows fewer tunnels than --max-tunnels (raise ulimit -n for more)"
        : "open files are enough for all tunnels",
      about,
    } as const;
  return {
    tunnels: limit === undefined ? undefined : tunnels,
    limit,
    statusConnections,
    strangers,
    notice,
    again,
  };
}

/** Most connections that have not said it whole, where open files are no matter. */
function mostStrangers({ workers, strangers = false }: Consumers): number {
  return strangers ? workers * MAX_STRANGERS : 0;
}

/** What is not for tunnels. */
function vitalDescriptors(
  { workers, listeners, status, watch = false }: Consumers,
  statusConnections: number,
): number {
  const each = PER_LINK + listeners * PER_LISTENER +
    (workers > 1 ? PER_THREAD : 0);
  return RUNTIME + workers * each + (watch ? WATCH : 0) +
    (status ? PER_LISTENER + statusConnections : 0);
}
