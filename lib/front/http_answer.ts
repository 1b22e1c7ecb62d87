/**
 * What an HTTP proxy says itself (RFC 9110).
 *
 * @module
 */
import { escapeUnsafe } from "../base/text.ts";
import { concat } from "./parser.ts";

const encoder = new TextEncoder();

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  407: "Proxy Authentication Required",
  431: "Request Header Fields Too Large",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** What is said to CONNECT before the target's first byte. */
export const CONNECTED: Uint8Array = encoder.encode(
  "HTTP/1.1 200 Connection established\r\n\r\n",
);

/** Where a browser asks its user for a login. */
export const CHALLENGE = 'Proxy-Authenticate: Basic realm="tcp-sproxy"';

/** What an answer depends on beside its status and text. */
export interface AnswerOptions {
  /** The method of the request, where it is known: HEAD wants no body. */
  readonly method?: string;
  /** Further headers, as lines. */
  readonly headers?: readonly string[];
}

/** An answer of the proxy itself; it ends the connection. */
export function respond(
  status: number,
  text: string,
  { method, headers = [] }: AnswerOptions = {},
): Uint8Array {
  const body = encoder.encode(`tcp-sproxy: ${escapeUnsafe(text)}\n`);
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_TEXTS[status] ?? ""}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${body.length}`,
    "Cache-Control: no-store",
    "Connection: close",
    ...headers,
    "",
    "",
  ];
  const all = encoder.encode(lines.join("\r\n"));
  return method === "HEAD" ? all : concat(all, body);
}
