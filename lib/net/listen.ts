/**
 * Listens for local connections and accepts them.
 *
 * @module
 */
import { type Address, formatAddress } from "../base/address.ts";
import type { BufferPool } from "../base/buffer_pool.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, RunError } from "../base/errors.ts";
import type { Socket, SocketListener } from "./socket.ts";
import { TcpSocket } from "./tcp_socket.ts";

/**
 * Connections the system may hold for us before they are accepted: what Linux
 * allows by default (net.core.somaxconn), against bursts of new connections.
 */
const LISTEN_BACKLOG = 4096;

/** First and longest pause after an accept that failed for want of descriptors, in ms. */
const ACCEPT_PAUSE_MS = { first: 10, longest: 1_000 } as const;

/**
 * Listens for connections.
 *
 * @throws {RunError} when the address cannot be bound.
 */
export function listen(
  address: Address,
  options: {
    /** Where large read buffers come from. */
    readonly pool: BufferPool;
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
