/**
 * Patterns for targets, of which lists say what a server may dial and what it
 * must not; `target_judge.ts` applies them.
 *
 * A pattern is `HOST:PORTS`. HOST is a name (`db.example.com`), all names
 * under a domain (`*.example.com`, without the domain itself), an IP address
 * (`10.0.0.7`, `[::1]`), a network (`10.0.0.0/8`, `[fd00::/8]`) or `*`. PORTS
 * is a port, a range (`1000-2000`) or `*`. An address or network with a zone
 * (`[fe80::1%eth0]`, `[fe80::%eth0/10]`) covers what was asked for with that
 * zone, written the same; without one it covers every zone.
 *
 * `unix:/path` is the Unix socket of exactly that path, and nothing else covers
 * one: what listens at some is as good as root.
 *
 * Patterns for names look at the name that was asked for, those for addresses
 * at the address that is dialled. What a rule does not clearly cover is not
 * covered by it.
 *
 * @module
 */

import {
  type Address,
  hostProblem,
  MAX_PORT,
  parseIp,
  portProblem,
  surplusProblem,
} from "./address.ts";
import { contains, type Network, parseNetwork } from "./network.ts";
import { formatPlace, type UnixPath } from "./place.ts";
import { targetPathProblem } from "./target.ts";
import { quote, redactUrl } from "./text.ts";

/** What the host of a rule covers. */
export type HostRule =
  /** Every host. */
  | { readonly kind: "any" }
  /** One name, in lower case. */
  | { readonly kind: "name"; readonly name: string }
  /** Every name that ends in `suffix`, which starts with a dot. */
  | { readonly kind: "domain"; readonly suffix: string }
  /** Every address of a network. */
  | Network & { readonly kind: "network" }
  /** No host at all: the Unix socket of this path. */
  | { readonly kind: "unix"; readonly path: string };

/** One pattern, parsed. */
export interface TargetRule {
  /** The pattern as it was written. */
  readonly text: string;
  /** The hosts it covers. */
  readonly host: HostRule;
  /** The lowest port it covers. */
  readonly minPort: number;
  /** The highest port it covers. */
  readonly maxPort: number;
}

/** What of a destination a rule looks at. */
export interface Destination {
  /** The name that was asked for; undefined where an address was. */
  readonly name: string | undefined;
  /** The address to be dialled; without it no network covers a name. */
  readonly ip?: readonly number[] | undefined;
  /** The zone of that address. */
  readonly zone?: string | undefined;
  /** The port to be dialled. */
  readonly port: number;
}

/** Begins a pattern of a Unix socket; a host may have that name, and then ports. */
const UNIX = /^unix:(?!\*$|\d+(?:-\d+)?$)/;

/** What is wrong with a rule without a colon. */
function colonMissing(text: string): string {
  if (/^\d+$/.test(text)) return `it has no host; write *:${text}`;
  return `it has no port; write ${text === "*" ? "*:*" : "host:port"}`;
}

/**
 * The rule in `text`.
 *
 * @throws {SyntaxError} naming `text` and what is wrong with it.
 */
export function parseTargetRule(text: string): TargetRule {
  try {
    if (UNIX.test(text)) return unixRule(text);
    const surplus = surplusProblem(text);
    if (surplus !== undefined) throw new SyntaxError(surplus);
    const colon = text.lastIndexOf(":");
    if (colon < 0) throw new SyntaxError(colonMissing(text));
    const [minPort, maxPort] = parsePorts(text.slice(colon + 1));
    return { text, host: parseHost(text.slice(0, colon)), minPort, maxPort };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(
      `${quote(redactUrl(text))} is not a target pattern: ${error.message}`,
    );
  }
}

