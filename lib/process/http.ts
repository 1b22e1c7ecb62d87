/**
 * A small HTTP/1.1 server for the status: one request a connection.
 *
 * Not `Deno.serve`: when descriptors run out it ends with an error that
 * nobody can catch in time, it keeps half a request for ever, and it takes as
 * many connections as come (Deno 2.9.6). A status page must not cost a tunnel.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import {
  directOf,
  type DirectSocket,
  type SocketListener,
} from "../net/socket.ts";

/** How long a connection may take, request and answer, in ms. */
const CONNECTION_MS = 5_000;

/** Longest request line with its headers, in bytes; nobody needs more to ask for a status. */
const MAX_REQUEST_BYTES = 8 * 1024;

/** How long the asker may take to close once it has the answer, in ms. */
const LINGER_MS = 500;

/** A request, as far as a status page depends on it. */
export interface HttpRequest {
  /** Its method, in capitals. */
  readonly method: string;
  /** The path, without its query. */
  readonly path: string;
  /** The host that was asked, as it was written, perhaps with a port; undefined where none is named. */
  readonly host: string | undefined;
  /** The headers, by their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** The answer to a request. */
export interface HttpResponse {
  /** The status code. */
  readonly status: number;
  /** What the body is. */
  readonly type: string;
  /** The body. */
  readonly body: string;
  /** The methods there are, where another was used. */
  readonly allow?: string;
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** Serves the connections of `listener` until it is disposed; then cuts those that are open. */
export async function serveHttp(
  listener: SocketListener,
  options: {
    readonly clock: Clock;
    /** Connections at once; with more the oldest goes. */
    readonly maxConnections: number;
    /** Answers a request at once; must not throw. */
    readonly answer: (request: HttpRequest) => HttpResponse;
    /** Answers what is no request. */
    readonly refuse: (status: 400 | 431) => HttpResponse;
  },
): Promise<void> {
  const open = new Set<DirectSocket>();
  for await (const socket of listener.accept()) {
    const connection = directOf(socket);
    open.add(connection);
    const [oldest] = open;
    if (open.size > options.maxConnections && oldest !== undefined) {
      oldest.close();
      open.delete(oldest);
    }
    void serveConnection(connection, options)
      .finally(() => open.delete(connection));
  }
  for (const connection of open) connection.close();
}

async function serveConnection(
  connection: DirectSocket,
  { clock, answer, refuse }: Parameters<typeof serveHttp>[1],
): Promise<void> {
  using _deadline = clock.after(CONNECTION_MS, () => connection.close());
  try {
    const head = await readHead(connection);
    if (head === undefined) return;
    const request = head === "" ? undefined : parseRequest(head);
    const response = request === undefined
      ? refuse(head === "" ? 431 : 400)
      : answer(request);
    const withBody = request?.method !== "HEAD";
    await connection.writer.write(encode(response, withBody));
    await connection.writer.close();
    // Closed while bytes are unread, a socket takes back what it has sent.
    using _linger = clock.after(LINGER_MS, () => connection.close());
    while (!(await connection.reader.read()).done);
  } catch {
    // The asker has gone, or took too long: nobody is left to be told.
  } finally {
    connection.close();
  }
}

/** The request line and headers; empty when they are too long, undefined at an early end. */
async function readHead(connection: DirectSocket): Promise<string | undefined> {
  const decoder = new TextDecoder("latin1");
  let text = "";
  for (;;) {
    const { done, value } = await connection.reader.read();
    if (done) return undefined;
    text += decoder.decode(value);
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0 && end <= MAX_REQUEST_BYTES) return text.slice(0, end);
    if (text.length > MAX_REQUEST_BYTES) return "";
  }
}

/** The request that is `head`; undefined when it is none (RFC 9112, 3 and 5). */
function parseRequest(head: string): HttpRequest | undefined {
  const [line = "", ...fields] = head.split("\r\n");
  const [, method, target] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(line) ?? [];
  const headers = parseHeaders(fields);
  if (
    method === undefined || target === undefined || headers === undefined
  ) return undefined;
  if (target.startsWith("/")) {
    const [path = ""] = target.split("?");
    return { method, path, host: headers.get("host"), headers };
  }
  // As to a proxy: then it is this host that counts (RFC 9112, 3.2.2).
  const url = URL.parse(target);
  return url === null
    ? undefined
    : { method, path: url.pathname, host: url.host, headers };
}

/** The headers in `fields`; undefined when one is none, or Host comes twice. */
function parseHeaders(
  fields: readonly string[],
): ReadonlyMap<string, string> | undefined {
  const headers = new Map<string, string>();
  for (const field of fields) {
    const [, name, value = ""] = /^([!#$%&'*+.^_`|~\w-]+):(.*)$/.exec(field) ??
      [];
    if (name === undefined) return undefined;
    const key = name.toLowerCase();
    if (key === "host" && headers.has(key)) return undefined;
    headers.set(key, value.trim());
  }
  return headers;
}

function encode(response: HttpResponse, withBody: boolean): Uint8Array {
  const { status, type, body, allow } = response;
  const encoder = new TextEncoder();
  const bytes = encoder.encode(body);
  const head = encoder.encode([
    `HTTP/1.1 ${status} ${STATUS_TEXTS[status] ?? ""}`,
    `content-type: ${type}`,
    `content-length: ${bytes.length}`,
    "cache-control: no-store",
    ...(allow === undefined ? [] : [`allow: ${allow}`]),
    "connection: close",
    "",
    "",
  ].join("\r\n"));
  if (!withBody) return head;
  const all = new Uint8Array(head.length + bytes.length);
  all.set(head);
  all.set(bytes, head.length);
  return all;
}
