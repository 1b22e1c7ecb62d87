/**
 * A small HTTP/1.1 server for the status: one request a connection, answered
 * at once, or, for a few who follow, with events for as long as they read them.
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

/** How long one who follows may take to read what was written, in ms: then it has gone, or is too slow for news. */
const WRITE_MS = 5_000;

/** The share of all connections that may be of those who follow, and how many it is at most: a page on every screen of a room. */
const STREAMS = { part: 1 / 4, most: 8 } as const;

/** A request, as far as a status page depends on it. */
export interface HttpRequest {
  /** Its method, in capitals. */
  readonly method: string;
  /** The path, without its query. */
  readonly path: string;
  /** What stands after the question mark; empty where there is none. */
  readonly query: string;
  /** Address of who asks, without a port. */
  readonly peer: string;
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
  /** Further headers, by their names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Goes on with what follows the body, for as long as it is read. */
  readonly follow?: (stream: HttpStream) => void;
}

/** An answer that goes on. */
export interface HttpStream {
  /** Aborts when nobody reads it any more. */
  readonly ended: AbortSignal;
  /** Sends more, unless what was sent before is still on its way; whether it did. */
  send(text: string): boolean;
  /** Sends no more. */
  close(): void;
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
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
    /** Answers a request within {@linkcode CONNECTION_MS}; must not throw. */
    readonly answer: (
      request: HttpRequest,
    ) => HttpResponse | Promise<HttpResponse>;
    /** Answers what is no request, or one more who would follow. */
    readonly refuse: (status: 400 | 431 | 503) => HttpResponse;
  },
): Promise<void> {
  const { maxConnections } = options;
  const open = new Set<DirectSocket>();
  const streams = new Set<DirectSocket>();
  const { part, most } = STREAMS;
  const maxStreams = Math.max(
    1,
    Math.min(most, Math.floor(maxConnections * part)),
  );
  // Who follows is none of those that make room for others.
  const mayFollow = (connection: DirectSocket): boolean => {
    if (streams.size >= maxStreams) return false;
    open.delete(connection);
    streams.add(connection);
    return true;
  };
  for await (const socket of listener.accept()) {
    const connection = directOf(socket);
    open.add(connection);
    const [oldest] = open;
    if (open.size > maxConnections - streams.size && oldest !== undefined) {
      oldest.close();
      open.delete(oldest);
    }
    void serveConnection(connection, {
      ...options,
      peer: hostOf(socket.remote),
      mayFollow,
    }).finally(() => {
      open.delete(connection);
      streams.delete(connection);
    });
  }
  for (const connection of [...open, ...streams]) connection.close();
}

async function serveConnection(
  connection: DirectSocket,
  { clock, answer, refuse, peer, mayFollow }:
    & Parameters<typeof serveHttp>[1]
    & {
      readonly peer: string;
      readonly mayFollow: (connection: DirectSocket) => boolean;
    },
): Promise<void> {
  const close = (): void => connection.close();
  using deadline = new DisposableStack();
  deadline.use(clock.after(CONNECTION_MS, close));
  try {
    const head = await readHead(connection);
    if (head === undefined) return;
    const request = head === "" ? undefined : parseRequest(head, peer);
    let response = request === undefined
      ? refuse(head === "" ? 431 : 400)
      : await answer(request);
    const withBody = request?.method !== "HEAD";
    if (withBody && response.follow !== undefined && !mayFollow(connection)) {
      response = refuse(503);
    }
    await connection.writer.write(encode(response, withBody));
    if (withBody && response.follow !== undefined) {
      deadline.dispose();
      await follow(connection, response.follow, clock);
      return;
    }
    await connection.writer.close();
    // Closed while bytes are unread, a socket takes back what it has sent.
    using _linger = clock.after(LINGER_MS, close);
    while (!(await connection.reader.read()).done);
  } catch {
    // The asker has gone, or took too long: nobody is left to be told.
  } finally {
    connection.close();
  }
}

/** Goes on with an answer until its reader goes, or is too slow. */
async function follow(
  connection: DirectSocket,
  begin: (stream: HttpStream) => void,
  clock: Clock,
): Promise<void> {
  const gone = new AbortController();
  const encoder = new TextEncoder();
  let isWriting = false;
  const write = async (text: string): Promise<void> => {
    isWriting = true;
    using _deadline = clock.after(WRITE_MS, () => connection.close());
    try {
      await connection.writer.write(encoder.encode(text));
    } catch {
      // The reader has gone, which the reading of it tells, too.
      gone.abort();
    } finally {
      isWriting = false;
    }
  };
  try {
    begin({
      ended: gone.signal,
      send(text: string): boolean {
        if (isWriting || gone.signal.aborted) return false;
        void write(text);
        return true;
      },
      close: () => connection.close(),
    });
    while (!(await connection.reader.read()).done);
  } finally {
    gone.abort();
  }
}

/** The host of `host:port` as a socket tells it, without brackets. */
function hostOf(remote: string): string {
  return remote.slice(0, remote.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
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
function parseRequest(head: string, peer: string): HttpRequest | undefined {
  const [line = "", ...fields] = head.split("\r\n");
  const [, method, target] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(line) ?? [];
  const headers = parseHeaders(fields);
  if (
    method === undefined || target === undefined || headers === undefined
  ) return undefined;
  if (target.startsWith("/")) {
    const [path = "", ...query] = target.split("?");
    const host = headers.get("host");
    return { method, path, query: query.join("?"), peer, host, headers };
  }
  // As to a proxy: then it is this host that counts (RFC 9112, 3.2.2).
  const url = URL.parse(target);
  if (url === null) return undefined;
  const { pathname: path, host } = url;
  return { method, path, query: url.search.slice(1), peer, host, headers };
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
  const { status, type, body, headers = {}, follow } = response;
  const encoder = new TextEncoder();
  const bytes = encoder.encode(body);
  const head = encoder.encode([
    `HTTP/1.1 ${status} ${STATUS_TEXTS[status] ?? ""}`,
    `content-type: ${type}`,
    // An answer that goes on ends with its connection.
    ...(follow === undefined ? [`content-length: ${bytes.length}`] : []),
    "cache-control: no-store",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
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
