/**
 * Reads and writes addresses as `host:port`, IPv6 in brackets.
 *
 * @module
 */

import { tmpdir } from "node:os";

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
 * Ports for what is not to listen, or stops listening and comes back: below
 * those that a system gives to port 0 and to outgoing connections (on Linux from
 * 32768 on), so that no test beside this one gets one by chance meanwhile.
 */
const OWN_PORTS = { first: 10_000, count: 11_000 };

/** The same for {@linkcode freePort}: apart, because nobody holds them until they are used. */
const PASSING_PORTS = { first: 21_000, count: 11_000 };

/** The address at which a port is held, so that tests beside this one choose others. */
const HOLDER = "127.255.255.254";

/**
 * How many ports of the range that begins at `first` were handed out before, by
 * all test processes of this user. In turn, so that one that is let go comes to
 * nobody else soon: who had it may still try it, or expect that nothing listens.
 */
function turnOf(first: number): number {
  const path = `${tmpdir()}/tcp-sproxy-test-ports-${Deno.uid()}-${first}`;
  using file = Deno.openSync(path, { read: true, write: true, create: true });
  file.lockSync(true);
  const bytes = new Uint8Array(16);
  const length = file.readSync(bytes) ?? 0;
  const text = new TextDecoder().decode(bytes.subarray(0, length));
  // Nothing is there at first; what is no number begins anew.
  const turn = /^\d+$/.test(text) ? Number(text) : 0;
  file.truncateSync();
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(String((turn + 1) % 1_000_000)));
  return turn;
}

/** A port that no other test is given until it is let go. Nothing listens there yet. */
export class HeldPort implements Disposable {
  /** Its number. */
  readonly port: number;
  readonly #holder: Deno.TcpListener;

  private constructor(port: number, holder: Deno.TcpListener) {
    this.port = port;
    this.#holder = holder;
  }

  /** Holds the next one of a range that is free at `hostname`. */
  static take(
    hostname = "127.0.0.1",
    { first, count }: typeof OWN_PORTS = OWN_PORTS,
  ): HeldPort {
    for (;;) {
      const port = first + turnOf(first) % count;
      const holder = listenIfFree(HOLDER, port);
      if (holder === undefined) continue;
      const listener = listenIfFree(hostname, port);
      listener?.close();
      if (listener !== undefined) return new HeldPort(port, holder);
      holder.close();
    }
  }

  /** Lets others have it. */
  [Symbol.dispose](): void {
    this.#holder.close();
  }
}

/**
 * A port of `hostname` that was free a moment ago. Another process can take
 * it meanwhile, though none that lets the system choose, and no test beside this
 * one before 11,000 others: callers retry, or use it for what must not listen.
 */
export function freePort(hostname = "127.0.0.1"): number {
  using held = HeldPort.take(hostname, PASSING_PORTS);
  return held.port;
}

function listenIfFree(
  hostname: string,
  port: number,
): Deno.TcpListener | undefined {
  try {
    return Deno.listen({ hostname, port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return undefined;
    throw error;
  }
}
