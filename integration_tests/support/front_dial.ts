/**
 * Connects through the SOCKS and HTTP proxy of a client.
 *
 * @module
 */
import assert from "node:assert/strict";
import { parseAddress } from "./addresses.ts";
import { dial, readExactly, writeAll } from "./transfer.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A connection to `target` by SOCKS5, with what is said at once after the request. */
export async function bySocks(
  front: string,
  target: string,
  early: Uint8Array = new Uint8Array(0),
): Promise<Deno.TcpConn> {
  const { hostname, port } = parseAddress(target);
  const conn = await dial(parseAddress(front));
  const name = encoder.encode(hostname);
  await writeAll(
    conn,
    Uint8Array.of(
      ...[5, 1, 0, 5, 1, 0, 3, name.length, ...name, port >> 8, port & 255],
      ...early,
    ),
  );
  const reply = await readExactly(conn, 12);
  assert.deepEqual([...reply.subarray(0, 4)], [5, 0, 5, 0], String(reply));
  return conn;
}

/** The same by CONNECT. */
export async function byConnect(
  front: string,
  target: string,
  early: Uint8Array = new Uint8Array(0),
): Promise<Deno.TcpConn> {
  const conn = await dial(parseAddress(front));
  await writeAll(
    conn,
    Uint8Array.of(
      ...encoder.encode(`CONNECT ${target} HTTP/1.1\r\n\r\n`),
      ...early,
    ),
  );
  const wanted = "HTTP/1.1 200 Connection established\r\n\r\n";
  const reply = await readExactly(conn, wanted.length);
  assert.equal(decoder.decode(reply), wanted);
  return conn;
}
