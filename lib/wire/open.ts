/**
 * The open: the request that asks for a tunnel and the reply to it, on both
 * versions of the wire.
 *
 * The request is the original's: NATS headers `remote_host` and `remote_port`
 * and an empty message as body. Version 2 adds headers of its own, which a
 * version 1 server does not read; a reply without `sproxy-version` is from
 * one.
 *
 * @module
 */
import { CODEC_NAMES, type CodecName } from "./codec.ts";
import {
  type Address,
  type Endpoints,
  formatAddress,
  hostProblem,
  parseIp,
  tryParseAddress,
} from "../base/address.ts";
import {
  type ErrorCode,
  isErrorCode,
  type Reason,
  TunnelError,
} from "../base/errors.ts";
import { decodeMessage, encodeMessage } from "./message.ts";
import { isToken, MAX_ID_LENGTH, parseNumber } from "./subjects.ts";
import {
  formatTarget,
  isAddress,
  type Target,
  tryParseTarget,
} from "../base/target.ts";
import { quote } from "../base/text.ts";

/** The version of the native wire. */
export const PROTOCOL_VERSION = 2;

/** Longest error text taken from a reply, in characters. */
const MAX_ERROR_LENGTH = 1024;

/** Most characters of a wrong value that an error shows. */
const MAX_SHOWN = 80;

/** Largest window believed from a peer, in bytes; only our own budget counts beyond it. */
const MAX_WINDOW = 1 << 30;

/**
 * Most servers that one open is asked of: one that cannot reach the target
 * may have a sister that can, but a target that is down is down for all.
 */
export const MAX_SERVERS = 4;

/** Largest body of a request or an answer that is read, in bytes: the original's has some 50, a sealed one 1,000. */
export const MAX_OPEN_BYTES = 8 * 1024;

/** How opens are sealed: the one way there is, by its name on the wire. */
export const SEAL_SCHEME = "ik1";

/** Headers of a message, in order. */
export type HeaderList = readonly (readonly [string, string])[];

/** A message of an open, as NATS carries it. */
export interface OpenMessage {
  /** Its headers. */
  readonly headers: HeaderList;
  /** The original's message. */
  readonly body: Uint8Array;
}

/** Reads one header of a message. */
export type HeaderReader = (name: string) => string | undefined;

/** What only the holder of the right key can read. */
export interface Sealed {
  /** The bytes of it. */
  readonly sealed: Uint8Array;
}

/** What a client asks for. */
export interface OpenRequest {
  /** What to connect to; within, and with who asks, where it is sealed. */
  readonly target: Target | Sealed;
  /** What version 2 adds; undefined from a version 1 client. */
  readonly native: NativeRequest | undefined;
}

/** The version 2 part of a request. */
export interface NativeRequest {
  /** Token of the client process. */
  readonly client: string;
  /** Number the client gives the tunnel. */
  readonly number: number;
  /** Credit for the server, in bytes. */
  readonly window: number;
  /** The codec the client wants. */
  readonly codec: CodecName;
  /** Whether the client hears what is express. */
  readonly express?: boolean;
  /** Tokens of servers that refused this open already: another is to answer. */
  readonly not?: readonly string[];
  /** The application's connection, as the client says; undefined for one of a Unix socket, and within where it is sealed. */
  readonly endpoints?: Endpoints | undefined;
  /** The span at the client that the tunnel is a part of (W3C Trace Context); within where it is sealed. */
  readonly traceparent?: string | undefined;
}

/** Who asks for a tunnel. */
export type Asker = Pick<NativeRequest, "client" | "number">;

/** The version 2 part of the reply that a target is connected. */
export interface NativeAccept {
  /** Token of the server process. */
  readonly server: string;
  /** Credit for the client, in bytes. */
  readonly window: number;
  /** The codec of the tunnel. */
  readonly codec: CodecName;
  /** Whether the server hears what is express. */
  readonly express?: boolean;
}

