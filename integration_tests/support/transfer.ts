/**
 * Moves bytes over TCP connections in tests, with their digests.
 *
 * @module
 */

import type { Endpoint } from "./addresses.ts";
import type { WaitOptions } from "./changes.ts";
import { type ByteSource, type Digest, Sha256 } from "./hash.ts";
import { currentSignal } from "./integration_test.ts";

/** Bytes per read: more than the largest piece a tunnel delivers at once. */
const READ_SIZE = 64 * 1024;

/** Most that {@linkcode readToEnd} collects, in bytes. */
const MAX_COLLECTED = 256 * 1024 * 1024;

/**
 * Connects with Nagle's algorithm off. The connection is closed when the
 * signal (by default the running test's) aborts, so that no read hangs.
 */
export async function dial(
  endpoint: Endpoint,
  options: WaitOptions = {},
): Promise<Deno.TcpConn> {
  const signal = options.signal ?? currentSignal();
  signal?.throwIfAborted();
  const { hostname, port } = endpoint;
  const conn = await Deno.connect({ hostname, port });
  conn.setNoDelay(true);
  signal?.addEventListener("abort", () => close(conn), { once: true });
  return conn;
}

/** Closes `conn`, or does nothing if it is closed. */
export function close(conn: Disposable): void {
  conn[Symbol.dispose]();
}

/** What arrives until EOF, piece by piece; a piece is valid until the next is asked for. */
export async function* chunksOf(
  conn: Deno.Conn,
  size: number = READ_SIZE,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(size);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
  }
}

/** Writes all of `data`. */
export async function writeAll(
  conn: Deno.Conn,
  data: Uint8Array,
): Promise<void> {
  for (let at = 0; at < data.length;) {
    at += await conn.write(data.subarray(at));
  }
}

/** Writes all that is left of `source`; then, unless told not to, EOF. */
export async function sendAll(
  conn: Deno.Conn,
  source: ByteSource,
  options: { readonly finish?: boolean } = {},
): Promise<Digest> {
  const hash = new Sha256();
  while (source.offset < source.length) {
    const piece = source.next();
    hash.update(piece);
    await writeAll(conn, piece);
  }
  if (options.finish ?? true) await conn.closeWrite();
  return hash.digest();
}

/** The digest of what arrives until EOF, or of the next `length` bytes. */
export async function receiveAll(
  conn: Deno.Conn,
  options: { readonly length?: number } = {},
): Promise<Digest> {
  const { length = Infinity } = options;
  const hash = new Sha256();
  const buffer = new Uint8Array(READ_SIZE);
  while (hash.bytes < length) {
    const room = Math.min(READ_SIZE, length - hash.bytes);
    const count = await conn.read(buffer.subarray(0, room));
    if (count === null) break;
    hash.update(buffer.subarray(0, count));
  }
  return hash.digest();
}

/**
 * The next `length` bytes.
 *
 * @throws {Deno.errors.UnexpectedEof} when EOF comes before.
 */
export async function readExactly(
  conn: Deno.Conn,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) {
      throw new Deno.errors.UnexpectedEof(
        `EOF after ${at} of ${length} bytes`,
      );
    }
    at += count;
  }
  return bytes;
}

/** All that arrives until EOF. */
export async function readToEnd(conn: Deno.Conn): Promise<Uint8Array> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for await (const piece of chunksOf(conn)) {
    total += piece.length;
    if (total > MAX_COLLECTED) {
      throw new RangeError(`More than ${MAX_COLLECTED} bytes before EOF`);
    }
    pieces.push(piece.slice());
  }
  return await new Blob(pieces).bytes();
}

/** How a connection ended, as its reader sees it. */
export type Ending = "eof" | "reset";

/** Reads to the end and says which kind of end it was, and how many bytes came before. */
export async function readEnding(
  conn: Deno.Conn,
): Promise<{ readonly ending: Ending; readonly bytes: number }> {
  let bytes = 0;
  try {
    for await (const { length } of chunksOf(conn)) bytes += length;
    return { ending: "eof", bytes };
  } catch (error) {
    if (!isDisconnect(error)) throw error;
    return { ending: "reset", bytes };
  }
}

/** Whether an error means that the other side, or we ourselves, cut a connection. */
export function isDisconnect(error: unknown): boolean {
  return DISCONNECTS.some((kind) => error instanceof kind);
}

const DISCONNECTS = [
  Deno.errors.ConnectionReset,
  Deno.errors.ConnectionAborted,
  Deno.errors.BrokenPipe,
  Deno.errors.NotConnected,
  Deno.errors.UnexpectedEof,
  Deno.errors.BadResource,
  Deno.errors.Interrupted,
];
