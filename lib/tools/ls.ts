/**
 * `ls`: the servers that answer, and what each offers.
 *
 * @module
 */
import { Deadline } from "../base/abort.ts";
import { wakefulClock } from "../base/clock.ts";
import { formatRough } from "../base/units.ts";
import { type Heard, openProber, type ToolProber } from "../process/prober.ts";
import type { ToolCall } from "../process/tool.ts";
import type { ServerReport } from "../wire/probe.ts";
import { durationFlag } from "./flags.ts";
import { formatMs, renderTable } from "./table.ts";

/** How long servers may take to answer unless told otherwise, in ms: some round trips around the world. */
const TIMEOUT_MS = 2_000;

/** Clocks that are further apart, in ms, are told of; opens under a seal fail at a minute. */
const CLOCKS_APART_MS = 2_000;

/** Most services named of one server. */
const MAX_NAMED = 12;

/** A server that has answered. */
export interface Listed {
  /** What it said. */
  readonly report: ServerReport;
  /** The round trip, in ms. */
  readonly ms: number;
  /** How far its clock is ahead of ours, in ms; undefined where it does not say. */
  readonly ahead: number | undefined;
}

/** All that was heard. */
export interface Listing {
  /** Servers, by their public IDs. */
  readonly servers: readonly Listed[];
  /** What else a person should know, a line each. */
  readonly notes: readonly string[];
}

/** Does it. */
export async function runLs(call: ToolCall): Promise<number> {
  const timeout = durationFlag(call.flags, "timeout", {
    otherwise: TIMEOUT_MS,
    least: 10,
  });
  await using asker = await openProber(call);
  const listing = await ask(asker, { timeout, signal: call.signal });
  call.signal.throwIfAborted();
  call.print(
    call.flags.has("json") ? listingJson(listing) : renderListing(listing),
  );
  return listing.servers.length > 0 ? 0 : 1;
}

/** Asks all servers, and one of those that take opens, which may be too old for the other question. */
async function ask(
  { prober, subjects, token }: ToolProber,
  { timeout, signal }: {
    readonly timeout: number;
    readonly signal: AbortSignal;
  },
): Promise<Listing> {
  const servers = new Map<string, Listed>();
  const { promise: nobody, resolve } = Promise.withResolvers<void>();
  const ends = new Map<string, Heard["type"]>();
  const said = new Set<string>();
  const all = subjects.probeOf(token);
  const one = subjects.requestOf(token);
  const onHeard = (subject: string) => (heard: Heard): void => {
    switch (heard.type) {
      case "report": {
        const { report, ms } = heard;
        const before = servers.get(report.id);
        if (before !== undefined && before.ms <= ms) return;
        const { time } = report.facts ?? {};
        const ahead = time && time - (wakefulClock.wallTime() - ms / 2);
        servers.set(report.id, { report, ms, ahead });
        break;
      }
      case "refused":
        said.add(`a server refuses to tell: ${heard.reason.text}`);
        break;
      case "foreign":
        said.add(`on ${subject} ${heard.what}`);
        break;
      default:
        ends.set(subject, heard.type);
        if (ends.get(all) !== undefined && ends.get(one) !== undefined) {
          resolve();
        }
    }
  };
  using _all = prober.askAll(all, onHeard(all));
  using _one = prober.ask(one, onHeard(one));
  using deadline = new Deadline(signal, {
    clock: wakefulClock,
    ms: timeout,
    late: () => new Error("time is up"),
  });
  const over = Promise.withResolvers<void>();
  deadline.signal.addEventListener("abort", () => over.resolve());
  await Promise.race([over.promise, nobody]);
  return {
    servers: [...servers.values()].toSorted(byPlace),
    notes: [
      ...said,
      ...endNotes({
        ...{ all, one, ends, timeout },
        found: servers.size > 0 || said.size > 0,
      }),
    ],
  };
}

