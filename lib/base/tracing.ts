/**
 * The port to distributed tracing: what the roles say of the tunnels that they
 * open. Who traces nothing has none.
 *
 * @module
 */
import { tryParseAddress } from "./address.ts";
import type { Reason } from "./errors.ts";
import { type Destination, formatDestination } from "./target.ts";

/** What is told of a span, by the names of OpenTelemetry's conventions; undefined is nothing. */
export type Attributes = Readonly<
  Record<string, string | number | undefined>
>;

/** Something that takes a while, and may be part of something longer. */
export interface Span {
  /** What makes spans of another process parts of this one (W3C Trace Context). */
  readonly traceparent: string;
  /** Begins a part of it. */
  child(name: string): Span;
  /** It is over, for this `reason` if that is not what was wanted. */
  end(attributes?: Attributes, reason?: Reason): void;
}

/** What makes spans. */
export interface Tracing {
  /**
   * Begins a span at the `side` of a client or a server; with a `parent`, as
   * another process said it, it is a part of that one.
   */
  begin(name: string, options: {
    readonly side: "client" | "server";
    readonly attributes: Attributes;
    readonly parent?: string | undefined;
  }): Span;
}

/** The trace and span of a `traceparent`. */
export interface TraceParent {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** Of which the last bit says that it is recorded. */
  readonly flags: number;
}

/**
 * Reads a `traceparent`; undefined for what is none (W3C Trace Context, 3.2:
 * later versions may have more behind it, and are read as this one).
 */
export function parseTraceparent(text: string): TraceParent | undefined {
  const [, version, traceId = "", spanId = "", flags = "", more] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]{0,64})?$/
      .exec(text) ?? [];
  if (
    version === undefined || version === "ff" ||
    (version === "00" && more !== undefined) ||
    /^0+$/.test(traceId) || /^0+$/.test(spanId)
  ) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags, 16) };
}

/** Writes one of version 00. */
export function formatTraceparent(
  { traceId, spanId, flags }: TraceParent,
): string {
  return `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, "0")}`;
}

/** A target, by the names of OpenTelemetry's conventions. */
export function targetAttributes(destination: Destination): Attributes {
  const { target } = destination;
  return {
    ...("host" in target
      ? { "server.address": target.host, "server.port": target.port }
      : "path" in target
      ? { "server.address": target.path }
      : { "sproxy.service": target.service }),
    "network.transport": "path" in target ? "unix" : "tcp",
    "sproxy.target": formatDestination(destination),
  };
}

/** The other end of a socket, `text`, by those names, which begin with `prefix`; nothing of one without an address. */
export function peerAttributes(prefix: string, text: string): Attributes {
  const address = tryParseAddress(text, { allowPortZero: true });
  return typeof address === "string"
    ? {}
    : { [`${prefix}.address`]: address.host, [`${prefix}.port`]: address.port };
}
