/**
 * `ls`: the servers that answer, and what each offers.
 *
 * @module
 */
import { formatRough } from "../base/units.ts";
import { openProber } from "../process/prober.ts";
import type { ToolCall } from "../process/tool.ts";
import type { ServerReport } from "../wire/probe.ts";
import {
  askAll,
  CLOCKS_APART_MS,
  type Listed,
  type Listing,
} from "./probing.ts";
import { durationFlag } from "./flags.ts";
import { formatMs, renderTable, rounded } from "./table.ts";

/** How long servers may take to answer unless told otherwise, in ms: some round trips around the world. */
const TIMEOUT_MS = 2_000;

/** Most services named of one server. */
const MAX_NAMED = 12;

/** Does it. */
export async function runLs(call: ToolCall): Promise<number> {
  const timeout = durationFlag(call.flags, "timeout", {
    otherwise: TIMEOUT_MS,
    least: 10,
  });
  await using asker = await openProber(call);
  const listing = await askAll(asker, { timeout, signal: call.signal });
  call.signal.throwIfAborted();
  call.print(
    call.flags.has("json") ? listingJson(listing) : renderListing(listing),
  );
  return listing.servers.length > 0 ? 0 : 1;
}

/** What people are shown. */
export function renderListing(
  { servers, notes }: Pick<Listing, "servers" | "notes">,
): string {
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
export function listingJson(
  { servers, notes }: Pick<Listing, "servers" | "notes">,
): string {
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
