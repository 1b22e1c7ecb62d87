/**
 * A connection of the system as a socket, read and written directly: TCP, Unix,
 * or what else is read and written like them.
 *
 * `Deno.Conn`'s own streams close the whole socket at EOF, which makes
 * half-close impossible (denoland/deno#22258), and allocate for each read. So
 * reader and writer here are our own, around `read` and `write`.
 *
 * @module
 */
import type { Endpoints } from "../base/address.ts";
import { type BufferPool, SLAB_BYTES } from "../base/buffer_pool.ts";
import { formatPlace } from "../base/place.ts";
import {
  type DirectSocket,
  type Socket,
  type SocketReader,
  type SocketWriter,
  type StreamPair,
  streamsOf,
} from "./socket.ts";

/**
 * Size of the buffer a quiet socket waits with, in bytes: holds most requests
 * whole, and ten thousand idle tunnels cost 10 MB with it.
 */
const QUIET_READ_BYTES = 1024;

/**
 * A read into a slab of fewer bytes than this is copied out: kept, the slab
 * would cost up to a third more than is counted for it.
 */
const KEEP_SLAB_BYTES = 48 * 1024;

/** A read of fewer bytes than this ends the use of slabs: a quiet socket holds none. */
const BULK_READ_BYTES = 16 * 1024;

/** The result of a read at the end of the stream. */
const END: ReadableStreamReadDoneResult<Uint8Array> = { done: true };

/** A connection of the system. */
export type SystemConn = Deno.TcpConn | Deno.UnixConn;

/** What is read and written: a connection, or a pair that stands for one and has no addresses. */
export type Duplex =
  & Pick<SystemConn, "read" | "write" | "closeWrite" | "close">
  & Partial<Pick<SystemConn, "localAddr" | "remoteAddr">>;

/** `conn` as a socket, set up for what goes through tunnels; large reads borrow buffers of `pool`. */
export function systemSocket(conn: SystemConn, pool: BufferPool): SystemSocket {
  if (isTcp(conn)) {
    try {
      // Nagle against delayed ACK: 44 ms instead of 0.03 ms per answer.
      conn.setNoDelay(true);
      conn.setKeepAlive(true);
    } catch {
      // The far side is gone already: the first read or write will say so.
    }
  }
  return new SystemSocket(conn, { pool, remote: remoteOf(conn) });
}

/** A connection of the system, and its reader. */
export class SystemSocket implements Socket, DirectSocket, SocketReader {
  /** Address of the other end, `host:port`; of a Unix socket, which has none, that of this end, `unix:path`. */
  readonly remote: string;
  /** What is to be sent. */
  readonly writer: SocketWriter;
  /** Most bytes the next read may take. */
  readLimit: number = SLAB_BYTES;
  readonly #conn: Duplex;
  readonly #pool: BufferPool;
  #quiet: Uint8Array | undefined = undefined;
  #bulk = false;
  #open = true;
  #streams: StreamPair | undefined;

  /** Takes over `conn`, whose other end is called `remote`; large reads borrow buffers of `pool`. */
  constructor(
    conn: Duplex,
    { pool, remote }: { readonly pool: BufferPool; readonly remote: string },
  ) {
    this.#conn = conn;
    this.#pool = pool;
    this.writer = new SystemWriter(conn);
    this.remote = remote;
  }

  /** The addresses of both ends, which the system told with the connection; undefined without TCP. */
  get endpoints(): Endpoints | undefined {
    const { remoteAddr, localAddr } = this.#conn;
    if (remoteAddr?.transport !== "tcp" || localAddr?.transport !== "tcp") {
      return undefined;
    }
    return {
      source: { host: remoteAddr.hostname, port: remoteAddr.port },
      destination: { host: localAddr.hostname, port: localAddr.port },
    };
  }

  /** This socket: it is driven without streams. */
  get direct(): DirectSocket {
    return this;
  }

  /** What arrives. */
  get reader(): SocketReader {
    return this;
  }

  /** What arrives, as a stream made on first use. */
  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  /** What is to be sent, as a stream made on first use. */
  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  /** Ends both directions at once; idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#conn.close();
  }

  /** The next chunk, of at most `readLimit` bytes. */
  read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    return this.#bulk ? this.#readSlab() : this.#readQuiet();
  }

  async #readQuiet(): Promise<ReadableStreamReadResult<Uint8Array>> {
    const buffer = this.#quiet ??= new Uint8Array(QUIET_READ_BYTES);
    const room = buffer.subarray(0, this.readLimit);
    const count = await this.#conn.read(room);
    if (count === null) return END;
    this.#bulk = count === QUIET_READ_BYTES;
    return { done: false, value: buffer.slice(0, count) };
  }

  async #readSlab(): Promise<ReadableStreamReadResult<Uint8Array>> {
    const slab = this.#pool.acquire();
    const count = await this.#conn.read(slab.subarray(0, this.readLimit));
    if (count === null) {
      this.#pool.release(slab);
      return END;
    }
    if (count >= KEEP_SLAB_BYTES) {
      return { done: false, value: slab.subarray(0, count) };
    }
    this.#bulk = count >= BULK_READ_BYTES;
    const value = slab.slice(0, count);
    this.#pool.release(slab);
    return { done: false, value };
  }
}

function isTcp(conn: SystemConn): conn is Deno.TcpConn {
  return conn.remoteAddr.transport === "tcp";
}

/** Address of the other end, for people. */
function remoteOf(conn: SystemConn): string {
  if (!isTcp(conn)) {
    const { path } = conn.localAddr as Deno.UnixAddr;
    return formatPlace({ path });
  }
  const { hostname: host, port } = conn.remoteAddr;
  return formatPlace({ host, port });
}

/** The writer of a connection. */
class SystemWriter implements SocketWriter {
  readonly #conn: Duplex;

  constructor(conn: Duplex) {
    this.#conn = conn;
  }

  async write(chunk: Uint8Array): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) {
      const count = await this.#conn.write(rest);
      if (count === 0) throw new Error(`it took none of ${rest.length} bytes`);
      rest = rest.subarray(count);
    }
  }

  close(): Promise<void> {
    return this.#conn.closeWrite();
  }
}
