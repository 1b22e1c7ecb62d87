/**
 * The probe: an open that asks for nothing, and what a server says of itself in
 * its answer. A server that knows no probes refuses it, since it has no target.
 *
 * @module
 */
import { type Reason, TunnelError } from "../base/errors.ts";
import { listOf, recordOf } from "../base/foreign_json.ts";
import { decodeMessage, encodeMessage } from "./message.ts";
import {
  type Asker,
  askerOf,
  decodeReply,
  type HeaderReader,
  MAX_OPEN_BYTES,
  type OpenMessage,
  PROTOCOL_VERSION,
  SEAL_SCHEME,
  type Sealed,
} from "./open.ts";
import { isToken } from "./subjects.ts";

/** What makes a probe of a request, and tells its answer from that to an open. */
export const PROBE_HEADER = "sproxy-probe";

/** What stands for a target in a sealed probe. It is none, as it has no port. */
export const PROBE_TEXT = "probe";

/** Credit that a probe gives, in bytes, and the form of frames that it asks for: there will be none. */
export const PROBE_STREAM = { window: 0, codec: "binary" } as const;

/** Most services that an answer names: with all else it then fits into what is read of one. */
export const MAX_TOLD_SERVICES = 32;

/** Longest text in an answer, in bytes: why a service is out of order. */
const MAX_TEXT = 100;

/** Bytes of the quotation marks around a text in JSON. */
const QUOTES = 2;

/** Bytes of the sign that more was there. */
const ELLIPSIS_BYTES = 3;

/** Longest name of a host, in characters (RFC 1035). */
const MAX_HOST = 253;

/** How a server does. */
const STATES = ["ready", "draining", "not-ready"] as const;

/** How a server does, as far as it knows. */
export type ServerState = (typeof STATES)[number];

/** A service, as a server tells of it. */
export interface ToldService {
  /** Its name. */
  readonly name: string;
  /** Whether it is offered. */
  readonly up: boolean;
  /** Why it is not. */
  readonly why?: string | undefined;
}

/** What a server tells of itself to those who may know it. */
export interface ServerFacts {
  /** Version of the program. */
  readonly version: string;
  /** Version of the runtime. */
  readonly deno: string;
  /** The versions of the wire that it takes. */
  readonly protocols: readonly number[];
  /** The machine; undefined where the process may not know its name. */
  readonly host?: string | undefined;
  /** Its process. */
  readonly pid: number;
  /** Which of several threads of that it is, from 1. */
  readonly worker?: number | undefined;
  /** The place that it answers for. */
  readonly site?: string | undefined;
  /** For how long it has run, in ms. */
  readonly up: number;
  /** What its clock shows, in ms since 1970. */
  readonly time: number;
  /** Tunnels open now. */
  readonly tunnels: number;
  /** Tunnels that are being opened. */
  readonly opening: number;
  /** Most tunnels. */
  readonly limit: number;
  /** Its services, as far as the asker may have them. */
  readonly services: readonly ToldService[];
  /** How many others there are. */
  readonly more: number;
  /** How it does. */
  readonly state: ServerState;
  /** Why it is not ready. */
  readonly why?: string | undefined;
}

/** The answer of a server. */
export interface ServerReport {
  /** Its public ID. */
  readonly id: string;
  /** Whether it takes sealed opens only. */
  readonly sealed: boolean;
  /** All else; undefined where it is told those only who prove to have a key. */
  readonly facts?: ServerFacts | undefined;
}

/** What a server is asked. */
export interface Probe extends Asker {
  /** What only the holder of the right key can read; undefined where it is not sealed. */
  readonly sealed?: Uint8Array | undefined;
}

/** What comes back to a probe. */
export type ProbeAnswer =
  | { readonly type: "report"; readonly report: ServerReport }
  /** Of a server that has the right key, or pretends to. */
  | Sealed & { readonly type: "sealed" }
  /** A server of ours refuses it. */
  | { readonly type: "refused"; readonly reason: Reason }
  /** A version 2 server that knows no probes. */
  | { readonly type: "old" }
  /** A version 1 server. */
  | { readonly type: "v1" }
  /** Nothing that a server of ours says; `what` it is, as a clause. */
  | { readonly type: "foreign"; readonly what: string };

/** What an answer was that no server of ours gives. */
const NOT_OURS = "an answer came that no server gives";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The probe of a client. */
export function encodeProbe({ client, number, sealed }: Probe): OpenMessage {
  return {
    headers: [
      ["sproxy-version", String(PROTOCOL_VERSION)],
      ["sproxy-client", client],
      ["sproxy-tunnel", number.toString(36)],
      ["sproxy-window", String(PROBE_STREAM.window)],
      ["sproxy-codec", PROBE_STREAM.codec],
      [PROBE_HEADER, "1"],
      ...(sealed === undefined
        ? []
        : [["sproxy-security", SEAL_SCHEME]] as const),
    ],
    body: encodeData(sealed ?? null),
  };
}

/** Reads a probe; undefined for what is none that could be answered. */
export function decodeProbe(
  header: HeaderReader,
  body: Uint8Array,
): Probe | undefined {
  const asker = askerOf(header);
  const scheme = header("sproxy-security");
  if (asker === undefined || body.length > MAX_OPEN_BYTES) return undefined;
  if (scheme === undefined) return asker;
  if (scheme !== SEAL_SCHEME) return undefined;
  try {
    return {
      ...asker,
      sealed: decodeMessage(body).data ?? new Uint8Array(0),
    };
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error;
    return undefined;
  }
}

