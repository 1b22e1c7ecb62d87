/**
 * Reads and writes addresses as `host:port`, IPv6 in brackets.
 *
 * @module
 */

/** A host and a port. */
export interface Endpoint {
  /** Name or address, without brackets. */
  readonly hostname: string;
  /** Port number. */
  readonly port: number;
}

/** `host:port`, with an IPv6 host in brackets. */
export function formatAddress({ hostname, port }: Endpoint): string {
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}

/**
 * The parts of `host:port` or `[v6]:port`.
 *
 * @throws {TypeError} when `text` is neither.
 */
export function parseAddress(text: string): Endpoint {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text);
  const hostname = match?.[1] ?? match?.[2];
  if (hostname === undefined) {
    throw new TypeError(`Not an address of the form host:port: "${text}"`);
  }
  return { hostname, port: Number(match?.[3]) };
}

/** The address a listener got. */
export function endpointOf(listener: Deno.TcpListener): Endpoint {
  const { hostname, port } = listener.addr;
  return { hostname, port };
}

/**
 * A port of `hostname` that was free a moment ago. Another process can take
 * it meanwhile: callers retry, or use it for what must not listen.
 */
export function freePort(hostname = "127.0.0.1"): number {
  using listener = Deno.listen({ hostname, port: 0 });
  return listener.addr.port;
}
