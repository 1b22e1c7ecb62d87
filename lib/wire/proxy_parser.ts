/**
 * Reads the header of the PROXY protocol at the start of a connection, in
 * whatever pieces its bytes come.
 *
 * @module
 */
import {
  type Address,
  type Endpoints,
  formatIp,
  MAX_PORT,
  parseIp,
} from "../base/address.ts";
import { readU32 } from "../base/big_endian.ts";
import { crc32c } from "../base/crc32c.ts";
import { Gathered } from "../base/gathered.ts";
import { quote } from "../base/text.ts";
import {
  COMMAND,
  FAMILY,
  MAX_V1_BYTES,
  TLV,
  TRANSPORT,
  V1_START,
  V2_FIXED_BYTES,
  V2_SIGNATURE,
} from "./proxy_header.ts";

/**
 * The longest header of version 2, in bytes: what nginx takes. HAProxy writes
 * up to some hundred, with certificates and names of hosts beside the addresses.
 */
export const MAX_V2_BYTES = 4096;

/** The longest header. */
export const MAX_PROXY_HEADER_BYTES: number = MAX_V2_BYTES;

/** What follows from what was said. */
export type ProxyStep =
  /** The header is not whole. */
  | { readonly type: "more" }
  | {
    readonly type: "header";
    /** Whose connection it is; undefined where it is the sender's own, or no TCP. */
    readonly endpoints: Endpoints | undefined;
    /** What came after it, which is the application's. */
    readonly rest: Uint8Array;
  }
  /** There is none, or none that may be believed. */
  | { readonly type: "wrong"; readonly why: string };

const MORE: ProxyStep = { type: "more" };

const CR = 0x0d;
const LF = 0x0a;

/** The transports and the families that there are. */
const TRANSPORTS: readonly number[] = Object.values(TRANSPORT);
const FAMILIES = Object.values(FAMILY);

/** The bytes of the checksum. */
const CRC_BYTES = 4;

/** Takes what comes on one connection until its header is whole, and nothing after that. */
export class ProxyParser {
  /** What came before and was not enough. */
  readonly #gathered = new Gathered();

  /** The next bytes. A header that comes in one piece is read where it is. */
  push(bytes: Uint8Array): ProxyStep {
    const begun = this.#gathered.bytes.length > 0;
    if (begun) this.#gathered.add(bytes);
    const step = parse(begun ? this.#gathered.bytes : bytes);
    if (step.type === "more" && !begun) this.#gathered.add(bytes);
    return step;
  }
}

function parse(all: Uint8Array): ProxyStep {
  const start = all[0] === V2_SIGNATURE[0] ? V2_SIGNATURE : V1_START;
  const known = Math.min(all.length, start.length);
  for (let at = 0; at < known; at++) {
    if (all[at] !== start[at]) return wrong(noHeader(all));
  }
  if (known < start.length) return MORE;
  return start === V1_START ? parseV1(all) : parseV2(all);
}

function wrong(why: string): ProxyStep {
  return { type: "wrong", why };
}

/** What to say of bytes that begin no header. */
function noHeader(all: Uint8Array): string {
  const text = textOf(all.subarray(0, 16));
  const language = all[0] === 0x16
    ? "TLS"
    : text.startsWith("SSH-")
    ? "SSH"
    : /^[A-Z]{3,8} /.test(text)
    ? "HTTP"
    : undefined;
  return language === undefined
    ? "it does not begin with a header of the PROXY protocol"
    : `it begins with ${language}, and not with a header of the PROXY protocol`;
}

/** Bytes as text, one character each. */
function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function parseV1(all: Uint8Array): ProxyStep {
  const end = all.subarray(0, MAX_V1_BYTES).indexOf(LF);
  if (end < 0) {
    return all.length < MAX_V1_BYTES
      ? MORE
      : wrong(`its line has more than ${MAX_V1_BYTES} bytes`);
  }
  const line = textOf(all.subarray(0, end - 1));
  if (all[end - 1] !== CR) return wrong("its line does not end in CR LF");
  const rest = all.subarray(end + 1);
  // Whatever comes behind that word is to be passed over.
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) {
    return { type: "header", endpoints: undefined, rest };
  }
  const endpoints = endpointsV1(line);
  return endpoints === undefined
    ? wrong(`its line is not understood: ${quote(line)}`)
    : { type: "header", endpoints, rest };
}