/** What the ends of both questions tell. */
export function endNotes(
  { all, one, ends, found, timeout }: {
    readonly all: string;
    readonly one: string;
    readonly ends: ReadonlyMap<string, Heard["type"]>;
    readonly found: boolean;
    readonly timeout: number;
  },
): readonly string[] {
  const notes: string[] = [];
  if (ends.get(all) === "denied") {
    notes.push(
      `NATS refuses what is published to ${all}: allow that, so that all servers can be listed`,
    );
  }
  if (ends.get(one) === "old") {
    notes.push(
      `a server on ${one} answers that is too old to be listed`,
    );
  } else if (!found && ends.get(one) === "denied") {
    notes.push(`NATS refuses what is published to ${one}`);
  } else if (
    !found && ends.get(all) === "nobody" && ends.get(one) === "nobody"
  ) {
    notes.push(
      `no server listens on ${all} or ${one}: start one, or check --nats-url and --request-subject, and the account of NATS`,
    );
  } else if (!found && notes.length === 0) {
    notes.push(`no server answered within ${formatRough(timeout)}`);
  }
  return notes;
}

/** What people are shown. */
export function renderListing({ servers, notes }: Listing): string {
  const table = servers.length === 0 ? "" : renderTable(
    [
      { name: "ID", most: 12 },
      { name: "HOST", most: 16 },
      { name: "SITE", most: 10 },
      { name: "VERSION", most: 8 },
      { name: "TUNNELS", right: true },
      { name: "UP", right: true },
      { name: "RTT", right: true },
      { name: "SERVICES" },
    ],
    servers.map(rowOf),
  );
  const lines = [...notes, ...servers.flatMap(remarksOn)];
  return table + lines.map((line) => `note: ${line}\n`).join("");
}

/** The same for programs. */
export function listingJson({ servers, notes }: Listing): string {
  return `${
    JSON.stringify(
      {
        servers: servers.map(({ report: { facts, ...report }, ms, ahead }) => ({
          ...report,
          ...facts,
          rtt_ms: rounded(ms),
          ...(ahead !== undefined && { clock_ahead_ms: Math.round(ahead) }),
        })),
        notes,
      },
      undefined,
      2,
    )
  }\n`;
}

function rowOf({ report: { id, facts }, ms }: Listed): readonly string[] {
  const rtt = `${formatMs(ms)}ms`;
  if (facts === undefined) return [id, "", "", "", "", "", rtt, "sealed"];
  const { host = "", worker, site = "", version, tunnels, limit, up } = facts;
  const number = worker === undefined ? "" : `#${worker}`;
  return [
    id,
    `${host}${number}`,
    site,
    version,
    `${tunnels}/${limit}`,
    formatRough(up),
    rtt,
    servicesOf(facts),
  ];
}

/** Its services, and how it does where that is not well. */
function servicesOf(
  { services, more, state }: NonNullable<ServerReport["facts"]>,
): string {
  const names = services.map(({ name, up }) => up ? name : `${name}(down)`);
  const told = names.slice(0, MAX_NAMED).join(", ");
  const rest = more + Math.max(0, names.length - MAX_NAMED);
  return [
    state === "ready" ? "" : `(${state})`,
    told,
    rest === 0 ? "" : told === "" ? `${rest} services` : `and ${rest} more`,
  ].filter((part) => part !== "").join(" ");
}

/** What is wrong with a server that answers. */
function remarksOn({ report: { id, facts }, ahead }: Listed): string[] {
  const remarks: string[] = [];
  if (facts === undefined) {
    remarks.push(
      `${id} takes sealed opens only, and tells more to clients with a key (--secret-key, --server-key)`,
    );
  }
  if (facts?.why !== undefined) {
    remarks.push(`${id} is ${facts.state}: ${facts.why}`);
  }
  for (const { name, up, why } of facts?.services ?? []) {
    if (!up && why !== undefined) {
      remarks.push(`${name} is out of order at ${id}: ${why}`);
    }
  }
  if (ahead !== undefined && Math.abs(ahead) > CLOCKS_APART_MS) {
    const apart = formatRough(Math.abs(ahead));
    remarks.push(
      ahead > 0
        ? `the clock of ${id} is ${apart} ahead of this one`
        : `this clock is ${apart} ahead of that of ${id}`,
    );
  }
  return remarks;
}

function byPlace({ report: a }: Listed, { report: b }: Listed): number {
  const key = ({ id, facts }: ServerReport): string =>
    [
      facts?.site ?? "",
      facts?.host ?? "",
      String(facts?.pid ?? 0).padStart(10, "0"),
      String(facts?.worker ?? 0).padStart(4, "0"),
      id,
    ].join("\n");
  return key(a) < key(b) ? -1 : 1;
}

/** Milliseconds to the microsecond. */
export function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