/** Whether `rule` covers a destination. */
export function covers(
  { host, minPort, maxPort }: TargetRule,
  { name, ip, zone, port }: Destination,
): boolean {
  if (!(port >= minPort && port <= maxPort)) return false;
  const asked = name === undefined ? undefined : canonicalName(name);
  switch (host.kind) {
    case "any":
      return true;
    case "name":
      return asked === host.name;
    case "domain":
      return asked !== undefined && asked.endsWith(host.suffix) &&
        asked.length > host.suffix.length;
    case "network":
      return ip !== undefined && contains(host, ip) &&
        (host.zone === undefined || host.zone === zone);
    case "unix":
      return false;
  }
}

/** Whether `rule` covers the Unix socket at `path`. */
export function coversPath({ host }: TargetRule, path: string): boolean {
  return host.kind === "unix" && host.path === path;
}

/** The rule that covers `target` as somebody wrote it, and no other. */
export function exactRule(target: Address | UnixPath): TargetRule {
  if ("path" in target) {
    const { path } = target;
    const text = formatPlace(target);
    return { text, host: { kind: "unix", path }, minPort: 0, maxPort: 0 };
  }
  const { host, port } = target;
  const rule: HostRule = parseIp(host) === undefined
    ? { kind: "name", name: canonicalName(host) }
    : { kind: "network", ...parseNetwork(host) };
  return {
    text: formatPlace(target),
    host: rule,
    minPort: port,
    maxPort: port,
  };
}

/** The rule for a Unix socket. */
function unixRule(text: string): TargetRule {
  const path = text.replace(UNIX, "");
  const problem = targetPathProblem(path);
  if (problem !== undefined) {
    throw new SyntaxError(`the path of its Unix socket ${problem}`);
  }
  // As docker writes it; the rule would cover nothing that anybody asks for.
  if (path.startsWith("//")) {
    throw new SyntaxError("a Unix socket is written unix:/path");
  }
  // A star may stand in a name, but here it is no wildcard, as people expect.
  if (/[*?]/.test(path)) {
    throw new SyntaxError("the path of its Unix socket has a wildcard in it");
  }
  // Of no port: it covers no address.
  return { text, host: { kind: "unix", path }, minPort: 0, maxPort: 0 };
}

/** The name as rules compare it: lower case, without the root's dot. */
function canonicalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}

/** The lowest and the highest port of `*`, `n` or `n-m`. */
function parsePorts(text: string): [number, number] {
  if (text === "*") return [1, MAX_PORT];
  const [low = "", high = low, rest] = text.split("-");
  const problem = portProblem(low) ?? portProblem(high);
  if (problem !== undefined || rest !== undefined) {
    throw new SyntaxError(
      problem ?? "its ports are neither a port, a range nor *",
    );
  }
  if (Number(low) > Number(high)) {
    throw new SyntaxError("its range of ports runs backwards");
  }
  return [Number(low), Number(high)];
}

/** The rule for the part of a pattern before its ports. */
function parseHost(text: string): HostRule {
  if (text === "*") return { kind: "any" };
  if (text.startsWith("*.")) {
    const domain = text.slice(2);
    checkName(domain);
    return { kind: "domain", suffix: `.${canonicalName(domain)}` };
  }
  const [, inside] = /^\[(.*)\]$/s.exec(text) ?? [];
  if (inside === undefined && text.includes(":")) {
    throw new SyntaxError(
      "an IPv6 address goes in brackets, as in [::1]:22 or [fd00::/8]:22",
    );
  }
  if (inside !== undefined || text.includes("/") || parseIp(text)) {
    return { kind: "network", ...parseNetwork(inside ?? text) };
  }
  checkName(text);
  return { kind: "name", name: canonicalName(text) };
}

/** Refuses what is no host name; a star elsewhere than in front is one such thing. */
function checkName(name: string): void {
  const problem = hostProblem(name);
  if (problem !== undefined) throw new SyntaxError(problem);
  if (parseIp(name)) throw new SyntaxError("its host is no domain");
  // "10.1" and "0x7f.1" are addresses to some resolvers and names to others.
  if (
    /^(?:\d+|0x[0-9a-f]*)$/i.test(canonicalName(name).split(".").at(-1) ?? "")
  ) {
    throw new SyntaxError("its host is an address in a short form");
  }
}
