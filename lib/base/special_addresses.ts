/**
 * Addresses that are no host of the internet's: which of them a target must
 * not have unless somebody named them.
 *
 * @module
 */

import { contains, parseNetwork } from "./network.ts";

/**
 * How far a rule must go to open an address: `guarded` ones are opened only
 * by a rule for themselves, `loopback` and `private` ones not by a name that
 * somebody else may give any address.
 */
export type SpecialKind = "guarded" | "loopback" | "private";

/** A range of addresses that is special. */
export interface SpecialRange {
  /** What follows. */
  readonly kind: SpecialKind;
  /** What such an address is, for people. */
  readonly what: string;
  /** How many bits all of its addresses have in common. */
  readonly bits: number;
}

interface Range extends SpecialRange {
  readonly bytes: readonly number[];
}

/** The ranges; of two that an address is in, the first counts. */
const RANGES: readonly Range[] = [
  // A host takes these for itself: Linux dials its loopback.
  ...ranges("guarded", "an unspecified address", "0.0.0.0/8", "::"),
  ...ranges("guarded", "a link-local address", "169.254.0.0/16", "fe80::/10"),
  ...ranges("guarded", "a multicast address", "224.0.0.0/4", "ff00::/8"),
  ...ranges("guarded", "the broadcast address", "255.255.255.255"),
  // What clouds hand credentials out at, beside 169.254.169.254, by their
  // documentation: AWS, Google, Oracle (two), Scaleway, Alibaba, Azure.
  ...ranges(
    "guarded",
    "the address of a cloud's metadata",
    ...["fd00:ec2::/32", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "192.0.0.192"],
    ...["fd00:42::42", "100.100.100.200", "168.63.129.16"],
  ),
  ...ranges("loopback", "a loopback address", "127.0.0.0/8", "::1"),
  // RFC 1918, RFC 4193, and what else IANA has as not globally reachable:
  // between carriers, of protocols, of benchmarks, of site-local and class E.
  ...ranges(
    "private",
    "a private address",
    ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
    ...["100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "fec0::/10"],
    "240.0.0.0/4",
  ),
];

/** IPv6 networks whose addresses stand for IPv4 ones, and the byte at which those begin. */
const EMBEDDING = [
  ["64:ff9b::/96", 12], // NAT64 (RFC 6052)
  ["64:ff9b:1::/48", 12], // NAT64 of one's own (RFC 8215), as all of them write it
  ["2002::/16", 2], // 6to4 (RFC 3056)
  ["::ffff:0:0:0/96", 12], // translated (RFC 2765)
  ["::/96", 12], // compatible (RFC 4291, 2.5.5.1)
].map(([text, at]) => ({ ...parseNetwork(String(text)), at: Number(at) }));

/** Whether a name is the loopback by definition (RFC 6761, 6.3). */
export function isLocalhost(name: string): boolean {
  return /^(?:.+\.)?localhost\.?$/i.test(name);
}

/**
 * The IPv4 address that the IPv6 address `ip` stands for, where a gateway
 * translates it, and the byte at which it begins. One mapped into IPv6 is the
 * IPv4 address itself ({@linkcode parseIp}).
 */
export function embeddedIn(
  ip: readonly number[],
): { readonly ip: readonly number[]; readonly at: number } | undefined {
  const found = EMBEDDING.find((network) => contains(network, ip));
  return found && { ip: ip.slice(found.at, found.at + 4), at: found.at };
}

/** The special range that `ip` is in, itself or by what it stands for; undefined for an ordinary address. */
export function specialRange(ip: readonly number[]): SpecialRange | undefined {
  const own = RANGES.find((range) => contains(range, ip));
  if (own !== undefined) return own;
  const embedded = embeddedIn(ip);
  const range = embedded &&
    RANGES.find((range) => contains(range, embedded.ip));
  return range && { ...range, bits: embedded.at * 8 + range.bits };
}

function ranges(
  kind: SpecialKind,
  what: string,
  ...networks: readonly string[]
): Range[] {
  return networks.map((text) => ({ kind, what, ...parseNetwork(text) }));
}
