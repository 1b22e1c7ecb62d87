/**
 * The first thing to look at in a log: which program of which version this is,
 * what it serves to whom, and what of it stands open.
 *
 * @module
 */
import { formatPlace } from "../base/place.ts";
import { formatDestination } from "../base/target.ts";
import { joined } from "../base/text.ts";
import { VERSION } from "../config/cli.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { WayIn } from "../config/ways_in.ts";
import { PROTOCOL_VERSION } from "../wire/open.ts";
import type { Role } from "../wire/subjects.ts";
import { type Exposure, isLoopback } from "./exposures.ts";

/** Most forwards, services, rules or networks that are named on the line: what one reads at a glance. */
const MAX_NAMED = 5;

/** What the line is made of beside the configuration. */
export interface StartFacts {
  /** How many workers there are. */
  readonly workers: number;
  /** Where each of a client's ways in listens, as the system has it. */
  readonly listensAt: readonly (readonly string[])[];
  /** What stands open. */
  readonly open: readonly Exposure[];
  /** The version of the runtime. */
  readonly deno: string;
  /** The process. */
  readonly pid: number;
}

/** The fields of the line, in their order. */
export function startFields(
  config: ConfigByRole[Role],
  { workers, listensAt, open, deno, pid }: StartFacts,
): Readonly<Record<string, string | number>> {
  const { serves, to } = config.role === "server"
    ? ofServer(config)
    : ofClient(config, listensAt);
  return {
    version: VERSION,
    deno,
    protocol: `${PROTOCOL_VERSION}${config.tunnel.refuseV1 ? "" : " and 1"}`,
    pid,
    ...(workers > 1 && { workers }),
    serves,
    to,
    open: open.length === 0
      ? "nothing"
      : [...new Set(open.map(({ what }) => what))].join(", "),
  };
}

/** What is served, and to whom. */
interface Served {
  readonly serves: string;
  readonly to: string;
}

function ofServer({ server, clients }: ConfigByRole["server"]): Served {
  const { services, allowTarget, site } = server;
  const named = [
    ...services.map(({ name }) => `svc:${name}`),
    ...allowTarget.map(({ text }) => text),
  ];
  const what = named.length === 0 ? "any target" : joined(named, MAX_NAMED);
  return {
    serves: site === undefined ? what : `${what} at site ${site}`,
    to: clients.length === 0
      ? "anybody who may publish opens"
      : `${counted(clients.length, "client")} with keys`,
  };
}

function ofClient(
  { client }: ConfigByRole["client"],
  listensAt: StartFacts["listensAt"],
): Served {
  const { forwards, allowFrom, oneShot, socksPassword } = client;
  if (oneShot?.kind === "stdio") {
    return { serves: formatDestination(oneShot), to: "standard input" };
  }
  const isHere = listensAt.flat().every(isLoopback);
  const to = isHere
    ? "this machine"
    : allowFrom.length > 0
    ? `${counted(allowFrom.length, "network")} (--allow-from)`
    : "anybody who reaches it";
  return {
    serves: joined(forwards.map(nameOf), MAX_NAMED),
    to: socksPassword !== undefined && forwards.some((way) => "front" in way)
      ? `${to}, front-ends with a password`
      : to,
  };
}

function nameOf(wayIn: WayIn): string {
  const place = formatPlace(wayIn.listen).replace(/^:/, "*:");
  if (!("front" in wayIn)) return `${place} to ${formatDestination(wayIn)}`;
  return wayIn.site === undefined
    ? `${place} for ${wayIn.front}`
    : `${place} for ${wayIn.front} at site ${wayIn.site}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
