/**
 * Network addresses as people write them (`host:port`, `:port`,
 * `[::1]:port`), and the rules for hosts, ports and IP addresses.
 *
 * @module
 */

import { quote, redactUrl } from "./text.ts";

/** A place to dial or to listen at. */
export interface Address {
  /**
   * A host name or IP address; IPv6 without brackets, perhaps with a zone
   * (`fe80::1%eth0`). Empty, where a listener may have that, means every
   * interface.
   */
  readonly host: string;
  /** A TCP port, 1 to 65535; 0, where a listener may have that, means any free one. */
  readonly port: number;
}

/** The two ends of an application's connection, both with IP addresses. */
export interface Endpoints {
  /** Where it comes from. */
  readonly source: Address;
  /** Where it was accepted. */
  readonly destination: Address;
}

/** What of an address beyond `host:port` is welcome. */
export interface AddressOptions {
  /** Whether the host may be empty, as in `:8080`; default false. */
  readonly allowEmptyHost?: boolean;
  /** Whether the port may be 0; default false. */
  readonly allowPortZero?: boolean;
}

/** The longest host name, in characters: that of DNS (RFC 1035, without the root's dot). */
const MAX_HOST_LENGTH = 253;

/** The longest zone, in characters: that of an interface's name on Linux and the BSDs (IFNAMSIZ). */
const MAX_ZONE_LENGTH = 15;

/** The highest TCP port. */
export const MAX_PORT = 65_535;

/**
 * The address in `text`.
 *
 * @throws {SyntaxError} naming `text` and what is wrong with it.
 */
export function parseAddress(
  text: string,
  options: AddressOptions = {},
): Address {
  const result = tryParseAddress(text, options);
  if (typeof result === "string") {
    throw new SyntaxError(
      `${quote(redactUrl(text))} is not an address: ${result}`,
    );
  }
  return result;
}

/**
 * The address in `text`, or what is wrong with it in a few words that do not
 * repeat it: for callers whose text may hold a secret.
 */
export function tryParseAddress(
  text: string,
  options: AddressOptions = {},
): Address | string {
  const [, inside, after = ""] = /^\[([^\]]*)\](?::(.*))?$/s.exec(text) ?? [];
  const colon = text.lastIndexOf(":");
  const host = inside ?? text.slice(0, Math.max(colon, 0));
  const port = inside === undefined ? text.slice(colon + 1) : after;
  const surplus = surplusProblem(text);
  if (surplus !== undefined) return surplus;
  if (inside !== undefined && !inside.includes(":")) {
    return "brackets are for IPv6 addresses";
  }
  if (inside === undefined && colon < 0) {
    return /^\d+$/.test(text)
      ? `it has no host; write ${options.allowEmptyHost ? "" : "host"}:${text}`
      : "it has no port; write host:port";
  }
  if (inside === undefined && host.includes(":")) return colonProblem(text);
  if (host === "*" && options.allowEmptyHost) {
    return `for every interface write :${port}`;
  }
  const problem =
    (host === "" && options.allowEmptyHost === true
      ? undefined
      : hostProblem(host)) ?? portProblem(port, options);
  return problem ?? { host, port: Number(port) };
}

/**
 * What beside host and port is in `text`, in a few words, or undefined when
 * nothing is: what people copy of a URL.
 */
export function surplusProblem(text: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    return "it has a scheme; write host:port alone";
  }
  if (text.includes("@")) return "it has a user; write host:port alone";
  // Not the slash of a network, as a target pattern may have it.
  if (/:[^:\]]+[/?#][^:\]]*$|^\/\//.test(text)) {
    return "it has a path; write host:port alone";
  }
  return undefined;
}

/** What is wrong with more than one colon outside of brackets. */
function colonProblem(text: string): string {
  const bare = text.replace(/[[\]]/g, "");
  const before = bare.slice(0, bare.lastIndexOf(":"));
  if (parseIp(bare) === undefined && parseIp(before) === undefined) {
    return "it has more than one colon; write host:port";
  }
  return text.includes("%")
    ? "an IPv6 address and its zone go in brackets, as in [fe80::1%eth0]:8080"
    : "an IPv6 address goes in brackets, as in [::1]:8080";
}

