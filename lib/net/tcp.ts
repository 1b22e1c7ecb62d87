/**
 * TCP over the runtime: the sole caller of `Deno.connect` and `Deno.listen`
 * for proxied connections.
 *
 * `Deno.Conn`'s own streams close the whole socket at EOF, which makes
 * half-close impossible (denoland/deno#22258), and allocate for each read. So
 * reader and writer here are our own, around `read` and `write`.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { type Address, formatAddress, parseIp } from "../base/address.ts";
import { type BufferPool, SLAB_BYTES } from "../base/buffer_pool.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, RunError, TunnelError } from "../base/errors.ts";
import type {
  Socket,
  SocketListener,
  SocketReader,
  SocketWriter,
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

/**
 * Connections the system may hold for us before they are accepted: what Linux
 * allows by default (net.core.somaxconn), against bursts of new connections.
 */
const LISTEN_BACKLOG = 4096;

/** First and longest pause after an accept that failed for want of descriptors, in ms. */
const ACCEPT_PAUSE_MS = { first: 10, longest: 1_000 } as const;

/** What a socket needs from its process. */
export interface SocketResources {
  /** Where large read buffers come from. */
  readonly pool: BufferPool;
}

/**
 * Connects to a target.
 *
 * @throws {TunnelError} with the code for what went wrong: `refused`,
 * `timeout`, `no-such-host`, `unreachable`, `denied` or `internal`.
 * @throws the reason of `signal` when it aborts.
 */
export async function dial(
  address: Address,
  { pool, signal }: SocketResources & { readonly signal: AbortSignal },
): Promise<Socket> {
  try {
    const conn = await Deno.connect({
      hostname: address.host,
      port: address.port,
      signal,
      // An address has one family: nothing to resolve, nothing to choose.
      autoSelectFamily: parseIp(address.host) === undefined,
    });
    return new TcpSocket(conn, pool);
  } catch (cause) {
    signal.throwIfAborted();
    throw dialError(address, cause);
  }
}

/**
 * The addresses of a host, as the system resolves it (its hosts file too).
 *
 * @throws {TunnelError} `no-such-host`.
 * @throws the reason of `signal` when it aborts.
 */
