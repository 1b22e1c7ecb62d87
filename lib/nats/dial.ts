/**
 * Connects to a broker over the runtime's own sockets, or over node:tls where
 * a client certificate must be shown.
 *
 * @module
 */

import type { BrokerSocket, DialOptions, PlainSocket } from "./socket.ts";

/**
 * Connects to a broker. Nagle's algorithm is off: it would hold back the last
 * bytes of each write until the ones before are acknowledged.
 */
export async function dialBroker(options: DialOptions): Promise<PlainSocket> {
  const { hostname, port, tls, signal } = options;
  if (tls?.identity !== undefined) {
    // Deno.startTls takes no client certificate; node:tls does, and is loaded
    // only then.
    const { dialNodeSocket } = await import("./mtls_socket.ts");
    return await dialNodeSocket(options);
  }
  const conn = await Deno.connect({ hostname, port, signal });
  try {
    conn.setNoDelay(true);
  } catch (error) {
    // The broker is gone already.
    conn.close();
    throw error;
  }
  return {
    // Unlike its close(), its disposal may come twice, and after startTls().
    socket: conn,
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
