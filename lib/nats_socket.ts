/**
 * The socket to a broker: plain TCP, TLS from the start, or TLS after the
 * broker's first line; read and written without streams.
 *
 * @module
 */

import type { NatsTls } from "./nats_options.ts";

/** A connected socket. Disposing of it ends it; what waits to read or write fails. */
export interface BrokerSocket extends Disposable {
  /** Reads into `target`; resolves to how many bytes, or null at the end. */
  read(target: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`; resolves to how many. */
  write(bytes: Uint8Array): Promise<number>;
}

/** A socket that can turn to TLS. */
export interface PlainSocket extends BrokerSocket {
  /**
   * Shakes hands, and checks the broker's certificate for `hostname`. The
   * plain socket is used up by it.
   *
   * @throws {Error} when the handshake fails.
   */
  startTls(hostname: string): Promise<BrokerSocket>;
}

/** Where to dial, and how. */
export interface DialOptions {
  /** Name or address of the broker. */
  readonly hostname: string;
  /** Its port. */
  readonly port: number;
  /** For `startTls`, if it is called. */
  readonly tls: NatsTls | undefined;
  /** Ends the attempt to connect or to shake hands. */
  readonly signal: AbortSignal;
}

/**
 * Connects to a broker. Nagle's algorithm is off: it would hold back the last
 * bytes of each write until the ones before are acknowledged.
 */
export async function dialBroker(options: DialOptions): Promise<PlainSocket> {
  const { hostname, port, tls, signal } = options;
  if (tls?.cert !== undefined) {
    // Deno.startTls takes no client certificate; node:tls does.
    const { dialNodeSocket } = await import("./nats_node_socket.ts");
    return await dialNodeSocket(options);
  }
  const conn = await Deno.connect({ hostname, port, signal });
  conn.setNoDelay(true);
  return {
    read: (target) => conn.read(target),
    write: (bytes) => conn.write(bytes),
    // Unlike close(), this may be called twice, and after startTls().
    [Symbol.dispose]: () => conn[Symbol.dispose](),
    startTls: (name) => startTls(conn, name, options),
  };
}

async function startTls(
  conn: Deno.TcpConn,
  hostname: string,
  { tls, signal }: DialOptions,
): Promise<BrokerSocket> {
  const secure = await Deno.startTls(conn, {
    hostname,
    ...(tls?.ca !== undefined && { caCerts: [tls.ca] }),
  });
  const abort = (): void => secure[Symbol.dispose]();
  signal.addEventListener("abort", abort, { once: true });
  try {
    await secure.handshake();
  } catch (error) {
    secure[Symbol.dispose]();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
  return secure;
}