export async function resolve(
  host: string,
  signal: AbortSignal,
): Promise<string[]> {
  signal.throwIfAborted();
  const { promise: givenUp, reject } = Promise.withResolvers<never>();
  const giveUp = (): void => reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    const found = await Promise.race([lookup(host, { all: true }), givenUp]);
    return found.map(({ address }) => address);
  } catch (cause) {
    signal.throwIfAborted();
    throw new TunnelError(
      "no-such-host",
      `Resolve ${host}: ${messageOf(cause)}`,
      { cause },
    );
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

/**
 * Listens for connections.
 *
 * @throws {RunError} when the address cannot be bound.
 */
export function listen(
  address: Address,
  options: SocketResources & {
    readonly clock: Clock;
    /** Several processes share the port. */
    readonly reusePort?: boolean;
    /** Told of each accept that failed. */
    readonly onAcceptError: (message: string) => void;
  },
): SocketListener {
  const { clock, pool, onAcceptError } = options;
  const listener = bind(address, options);
  let open = true;
  async function* accept(): AsyncGenerator<Socket> {
    let pause: number = ACCEPT_PAUSE_MS.first;
    while (open) {
      let conn: Deno.TcpConn;
      try {
        conn = await listener.accept();
        pause = ACCEPT_PAUSE_MS.first;
      } catch (error) {
        if (!open) return;
        // EMFILE, ENFILE, ECONNABORTED: the listener itself is well.
        onAcceptError(messageOf(error));
        const { promise, resolve } = Promise.withResolvers<void>();
        using _timer = clock.after(pause, resolve);
        await promise;
        pause = Math.min(pause * 2, ACCEPT_PAUSE_MS.longest);
        continue;
      }
      yield new TcpSocket(conn, pool);
    }
  }
  return {
    address: formatAddress({
      host: listener.addr.hostname,
      port: listener.addr.port,
    }),
    accept,
    [Symbol.dispose](): void {
      if (open) listener.close();
      open = false;
    },
  };
}

/**
 * Sees whether an address can be listened on, alone, and leaves it again. A
 * shared port would otherwise be shared with a stranger.
 *
 * @throws {RunError} when it cannot, naming `flag`.
 */
export function checkListenable(address: Address, flag: string): void {
  bind(address, { flag }).close();
}

/** What a reader says at the end of the stream. */
const END: ReadableStreamReadDoneResult<Uint8Array> = { done: true };

/** A connection, and its reader. */
class TcpSocket implements Socket, SocketReader {
  readonly remote: string;
  readonly writer: SocketWriter;
  readLimit = SLAB_BYTES;
  readonly #conn: Deno.TcpConn;
  readonly #pool: BufferPool;
  #quiet: Uint8Array | undefined = undefined;
  #bulk = false;
  #open = true;

  constructor(conn: Deno.TcpConn, pool: BufferPool) {
    this.#conn = conn;
    this.#pool = pool;
    this.writer = new TcpWriter(conn);
    const { hostname: host, port } = conn.remoteAddr;
    this.remote = formatAddress({ host, port });
    try {
      // Nagle against delayed ACK: 44 ms instead of 0.03 ms per answer.
      conn.setNoDelay(true);
      conn.setKeepAlive(true);
    } catch {
      // The far side is gone already: the first read or write will say so.
    }
  }

  get reader(): SocketReader {
    return this;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#conn.close();
  }

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

/** The writer of a connection. */
class TcpWriter implements SocketWriter {
  readonly #conn: Deno.TcpConn;

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  async write(chunk: Uint8Array): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) rest = rest.subarray(await this.#conn.write(rest));
  }

  close(): Promise<void> {
    return this.#conn.closeWrite();
  }
}

function bind(
  address: Address,
  options: { readonly reusePort?: boolean; readonly flag?: string },
): Deno.TcpListener {
  const { reusePort, flag } = options;
  const shown = formatAddress(address);
  const listenOn = (hostname: string): Deno.TcpListener =>
    Deno.listen({
      hostname,
      port: address.port,
      tcpBacklog: LISTEN_BACKLOG,
      ...(reusePort ? { reusePort } : {}),
    });
  try {
    return address.host === ""
      ? listenEverywhere(listenOn)
      : listenOn(address.host);
  } catch (cause) {
    const why = cause instanceof Deno.errors.AddrInUse
      ? "the port is in use; stop its owner or choose another (0 for any)"
      : messageOf(cause);
    const where = flag === undefined ? shown : `${flag} ${shown}`;
    throw new RunError(`Cannot listen on ${where}: ${why}`, { cause });
  }
}

/** Listens on both address families, or on IPv4 where there is no IPv6. */
function listenEverywhere(
  listenOn: (hostname: string) => Deno.TcpListener,
): Deno.TcpListener {
  try {
    return listenOn("::");
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) throw error;
    return listenOn("0.0.0.0");
  }
}

/** What a failed `Deno.connect` means; the runtime gives words for most of it. */
function dialError(address: Address, cause: unknown): TunnelError {
  const shown = formatAddress(address);
  const words = messageOf(cause).replace(/ \(os error \d+\)$/, "");
  const make = (
    code: ConstructorParameters<typeof TunnelError>[0],
    text: string,
  ): TunnelError => new TunnelError(code, `Dial ${shown}: ${text}`, { cause });
  if (cause instanceof Deno.errors.ConnectionRefused) {
    return make("refused", "connection refused");
  }
  if (cause instanceof Deno.errors.TimedOut) {
    return make("timeout", "connection timed out");
  }
  if (
    cause instanceof Deno.errors.NotCapable ||
    cause instanceof Deno.errors.PermissionDenied
  ) {
    return make("denied", `not permitted (${words})`);
  }
  if (/lookup|resolve|name or service|no address/i.test(words)) {
    return make("no-such-host", `no such host (${words})`);
  }
  if (/unreachable|no route|network is down/i.test(words)) {
    return make("unreachable", words.toLowerCase());
  }
  return make("internal", words);
}
