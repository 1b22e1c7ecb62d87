/**
 * The head of an HTTP answer, on a connection that is something else behind
 * it: not one byte more than the head is read.
 *
 * @module
 */

import type { BrokerSocket } from "./socket.ts";

/** What an HTTP server answers before a body. */
export interface HttpHead {
  /** Its code. */
  readonly status: number;
  /** Code and reason, for people. */
  readonly told: string;
  /** The value of the header `name` (in lower case); empty where there is none. */
  header(name: string): string;
}

/** Longest head, in bytes: ten times what proxies and brokers answer. */
const MAX_HEAD = 8 * 1024;

/** What every head begins with. */
const START = "HTTP/1.";

/**
 * Reads the head.
 *
 * @throws {Error} when what comes is no HTTP, as a clause about who sent it.
 */
export async function readHead(socket: BrokerSocket): Promise<HttpHead> {
  // Byte by byte, once for a connection: what comes behind is not ours to take.
  const byte = new Uint8Array(1);
  let text = "";
  while (!text.endsWith("\r\n\r\n")) {
    if (text.length === MAX_HEAD) {
      throw new Error(`it answers with more than ${MAX_HEAD} bytes of headers`);
    }
    if (await socket.read(byte) === null) {
      throw new Error("it closed the connection instead of an answer");
    }
    text += String.fromCharCode(byte[0] ?? 0);
    if (!text.startsWith(START.slice(0, text.length))) {
      throw new Error(
        text === "I"
          ? "it answers with no HTTP, but perhaps with NATS: nats:// and tls:// are for that"
          : "it answers with no HTTP",
      );
    }
  }
  const [first = "", ...lines] = text.split("\r\n");
  const [, status, reason = ""] =
    /^HTTP\/1\.\d (\d{3})(?: (.*))?$/.exec(first) ??
      [];
  if (status === undefined) throw new Error("it answers with no HTTP");
  const headers = new Map(lines.map((line): [string, string] => {
    const [name = "", ...value] = line.split(":");
    return [name.trim().toLowerCase(), value.join(":").trim()];
  }));
  return {
    status: Number(status),
    told: `${status} ${reason}`.trim(),
    header: (name) => headers.get(name) ?? "",
  };
}

/** Writes all of `bytes`. */
export async function writeAll(
  socket: BrokerSocket,
  bytes: Uint8Array,
): Promise<void> {
  for (let rest = bytes; rest.length > 0;) {
    const count = await socket.write(rest);
    if (count < 1) throw new Error("nothing could be written");
    rest = rest.subarray(count);
  }
}
