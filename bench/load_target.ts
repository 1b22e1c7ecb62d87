/**
 * The target of the load generator: what it does with a connection is chosen
 * by its first byte, see {@linkcode MODE}.
 *
 * @module
 */

import { createHash } from "node:crypto";
import {
  isDisconnect,
  readExactly,
  writeAll,
} from "../integration_tests/support/transfer.ts";
import { Blocks } from "./blocks.ts";
import { MODE, READ_SIZE } from "./load_protocol.ts";

/** Connections that may wait to be accepted: more than are ever opened at once. */
const BACKLOG = 4096;

/** Bytes per read of an echo; small, because thousands of them wait. */
const ECHO_SIZE = 4 * 1024;

/**
 * Listens on a port of 127.0.0.1 the OS chooses, says which, and serves until
 * the process is killed.
 */
export async function serve(
  onListening: (port: number) => void,
): Promise<void> {
  const listener = Deno.listen({
    hostname: "127.0.0.1",
    port: 0,
    tcpBacklog: BACKLOG,
  });
  onListening(listener.addr.port);
  for await (const conn of listener) void serveOne(conn);
}

async function serveOne(conn: Deno.TcpConn): Promise<void> {
  using _conn = conn;
  try {
    conn.setNoDelay(true);
    const first = new Uint8Array(ECHO_SIZE);
    const count = await conn.read(first);
    if (count === null) return;
    const rest = first.subarray(1, count);
    if (first[0] === MODE.echo) await echo(conn, first, count);
    else if (first[0] === MODE.source) await pour(conn, rest);
    else if (first[0] === MODE.upload) await takeUpload(conn, rest);
    else if (first[0] === MODE.download) await giveDownload(conn, rest);
  } catch (error) {
    // Being cut off is how most measurements end.
    if (!isDisconnect(error)) throw error;
  }
}

async function echo(
  conn: Deno.TcpConn,
  buffer: Uint8Array,
  length: number,
): Promise<void> {
  for (let count: number | null = length; count !== null;) {
    await writeAll(conn, buffer.subarray(0, count));
    count = await conn.read(buffer);
  }
}

/** Sends within a window, whose size is next; each byte that comes asks for half of it more. */
async function pour(conn: Deno.TcpConn, first: Uint8Array): Promise<void> {
  const window = await readNumber(conn, first);
  const bytes = new Blocks().at(0);
  let credit = window;
  let onCredit = (): void => {};
  const listen = async (): Promise<void> => {
    const asked = new Uint8Array(64);
    for (;;) {
      const count = await conn.read(asked);
      if (count === null) throw new Deno.errors.UnexpectedEof();
      credit += count * window / 2;
      onCredit();
    }
  };
  const write = async (): Promise<void> => {
    for (;;) {
      if (credit === 0) {
        await new Promise<void>((go) => {
          onCredit = go;
        });
      }
      credit -= await conn.write(bytes.subarray(0, credit));
    }
  };
  await Promise.race([listen(), write()]);
}

/** A number of 4 bytes, some of which were read already. */
async function readNumber(
  conn: Deno.TcpConn,
  first: Uint8Array,
): Promise<number> {
  const bytes = new Uint8Array(4);
  const had = Math.min(4, first.length);
  bytes.set(first.subarray(0, had));
  bytes.set(await readExactly(conn, 4 - had), had);
  return new DataView(bytes.buffer).getUint32(0, true);
}

async function takeUpload(
  conn: Deno.TcpConn,
  first: Uint8Array,
): Promise<void> {
  const hash = createHash("sha256").update(first);
  const buffer = new Uint8Array(READ_SIZE);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    hash.update(buffer.subarray(0, count));
  }
  await writeAll(conn, hash.digest());
  await conn.closeWrite();
}

async function giveDownload(
  conn: Deno.TcpConn,
  first: Uint8Array,
): Promise<void> {
  const count = await readNumber(conn, first);
  const blocks = new Blocks();
  for (let index = 0; index < count; index++) {
    await writeAll(conn, blocks.at(index));
  }
  await conn.closeWrite();
}