/** `address` as {@linkcode parseAddress} reads it. */
export function formatAddress(address: Address): string {
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * What keeps `host` from being a host to dial, in a few words, or undefined
 * when nothing does. Hosts are IP addresses (IPv6 without brackets, perhaps
 * with a zone) and names: labels of ASCII letters, digits, `-` and `_` with dots between,
 * perhaps with the root's dot at the end. The rule is one for options,
 * target patterns and what peers ask for.
 */
export function hostProblem(host: string): string | undefined {
  if (host === "") return "it has no host";
  if (host.length > MAX_HOST_LENGTH) {
    return `its host is longer than ${MAX_HOST_LENGTH} characters`;
  }
  if (parseIp(host) !== undefined) return undefined;
  if (/[\s\p{Cc}]/u.test(host)) {
    return "its host has white space or control characters in it";
  }
  if (host.includes(":")) {
    return parseIp(host.replace(/%.*/s, "")) === undefined
      ? "its host is no IPv6 address"
      : "its zone is no name or number of an interface";
  }
  if (/[^ -~]/.test(host)) {
    return "its host has characters outside ASCII; write its xn-- form";
  }
  if (/[^\w.-]/.test(host)) {
    return "its host has characters that no host name has";
  }
  return /^\.|\.\./.test(host) ? "its host has an empty label" : undefined;
}

/**
 * What keeps `text` from being a port, in a few words, or undefined when
 * nothing does.
 */
export function portProblem(
  text: string,
  options: AddressOptions = {},
): string | undefined {
  if (text === "") return "it has no port";
  if (/\s/.test(text)) return "its port has white space in it";
  if (!/^\d+$/.test(text)) return "its port is not a number";
  const port = Number(text);
  if (port === 0 && options.allowPortZero !== true) return "its port is 0";
  if (port > MAX_PORT) return `its port is above ${MAX_PORT}`;
  return undefined;
}

/**
 * The bytes of the IP address in `text`, 4 or 16, or undefined when it is
 * none. An IPv4 address mapped into IPv6 (`::ffff:10.0.0.1`) gives the 4
 * bytes of the IPv4 address: it is the same destination. A zone is no part of
 * the bytes; {@linkcode zoneOf} tells it.
 */
export function parseIp(text: string): readonly number[] | undefined {
  const [, ip = text, zone] = /^([^%]*:[^%]*)%(.*)$/s.exec(text) ?? [];
  return zone === undefined || isZone(zone) ? parseBareIp(ip) : undefined;
}

/** The text of an IP address of 4 or 16 bytes, as {@linkcode parseIp} reads it; IPv6 in its short form. */
export function formatIp(bytes: ArrayLike<number>): string {
  const all = Array.from(bytes);
  if (all.length === 4) return all.join(".");
  const groups = Array.from(
    { length: 8 },
    (_, at) => ((all[2 * at] ?? 0) << 8 | (all[2 * at + 1] ?? 0)).toString(16),
  );
  // The runtime knows how to shorten it.
  const full = groups.join(":");
  return URL.parse(`http://[${full}]`)?.hostname.slice(1, -1) ?? full;
}

/**
 * The zone of the IPv6 address in `host` (RFC 4007): the name or number of the
 * interface that a link-local address is on; undefined when it has none.
 */
export function zoneOf(host: string): string | undefined {
  const at = host.includes(":") ? host.indexOf("%") : -1;
  return at < 0 ? undefined : host.slice(at + 1);
}

/** `host` without its zone, as certificates and permissions have it. */
export function withoutZone(host: string): string {
  const zone = zoneOf(host);
  return zone === undefined ? host : host.slice(0, -zone.length - 1);
}

/**
 * `words`, with which the system refuses `host`, and what to do where they
 * come of its zone: a link-local address without one is on no interface, and
 * one that no interface has is told as an unknown name.
 */
export function withZoneHint(words: string, host: string): string {
  const hint = /lookup|invalid argument/i.test(words)
    ? zoneHint(host)
    : undefined;
  return hint === undefined ? words : `${words}; ${hint}`;
}

function zoneHint(host: string): string | undefined {
  const zone = zoneOf(host);
  if (zone !== undefined) return `is there an interface ${quote(zone)}?`;
  const [first = 0, second = 0] = host.includes(":") ? parseIp(host) ?? [] : [];
  return first === 0xfe && (second & 0xc0) === 0x80
    ? `a link-local address needs its interface, as in [${host}%eth0]`
    : undefined;
}

function isZone(text: string): boolean {
  return /^[\w.~-]+$/.test(text) && text.length <= MAX_ZONE_LENGTH;
}

/** The bytes of an address without a zone. */
function parseBareIp(text: string): readonly number[] | undefined {
  if (!text.includes(":")) return parseIpv4(text);
  if (!/^[\da-f:.]+$/i.test(text)) return undefined;
  // The runtime writes it in groups of hexadecimals, the longest zeros as "::".
  const canonical = URL.parse(`http://[${text}]`)?.hostname.slice(1, -1);
  if (canonical === undefined) return undefined;
  const [front = [], back = []] = canonical.split("::").map(groupBytes);
  const zeros = new Array<number>(16 - front.length - back.length).fill(0);
  const bytes = [...front, ...zeros, ...back];
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) &&
    bytes[10] === 0xff && bytes[11] === 0xff;
  return mapped ? bytes.slice(12) : bytes;
}

/** The four bytes of dotted decimals, without leading zeros (they mean octal to some). */
function parseIpv4(text: string): readonly number[] | undefined {
  const parts = text.split(".");
  const valid = parts.length === 4 &&
    parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part));
  const bytes = parts.map(Number);
  return valid && bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

/** The bytes of hexadecimal groups with colons between. */
function groupBytes(groups: string): number[] {
  if (groups === "") return [];
  return groups.split(":").flatMap((group) => {
    const value = parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
