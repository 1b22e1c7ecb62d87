/**
 * Serves as the target of the load generator: what it does with a connection
 * is chosen by its first byte, see {@linkcode MODE}.
 *
 * @module
 */

import { ByteSource } from "../integration_tests/support/hash.ts";
import { Target } from "../integration_tests/support/targets.ts";
import {
  readExactly,
  writeAll,
} from "../integration_tests/support/transfer.ts";

/** Bytes per read and write of bulk, at both ends. */
export const READ_SIZE = 256 * 1024;

/** First byte of a connection: what the target does with the rest. */
export const MODE = {
  /** Sends everything back, this byte included. */
  echo: 0x45,
  /**
   * Sends bytes until it is cut off: a window, whose size is in the next 4
   * bytes (little-endian), and half a window more for each byte it gets.
   */
  source: 0x52,
  /** Takes all that comes, and sends a byte for each {@linkcode SINK_UNIT} taken. */
  sink: 0x53,
} as const;

/** Bytes for which a sink sends one back: few enough to time, too many to cost. */
export const SINK_UNIT = 256 * 1024;

/** Bytes per read of an echo; small, because thousands of them wait. */
const ECHO_SIZE = 4 * 1024;

/** Starts the target, on a port of 127.0.0.1 the OS chooses. */
export function startLoadTarget(): Target {
  return new Target(async (conn) => {
    const [mode] = await readExactly(conn, 1);
    if (mode === MODE.source) return await pour(conn);
    if (mode === MODE.sink) return await swallow(conn);
    const buffer = new Uint8Array(ECHO_SIZE).fill(MODE.echo);
    for (let count: number | null = 1; count !== null;) {
      await writeAll(conn, buffer.subarray(0, count));
      count = await conn.read(buffer);
    }
  });
}

/** Sends within a window, whose size is next; each byte that comes asks for half of it more. */
async function pour(conn: Deno.TcpConn): Promise<void> {
  const size = await readExactly(conn, 4);
  const window = new DataView(size.buffer).getUint32(0, true);
  const bytes = new ByteSource(1, READ_SIZE).rest();
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

/** Takes all that comes, and says so. */
async function swallow(conn: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(READ_SIZE);
  const told = new Uint8Array(1);
  for (let taken = 0;;) {
    const count = await conn.read(buffer);
    if (count === null) return;
    for (taken += count; taken >= SINK_UNIT; taken -= SINK_UNIT) {
      await writeAll(conn, told);
    }
  }
}