/** What comes back. */
export type OpenReply =
  /** Version 2: the target is connected. */
  | NativeAccept & { readonly type: "open"; readonly id: string }
  /** Version 2: still dialling; a sign of life. */
  | { readonly type: "dialing" }
  /** Version 2: this server has refused this open before, and would again. */
  | { readonly type: "again" }
  /** Either version: refused; by which server, where it says so. */
  | {
    readonly type: "refused";
    readonly reason: Reason;
    readonly server: string | undefined;
  }
  /** Version 2: what a server says that has the right key, or pretends to. */
  | Sealed & {
    readonly type: "sealed";
    readonly server: string;
    readonly express?: boolean;
  }
  /** Nothing that a server of ours says; `what` it is, as a clause. */
  | { readonly type: "foreign"; readonly what: string }
  /** Version 1: an ID; whether the target answers is not known. */
  | { readonly type: "v1"; readonly id: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const VERSION_HEADER = ["sproxy-version", String(PROTOCOL_VERSION)] as const;

/** Who sends it hears what is express: not every process of version 2 does. */
const EXPRESS_HEADER = ["sproxy-express", "1"] as const;

const EMPTY_BODY = encodeMessage({
  id: "",
  reply: "",
  data: null,
  metadata: null,
});

/** The request of a client. */
export function encodeRequest(request: OpenRequest): OpenMessage {
  const { target, native } = request;
  return {
    headers: [
      ...targetHeaders(target),
      ...(native === undefined ? [] : [
        VERSION_HEADER,
        ["sproxy-client", native.client],
        ["sproxy-tunnel", native.number.toString(36)],
        ...streamHeaders(native),
        ...(native.express ? [EXPRESS_HEADER] : []),
        ...(native.not === undefined || native.not.length === 0
          ? []
          : [["sproxy-not", native.not.join(" ")]] as const),
        ...(native.endpoints === undefined
          ? []
          : [["sproxy-source", formatEndpoints(native.endpoints)]] as const),
        ...(native.traceparent === undefined
          ? []
          : [["traceparent", native.traceparent]] as const),
      ] as const),
    ],
    body: "sealed" in target ? encodeData(target.sealed) : EMPTY_BODY,
  };
}

function targetHeaders(target: Target | Sealed): HeaderList {
  if ("sealed" in target) return [["sproxy-security", SEAL_SCHEME]];
  if (!isAddress(target)) return [["sproxy-target", formatTarget(target)]];
  return [
    ["remote_host", target.host],
    ["remote_port", String(target.port)],
  ];
}

/** The ends of a connection as the wire has them. */
export function formatEndpoints({ source, destination }: Endpoints): string {
  return `${formatAddress(source)} ${formatAddress(destination)}`;
}

/** The ends of a connection in `text`; undefined where they are none, which is no reason to refuse anybody. */
export function parseEndpoints(text: string): Endpoints | undefined {
  const [source, destination, ...rest] = text.split(" ")
    .map((one) => tryParseAddress(one, { allowPortZero: true }));
  const isIp = (one: Address | string | undefined): one is Address =>
    typeof one === "object" && parseIp(one.host) !== undefined;
  return isIp(source) && isIp(destination) && rest.length === 0
    ? { source, destination }
    : undefined;
}

/**
 * Reads a request. A `remote_host` in the body's metadata counts where the
 * header is missing, as some clients of the original sent it so.
 *
 * @throws {TunnelError} `protocol`, naming the header and its value.
 */
export function decodeRequest(
  header: HeaderReader,
  body: Uint8Array,
): OpenRequest {
  if (body.length > MAX_OPEN_BYTES) {
    throw new TunnelError(
      "protocol",
      `the request has ${body.length} bytes, at most ${MAX_OPEN_BYTES} are read`,
    );
  }
  const native = decodeNative(header);
  const scheme = header("sproxy-security");
  if (native === undefined) {
    return { target: decodeAddress(header, body), native };
  }
  if (scheme === undefined) {
    return { target: decodeTarget(header, body), native };
  }
  if (scheme !== SEAL_SCHEME) {
    throw malformed("sproxy-security", scheme, SEAL_SCHEME);
  }
  const sealed = decodeMessage(body).data ?? new Uint8Array(0);
  return { target: { sealed }, native };
}

function decodeTarget(header: HeaderReader, body: Uint8Array): Target {
  const text = header("sproxy-target");
  if (text === undefined) return decodeAddress(header, body);
  const target = tryParseTarget(text);
  if (typeof target === "object") return target;
  throw malformed("sproxy-target", text, "svc:NAME or unix:PATH");
}

function decodeAddress(header: HeaderReader, body: Uint8Array): Address {
  const metadata = body.length === 0 || header("remote_host") !== undefined
    ? null
    : decodeMessage(body).metadata;
  const field = (name: string): string =>
    header(name) ?? metadata?.[name] ?? "";
  const host = field("remote_host");
  if (hostProblem(host) !== undefined) {
    throw malformed("remote_host", host, "a host name or address");
  }
  const portText = field("remote_port");
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65535) {
    throw malformed("remote_port", portText, "a port from 1 to 65535");
  }
  return { host, port };
}