/** The answer to one that may be read by anybody. */
export function encodeReport(report: ServerReport): OpenMessage {
  const text = JSON.stringify(reportToJson(report));
  return answerOf(report.id, [], encoder.encode(text));
}

/** The same, sealed, of the server of this public ID. */
export function encodeSealedReport(id: string, data: Uint8Array): OpenMessage {
  return answerOf(id, [["sproxy-security", SEAL_SCHEME]], data);
}

/** Reads an answer. Whoever else listens may answer, too: what no server of ours says is `foreign`. */
export function decodeProbeAnswer(
  header: HeaderReader,
  body: Uint8Array,
): ProbeAnswer {
  if (header(PROBE_HEADER) === undefined || body.length > MAX_OPEN_BYTES) {
    return decodeOther(header, body);
  }
  const sealed = header("sproxy-security") === SEAL_SCHEME;
  try {
    const data = decodeMessage(body).data ?? new Uint8Array(0);
    if (sealed) return { type: "sealed", sealed: data };
    const report = reportFromJson(JSON.parse(decoder.decode(data)));
    if (report !== undefined) return { type: "report", report };
  } catch {
    // No message, no UTF-8, no JSON: all the same to the asker.
  }
  return { type: "foreign", what: NOT_OURS };
}

/** An answer of who takes a probe for an open. */
function decodeOther(header: HeaderReader, body: Uint8Array): ProbeAnswer {
  const reply = decodeReply(header, body);
  switch (reply.type) {
    case "sealed":
    case "foreign":
    case "v1":
      return reply;
    case "refused": {
      const { reason, server } = reply;
      if (server === undefined) return { type: "v1" };
      return reason.code === "protocol"
        ? { type: "old" }
        : { type: "refused", reason };
    }
    default:
      return {
        type: "foreign",
        what: NOT_OURS,
      };
  }
}

function answerOf(
  id: string,
  more: OpenMessage["headers"],
  data: Uint8Array,
): OpenMessage {
  return {
    headers: [
      ["sproxy-version", String(PROTOCOL_VERSION)],
      ["sproxy-server", id],
      [PROBE_HEADER, "1"],
      ...more,
    ],
    body: encodeData(data),
  };
}

function encodeData(data: Uint8Array | null): Uint8Array {
  return encodeMessage({ id: "", reply: "", data, metadata: null });
}

/** A report as JSON has it: as long as an answer may be, and no longer. */
export function reportToJson({ id, sealed, facts }: ServerReport): object {
  if (facts === undefined) return { id, sealed };
  const { services, more, why, ...rest } = facts;
  const told = services.slice(0, MAX_TOLD_SERVICES);
  return {
    id,
    sealed,
    ...rest,
    services: told.map(({ name, up, why }) => ({
      name,
      up,
      ...(why !== undefined && { why: cut(why) }),
    })),
    more: more + services.length - told.length,
    ...(why !== undefined && { why: cut(why) }),
  };
}

/** The report that `value` is; undefined where it is none. What is not known is passed over. */
export function reportFromJson(value: unknown): ServerReport | undefined {
  const record = recordOf(value);
  const id = record && textOf(record.id, MAX_TEXT);
  if (record === undefined || id === undefined || !isToken(id)) {
    return undefined;
  }
  const sealed = record.sealed === true;
  const facts = factsOf(record);
  return { id, sealed, ...(facts && { facts }) };
}

function factsOf(
  record: Readonly<Record<string, unknown>>,
): ServerFacts | undefined {
  const version = textOf(record.version, MAX_TEXT);
  if (version === undefined) return undefined;
  const { worker, protocols, services } = record;
  return {
    version,
    deno: textOf(record.deno, MAX_TEXT) ?? "",
    protocols: listOf(protocols).filter((it) => typeof it === "number"),
    host: textOf(record.host, MAX_HOST),
    pid: countOf(record.pid),
    worker: worker === undefined ? undefined : countOf(worker),
    site: textOf(record.site, MAX_TEXT),
    up: countOf(record.up),
    time: countOf(record.time),
    tunnels: countOf(record.tunnels),
    opening: countOf(record.opening),
    limit: countOf(record.limit),
    services: listOf(services).slice(0, MAX_TOLD_SERVICES)
      .flatMap((it) => serviceOf(it) ?? []),
    more: countOf(record.more),
    state: STATES.find((state) => state === record.state) ?? "ready",
    why: textOf(record.why, MAX_TEXT),
  };
}

function serviceOf(value: unknown): ToldService | undefined {
  const record = recordOf(value);
  const name = record && textOf(record.name, MAX_TEXT);
  if (record === undefined || name === undefined) return undefined;
  const why = textOf(record.why, MAX_TEXT);
  return { name, up: record.up === true, ...(why !== undefined && { why }) };
}

function textOf(value: unknown, most: number): string | undefined {
  return typeof value === "string" ? value.slice(0, most) : undefined;
}

function countOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0
    ? value
    : 0;
}

/** `text` as far as it takes at most {@linkcode MAX_TEXT} bytes in JSON. */
function cut(text: string): string {
  let bytes = 0;
  let short = "";
  for (const character of text) {
    bytes += encoder.encode(JSON.stringify(character)).length - QUOTES;
    if (bytes > MAX_TEXT - ELLIPSIS_BYTES) return short + "…";
    short += character;
  }
  return short;
}
