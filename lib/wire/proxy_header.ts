/**
 * The PROXY protocol as it is written (HAProxy's proxy-protocol.txt, versions 1
 * and 2): the first bytes of a connection, which say for whom it was made.
 *
 * @module
 */
import { type Address, formatIp, parseIp } from "../base/address.ts";
import type { ProxyVersion } from "../base/service.ts";

/** How every header of version 1 begins. */
export const V1_START: Uint8Array = new TextEncoder().encode("PROXY ");

/** The longest header of version 1, in bytes, CRLF included (section 2.1). */
export const MAX_V1_BYTES = 107;

/** How every header of version 2 begins: no line of any protocol of text. */
// deno-fmt-ignore
export const V2_SIGNATURE: Uint8Array = Uint8Array.of(
  0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
);

/** What comes before the addresses in version 2: signature, command, family, length. */
export const V2_FIXED_BYTES = 16;

/** Commands of version 2, in the lower half of a byte; the upper one is the version. */
export const COMMAND = { local: 0, proxy: 1 } as const;

/** Families of addresses of version 2, in the upper half of a byte, each with the bytes that its two ends take. */
export const FAMILY = {
  unspec: { code: 0, bytes: 0 },
  inet: { code: 1, bytes: 2 * 4 + 2 * 2 },
  inet6: { code: 2, bytes: 2 * 16 + 2 * 2 },
  unix: { code: 3, bytes: 2 * 108 },
} as const;

/** Transports of version 2, in the lower half of the same byte. */
export const TRANSPORT = { unspec: 0, stream: 1, datagram: 2 } as const;

/** Types of what may come after the addresses in version 2. */
export const TLV = {
  crc32c: 0x03,
  uniqueId: 0x05,
  /** The first of those that are left to applications: the name of a client, as the server knows it by its key. */
  clientName: 0xe0,
} as const;

/** The longest ID of a connection, in bytes (section 2.2.5). */
const MAX_UNIQUE_ID = 128;

/** What a header says. */
export interface ProxyFacts {
  /** Who connected; undefined where that is not known, or was no TCP. */
  readonly source?: Address | undefined;
  /** What they connected to; undefined likewise. */
  readonly destination?: Address | undefined;
  /** The tunnel's connection ID; version 1 has no place for it. */
  readonly tunnelId?: string | undefined;
  /** What the server calls the client whose key it knows; version 1 has no place for it. */
  readonly clientName?: string | undefined;
}

/** Both ends as bytes of one family. */
interface Ends {
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly ports: readonly [source: number, destination: number];
}

/**
 * The header that says these `facts`.
 *
 * Without a source it is `UNKNOWN`, in version 2 `LOCAL` with the rest of the
 * facts behind it: HAProxy writes it so, and it is the one command without
 * addresses that readers must take. A source whose destination is not known
 * goes with `0.0.0.0:0`, since it is what readers want. Where one is IPv4 and
 * the other IPv6, IPv4 is mapped, as HAProxy does it. Zones say nothing on
 * another machine, and are left out.
 */
export function proxyHeader(
  version: ProxyVersion,
  facts: ProxyFacts,
): Uint8Array {
  const ends = endsOf(facts);
  return version === "v1" ? headerV1(ends) : headerV2(ends, facts);
}

function headerV1(ends: Ends | undefined): Uint8Array {
  const words = ends === undefined ? ["PROXY", "UNKNOWN"] : [
    "PROXY",
    ends.source.length === 4 ? "TCP4" : "TCP6",
    formatIp(ends.source),
    formatIp(ends.destination),
    ...ends.ports,
  ];
  return new TextEncoder().encode(`${words.join(" ")}\r\n`);
}

function headerV2(
  ends: Ends | undefined,
  { tunnelId, clientName }: ProxyFacts,
): Uint8Array {
  const family = ends === undefined
    ? FAMILY.unspec
    : ends.source.length === 4
    ? FAMILY.inet
    : FAMILY.inet6;
  const command = ends === undefined ? COMMAND.local : COMMAND.proxy;
  const transport = ends === undefined ? TRANSPORT.unspec : TRANSPORT.stream;
  const body = [
    ...ends?.source ?? [],
    ...ends?.destination ?? [],
    ...ends?.ports.flatMap(u16) ?? [],
    ...tlv(TLV.uniqueId, tunnelId, MAX_UNIQUE_ID),
    ...tlv(TLV.clientName, clientName),
  ];
  return Uint8Array.of(
    ...V2_SIGNATURE,
    0x20 | command,
    family.code << 4 | transport,
    ...u16(body.length),
    ...body,
  );
}

/** The bytes of a text with its type and length; none where there is no text, or it is longer than `most` bytes. */
function tlv(
  type: number,
  text: string | undefined,
  most: number = MAX_TLV_BYTES,
): readonly number[] {
  const value = new TextEncoder().encode(text ?? "");
  return value.length === 0 || value.length > most
    ? []
    : [type, ...u16(value.length), ...value];
}

/** The longest value that is written, in bytes: together with the rest far below what readers take (nginx 4 KiB). */
const MAX_TLV_BYTES = 1024;

function u16(value: number): [number, number] {
  return [value >>> 8 & 0xff, value & 0xff];
}

/** The ends that `facts` tell of; undefined where the source is not known by its address. */
function endsOf({ source, destination }: ProxyFacts): Ends | undefined {
  const from = source && parseIp(source.host);
  if (from === undefined) return undefined;
  const to = destination && parseIp(destination.host);
  const ports = [source?.port ?? 0, to ? destination?.port ?? 0 : 0] as const;
  const other = to ?? from.map(() => 0);
  return from.length === other.length
    ? { source: from, destination: other, ports }
    : { source: mapped(from), destination: mapped(other), ports };
}

/** An IPv4 address in one of IPv6 (RFC 4291, 2.5.5.2). */
function mapped(ip: readonly number[]): readonly number[] {
  return ip.length === 16
    ? ip
    : [...new Array<number>(10).fill(0), 0xff, 0xff, ...ip];
}