/** The reply that a target is connected (or, for version 1, will be dialled). */
export function encodeAccept(
  accept: { readonly id: string; readonly native?: NativeAccept | undefined },
): OpenMessage {
  const { id, native } = accept;
  return {
    headers: native === undefined ? [] : [
      ...serverHeaders(native.server),
      ...streamHeaders(native),
      ...(native.express ? [EXPRESS_HEADER] : []),
    ],
    body: encodeBody(id, {}),
  };
}

/** Whatever a server answers to a sealed open, sealed itself. */
export function encodeSealed(sealed: Uint8Array, server: string): OpenMessage {
  return {
    headers: [
      ...serverHeaders(server),
      ["sproxy-security", SEAL_SCHEME],
      EXPRESS_HEADER,
    ],
    body: encodeData(sealed),
  };
}

/** The notice that the dial goes on. */
export function encodeDialing(server: string): OpenMessage {
  return {
    headers: [...serverHeaders(server), ["sproxy-status", "dialing"]],
    body: EMPTY_BODY,
  };
}

/** The answer of a server that is among those the open is not for. */
export function encodeAgain(server: string): OpenMessage {
  return {
    headers: [...serverHeaders(server), ["sproxy-status", "again"]],
    body: EMPTY_BODY,
  };
}

/** A refusal; version 1 reads the body, version 2 the code. */
export function encodeRefusal(reason: Reason, server: string): OpenMessage {
  return {
    headers: [...serverHeaders(server), ["sproxy-code", reason.code]],
    body: encodeBody(reason.text, { error: "true" }),
  };
}

/**
 * Reads a reply. Whoever else listens on the request subject may answer, too:
 * what no server of ours says is `foreign`.
 */
export function decodeReply(header: HeaderReader, body: Uint8Array): OpenReply {
  if (body.length > MAX_OPEN_BYTES) {
    return { type: "foreign", what: `an answer of ${body.length} bytes came` };
  }
  try {
    return decodeOurs(header, body);
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error;
    const stream = streamOf(body);
    return {
      type: "foreign",
      what: stream === undefined
        ? `an answer came that no server gives (${error.text})`
        : `the JetStream stream ${quote(stream)} captures the request`,
    };
  }
}

/** The stream whose acknowledgement `body` is, as JetStream answers a publisher. */
function streamOf(body: Uint8Array): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(body));
  } catch {
    return undefined; // no JSON, so none of JetStream's
  }
  return typeof value === "object" && value !== null && "stream" in value &&
      "seq" in value && typeof value.stream === "string"
    ? value.stream
    : undefined;
}

function decodeOurs(header: HeaderReader, body: Uint8Array): OpenReply {
  const message = decodeMessage(body);
  const native = header("sproxy-version") !== undefined;
  const server = header("sproxy-server") ?? "";
  if (native && !isToken(server)) {
    throw malformed("sproxy-server", server, "a token");
  }
  if (native && header("sproxy-security") === SEAL_SCHEME) {
    const sealed = message.data ?? new Uint8Array(0);
    return { type: "sealed", sealed, server, ...decodeExpress(header) };
  }
  const text = decoder.decode(message.data ?? new Uint8Array(0));
  if (message.metadata?.error === "true") {
    const code = header("sproxy-code") ?? "";
    return {
      type: "refused",
      reason: {
        code: isErrorCode(code) && code !== "ok" ? code : codeOfText(text),
        text: text.slice(0, MAX_ERROR_LENGTH),
      },
      server: native ? server : undefined,
    };
  }
  const status = native ? header("sproxy-status") : undefined;
  if (status === "dialing" || status === "again") return { type: status };
  if (!isId(text)) throw malformed("connection ID", text, "tokens and dots");
  if (!native) return { type: "v1", id: text };
  return {
    type: "open",
    id: text,
    server,
    window: decodeWindow(header),
    codec: decodeCodec(header),
    ...decodeExpress(header),
  };
}

