/**
 * IP networks as people write them (`10.0.0.0/8`, `fd00::/8`, `10.0.0.7`), and
 * what is in one.
 *
 * @module
 */

import { parseIp, zoneOf } from "./address.ts";
import { quote } from "./text.ts";

/** Every address whose first `bits` bits are those of `bytes`. */
export interface Network {
  /** The address it begins with: 4 bytes, or 16. */
  readonly bytes: readonly number[];
  /** How many of the bits are fixed; all of them for one address. */
  readonly bits: number;
  /** The only zone it covers; undefined for every one, and none. */
  readonly zone: string | undefined;
}

/**
 * The network of `address` or `address/bits`, without brackets.
 *
 * @throws {SyntaxError} saying what is wrong.
 */
export function parseNetwork(text: string): Network {
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
  return { bytes, bits, zone: zoneOf(address) };
}

/** Whether one of `networks` has the address written in `host`, in whatever zone. */
export function isInAny(networks: readonly Network[], host: string): boolean {
  const ip = parseIp(host);
  return ip !== undefined && networks.some((network) => contains(network, ip));
}

/** Whether `ip` is in the network, whatever its zone; never across address families. */
export function contains(
  { bytes, bits }: Omit<Network, "zone">,
  ip: readonly number[],
): boolean {
  return ip.length === bytes.length &&
    bytes.every((byte, index) =>
      ((byte ^ (ip[index] ?? 0)) & maskByte(bits, index)) === 0
    );
}

/** Byte `index` of the mask of a network of `bits` bits. */
function maskByte(bits: number, index: number): number {
  const ones = Math.min(Math.max(bits - index * 8, 0), 8);
  return 0xff & (0xff << (8 - ones));
}