const V1_LINE =
  /^PROXY TCP([46]) ([\d.A-Fa-f:]+) ([\d.A-Fa-f:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/;

function endpointsV1(line: string): Endpoints | undefined {
  const [, family, from = "", to = "", ...ports] = V1_LINE.exec(line) ?? [];
  const source = addressV1(from, ports[0]);
  const destination = addressV1(to, ports[1]);
  const isFamily = [from, to].every((ip) =>
    ip.includes(":") === (family === "6")
  );
  return source && destination && isFamily
    ? { source, destination }
    : undefined;
}

function addressV1(ip: string, portText = ""): Address | undefined {
  const bytes = parseIp(ip);
  const port = Number(portText);
  return bytes && port <= MAX_PORT
    ? { host: formatIp(bytes), port }
    : undefined;
}

function parseV2(all: Uint8Array): ProxyStep {
  if (all.length < V2_FIXED_BYTES) return MORE;
  const [version, command] = halves(all[12]);
  const [family, transport] = halves(all[13]);
  const length = V2_FIXED_BYTES + u16(all, 14);
  if (version !== 2) return wrong(`its version is ${version}, not 2`);
  if (command !== COMMAND.local && command !== COMMAND.proxy) {
    return wrong(`its command is ${command}, neither LOCAL nor PROXY`);
  }
  if (length > MAX_V2_BYTES) {
    return wrong(
      `it is to have ${length} bytes, and ${MAX_V2_BYTES} are the most`,
    );
  }
  if (all.length < length) return MORE;
  const header = all.subarray(0, length);
  const rest = all.subarray(length);
  const ours: ProxyStep = { type: "header", endpoints: undefined, rest };
  // What else it says is to be passed over.
  if (command === COMMAND.local) return ours;
  const known = FAMILIES.find(({ code }) => code === family);
  if (known === undefined || !TRANSPORTS.includes(transport)) {
    return wrong(`its family and transport, ${all[13]}, are none there are`);
  }
  // How long addresses of no family are, nobody knows: nothing behind them is read.
  if (known === FAMILY.unspec) return ours;
  const tlvs = V2_FIXED_BYTES + known.bytes;
  if (length < tlvs) {
    return wrong(`it has ${length} bytes, too few for its addresses`);
  }
  const problem = problemWithTlvs(header, tlvs);
  if (problem !== undefined) return wrong(problem);
  // As for other readers, connections of UDP and Unix sockets have no address here.
  return known === FAMILY.unix || transport !== TRANSPORT.stream ? ours : {
    ...ours,
    endpoints: endpointsV2(header, known === FAMILY.inet ? 4 : 16),
  };
}

/** The ends, of addresses of so many bytes. */
function endpointsV2(header: Uint8Array, size: 4 | 16): Endpoints {
  const end = (which: 0 | 1): Address => {
    const at = V2_FIXED_BYTES + which * size;
    const host = formatIp(header.subarray(at, at + size));
    const port = u16(header, V2_FIXED_BYTES + 2 * size + 2 * which);
    // IPv4 within IPv6 is told as IPv4.
    return { host: formatIp(parseIp(host) ?? []), port };
  };
  return { source: end(0), destination: end(1) };
}

/** What is wrong with what comes after the addresses, from `at` on; undefined if nothing is. */
function problemWithTlvs(
  header: Uint8Array,
  start: number,
): string | undefined {
  for (let at = start; at < header.length;) {
    const value = at + 3;
    const end = value + u16(header, at + 1);
    if (end > header.length) return "its TLVs are longer than it is";
    if (header[at] === TLV.crc32c) {
      const given = readU32(header, value);
      const actual = crc32c(
        header.subarray(0, value),
        new Uint8Array(CRC_BYTES),
        header.subarray(end),
      );
      if (end - value !== CRC_BYTES || given !== actual) {
        return "its checksum is wrong";
      }
    }
    at = end;
  }
  return undefined;
}

function halves(byte = 0): readonly [upper: number, lower: number] {
  return [byte >> 4, byte & 0x0f];
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
}