function serverHeaders(server: string): HeaderList {
  return [VERSION_HEADER, ["sproxy-server", server]];
}

function streamHeaders(
  { window, codec }: { readonly window: number; readonly codec: CodecName },
): HeaderList {
  return [["sproxy-window", String(window)], ["sproxy-codec", codec]];
}

function encodeData(data: Uint8Array): Uint8Array {
  return encodeMessage({ id: "", reply: "", data, metadata: null });
}

function encodeBody(
  text: string,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  return encodeMessage({
    id: "",
    reply: "",
    data: encoder.encode(text),
    metadata,
  });
}

/** Who asks, as far as a request says so that may be malformed otherwise. */
export function askerOf(header: HeaderReader): Asker | undefined {
  try {
    return header("sproxy-version") === undefined
      ? undefined
      : decodeAsker(header);
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error;
    return undefined;
  }
}

/** @throws {TunnelError} `protocol`, naming the header and its value. */
function decodeAsker(header: HeaderReader): Asker {
  const client = header("sproxy-client") ?? "";
  if (!isToken(client)) throw malformed("sproxy-client", client, "a token");
  const tunnel = header("sproxy-tunnel") ?? "";
  const number = parseNumber(tunnel);
  if (number === undefined || number === 0) {
    throw malformed("sproxy-tunnel", tunnel, "a number in base 36");
  }
  return { client, number };
}

function decodeNative(header: HeaderReader): NativeRequest | undefined {
  const version = header("sproxy-version");
  if (version === undefined) return undefined;
  if (!/^\d{1,4}$/.test(version) || Number(version) < PROTOCOL_VERSION) {
    throw malformed("sproxy-version", version, `${PROTOCOL_VERSION} or more`);
  }
  const asker = decodeAsker(header);
  const not = (header("sproxy-not") ?? "").split(" ").slice(0, MAX_SERVERS)
    .filter(isToken);
  const endpoints = parseEndpoints(header("sproxy-source") ?? "");
  const traceparent = header("traceparent");
  return {
    ...asker,
    window: decodeWindow(header),
    codec: decodeCodec(header),
    ...decodeExpress(header),
    ...(not.length > 0 && { not }),
    ...(endpoints && { endpoints }),
    ...(traceparent !== undefined && { traceparent }),
  };
}

function decodeExpress(header: HeaderReader): { readonly express?: true } {
  const [name, value] = EXPRESS_HEADER;
  return header(name) === value ? { express: true } : {};
}

function decodeCodec(header: HeaderReader): CodecName {
  const text = header("sproxy-codec") ?? "";
  const codec = CODEC_NAMES.find((name) => name === text);
  if (codec === undefined) {
    throw malformed("sproxy-codec", text, CODEC_NAMES.join(" or "));
  }
  return codec;
}

function decodeWindow(header: HeaderReader): number {
  const text = header("sproxy-window") ?? "";
  if (!/^\d{1,10}$/.test(text) || Number(text) > MAX_WINDOW) {
    throw malformed("sproxy-window", text, `bytes up to ${MAX_WINDOW}`);
  }
  return Number(text);
}

/** Version 1 has no codes; its words say some of them. */
function codeOfText(text: string): ErrorCode {
  if (/no such host|resolve/i.test(text)) return "no-such-host";
  if (/refused/i.test(text)) return "refused";
  if (/timeout|timed out/i.test(text)) return "timeout";
  return "internal";
}

function isId(id: string): boolean {
  return id.length <= MAX_ID_LENGTH &&
    /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(id);
}

function malformed(name: string, value: string, want: string): TunnelError {
  const shown = quote(value.slice(0, MAX_SHOWN));
  return new TunnelError("protocol", `${name} is ${shown}, want ${want}`);
}
