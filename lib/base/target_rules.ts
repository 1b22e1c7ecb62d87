/**
 * The targets a server may dial: a list of patterns, any of which allows.
 *
 * A pattern is `HOST:PORTS`. HOST is a name (`db.example.com`), all names
 * under a domain (`*.example.com`, without the domain itself), an IP address
 * (`10.0.0.7`, `[::1]`), a network (`10.0.0.0/8`, `[fd00::/8]`) or `*`. PORTS
 * is a port, a range (`1000-2000`) or `*`. An address or network with a zone
 * (`[fe80::1%eth0]`, `[fe80::%eth0/10]`) covers what was asked for with that
 * zone, written the same; without one it covers every zone.
 *
 * Patterns for names look at the name that was asked for, those for addresses
 * at the address that is dialled. What a rule does not clearly cover is not
 * allowed by it.
 *
 * @module
 */

import {
  hostProblem,
  MAX_PORT,
  parseIp,
  portProblem,
  surplusProblem,
  zoneOf,
} from "./address.ts";
import { quote, redactUrl } from "./text.ts";

/** What the host of a rule covers. */
export type HostRule =
  /** Every host. */
  | { readonly kind: "any" }
  /** One name, in lower case. */
  | { readonly kind: "name"; readonly name: string }
  /** Every name that ends in `suffix`, which starts with a dot. */
  | { readonly kind: "domain"; readonly suffix: string }
  /** Every address whose first `bits` bits are those of `bytes`. */
  | {
    readonly kind: "network";
    readonly bytes: readonly number[];
    readonly bits: number;
    /** The only zone it covers; undefined for every one, and none. */
    readonly zone: string | undefined;
  };

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

/** A destination to be judged. */
export interface Target {
  /** The host that was asked for: a name, or an IP address without brackets. */
  readonly host: string;
  /** The port to be dialled. */
  readonly port: number;
  /**
   * The IP address `host` resolves to and that will be dialled; without it
   * no network covers a name.
   */
  readonly resolvedIp?: string;
}

/**
 * The rule in `text`.
 *
 * @throws {SyntaxError} naming `text` and what is wrong with it.
 */
export function parseTargetRule(text: string): TargetRule {
  try {
    const surplus = surplusProblem(text);
    if (surplus !== undefined) throw new SyntaxError(surplus);
    const colon = text.lastIndexOf(":");
    if (colon < 0) throw new SyntaxError("it has no port; write host:port");
    const [minPort, maxPort] = parsePorts(text.slice(colon + 1));
    return { text, host: parseHost(text.slice(0, colon)), minPort, maxPort };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(
      `${quote(redactUrl(text))} is not a target pattern: ${error.message}`,
    );
  }
}

/**
 * The first of `rules` that covers `target`, or undefined when none does and
 * the target must not be dialled. An empty list covers nothing: whether no
 * rules at all mean no limits is the caller's decision.
 */
export function matchTarget(
  rules: readonly TargetRule[],
  target: Target,
): TargetRule | undefined {
  const name = canonicalName(target.host);
  const literal = parseIp(target.host);
  // An address that was asked for is the address that is dialled.
  const dialled = literal === undefined ? target.resolvedIp ?? "" : target.host;
  const ip = parseIp(dialled);
  const zone = zoneOf(dialled);
  return rules.find(({ host, minPort, maxPort }) => {
    if (!(target.port >= minPort && target.port <= maxPort)) return false;
    switch (host.kind) {
      case "any":
        return true;
      case "name":
        return literal === undefined && name === host.name;
      case "domain":
        return literal === undefined && name.endsWith(host.suffix) &&
          name.length > host.suffix.length;
      case "network":
        return ip !== undefined && contains(host, ip) &&
          (host.zone === undefined || host.zone === zone);
    }
  });
}

/** The name as rules compare it: lower case, without the root's dot. */
function canonicalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}

/** Whether `ip` is in the network; never across address families. */
function contains(
  network: { readonly bytes: readonly number[]; readonly bits: number },
  ip: readonly number[],
): boolean {
  return ip.length === network.bytes.length &&
    network.bytes.every((byte, index) =>
      ((byte ^ (ip[index] ?? 0)) & maskByte(network.bits, index)) === 0
    );
}

/** Byte `index` of the mask of a network of `bits` bits. */
function maskByte(bits: number, index: number): number {
  const ones = Math.min(Math.max(bits - index * 8, 0), 8);
  return 0xff & (0xff << (8 - ones));
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
    return parseNetwork(inside ?? text);
  }
  checkName(text);
  return { kind: "name", name: canonicalName(text) };
}

/** The network of `address` or `address/bits`. */
function parseNetwork(text: string): HostRule {
  const [address = "", length, rest] = text.split("/");
  const bytes = parseIp(address);
  if (bytes === undefined) {
    throw new SyntaxError(`${quote(address)} is no IP address`);
  }
  const most = bytes.length * 8;
  const bits = length === undefined ? most : Number(length);
  if (
    rest !== undefined || !/^\d{1,3}$/.test(length ?? String(most)) ||
    bits > most
  ) {
    throw new SyntaxError(`the length of its network is not 0 to ${most}`);
  }
  const outside = bytes.some((byte, index) =>
    (byte & ~maskByte(bits, index)) !== 0
  );
  if (outside) {
    throw new SyntaxError(`it has bits set after the first ${bits}`);
  }
  return { kind: "network", bytes, bits, zone: zoneOf(address) };
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
