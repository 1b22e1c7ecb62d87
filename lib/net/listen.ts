/**
 * Listens for local connections at TCP addresses.
 *
 * @module
 */
import { untilAborted } from "../base/abort.ts";
import {
  type Address,
  formatAddress,
  parseIp,
  withZoneHint,
  zoneOf,
} from "../base/address.ts";
import type { BufferPool } from "../base/buffer_pool.ts";
import { messageOf, RunError } from "../base/errors.ts";
import { acceptAll, type AcceptOptions } from "./accept.ts";
import { lookUp } from "./dial.ts";
import type { Socket, SocketListener } from "./socket.ts";
import { systemSocket } from "./system_socket.ts";

/**
 * Connections the system may hold for us before they are accepted: what Linux
 * allows by default (net.core.somaxconn), against bursts of new connections.
 */
const LISTEN_BACKLOG = 4096;

/** The last of the ports that only an administrator may listen at, unless Linux is told otherwise (net.ipv4.ip_unprivileged_port_start). */
const LAST_PRIVILEGED = 1023;

/** The addresses of `localhost`, whatever the system's files say: an application may try either. */
const LOCALHOST = ["127.0.0.1", "::1"] as const;

const LOCALHOST_NAME = /^localhost\.?$/i;

/** Most addresses of one name that are listened at, each of which takes descriptors: those of two networks, of both families. */
const MAX_LISTENERS = 4;

/** How long the lookup of a name to listen at may take, in ms; the system's own word comes after it. */
const LOOKUP_MS = 5_000;

/** What {@linkcode listen} is told. */
export interface ListenOptions extends AcceptOptions, WhereToListen {
  /** Where large read buffers come from. */
  readonly pool: BufferPool;
  /** Several processes share the port. */
  readonly reusePort?: boolean;
  /** Whether a connection from this IP address may come in; default all may. */
  readonly admits?: (host: string) => boolean;
  /** Told of each that may not, by its address: it is closed already. */
  readonly onRefused?: (remote: string) => void;
}

/** What is known of the address to listen at. */
export interface WhereToListen {
  /** The IP addresses of its name, by {@linkcode listenHosts}; default what the system takes first. */
  readonly hosts?: readonly string[] | undefined;
}

/** What is listened for, for people. */
interface Purpose {
  /** What cannot be done when the address cannot be bound; the address follows. */
  readonly what: string;
  /** What to do when the port is taken. */
  readonly hint: string;
}

/** Why a process listens that takes connections into tunnels, as `origin` says: a flag. */
function forTunnels(origin?: string): Purpose {
  return {
    what: ["listen on", origin].filter((part) => part !== undefined).join(" "),
    hint: "stop its owner or choose another (0 for any)",
  };
}

/**
 * Listens for connections; at `localhost` on both address families.
 *
 * @throws {RunError} when the address cannot be bound, naming the `origin`.
 */
export function listen(
  address: Address,
  options: ListenOptions & { readonly origin?: string },
): SocketListener {
  return listenFor(address, { ...options, ...forTunnels(options.origin) });
}

/** The same for something else than tunnels: `what` it is and a `hint`, for the error. */
export function listenFor(
  address: Address,
  options: ListenOptions & Purpose,
): SocketListener {
  const listeners = bind(address, options);
  const [first] = listeners;
  const stop = new AbortController();
  // The system tells neither of two addresses nor of a zone.
  const asWritten = listeners.length > 1 || zoneOf(address.host) !== undefined;
  return {
    address: formatAddress({
      host: asWritten ? address.host : first.addr.hostname,
      port: first.addr.port,
    }),
    accept: () =>
      acceptAll(listeners, (conn) => take(conn, options), {
        ...options,
        signal: stop.signal,
      }),
    [Symbol.dispose](): void {
      if (stop.signal.aborted) return;
      stop.abort();
      for (const listener of listeners) listener.close();
    },
  };
}

/** A connection as a socket, if it may come in. */
function take(
  conn: Deno.TcpConn,
  { pool, admits, onRefused }: ListenOptions,
): Socket | undefined {
  const { hostname: host, port } = conn.remoteAddr;
  if (admits?.(host) !== false) return systemSocket(conn, pool);
  conn.close();
  onRefused?.(formatAddress({ host, port }));
  return undefined;
}

/**
 * The IP addresses of a host to listen at: an application may try any of them.
 * Undefined where it is no name, or it is the system's to say what is wrong.
 */
export async function listenHosts(
  { host, port }: Address,
): Promise<readonly string[] | undefined> {
  if (host === "" || parseIp(host) !== undefined || LOCALHOST_NAME.test(host)) {
    return undefined;
  }
  try {
    const found = await untilAborted(
      lookUp(host),
      AbortSignal.timeout(LOOKUP_MS),
    );
    const hosts = [...new Set(found)].slice(0, MAX_LISTENERS);
    // Not asked for where it is not given: the question would wait on a terminal.
    const mayListen = hosts.every((host) =>
      Deno.permissions.querySync({
        name: "net",
        host: formatAddress({ host, port }),
      }).state === "granted"
    );
    return hosts.length > 0 && mayListen ? hosts : undefined;
  } catch {
    // The runtime, asked to listen at the name, says what is wrong.
    return undefined;
  }
}

/**
 * Holds an address alone until it is disposed, to see whether it can be
 * listened on: a shared port would otherwise be shared with a stranger. Its
 * `hosts` are the IP addresses that it stands for, its `port` is one that was
 * free where any was asked for.
 *
 * @throws {RunError} when it cannot, naming the `origin`.
 */
export function holdAddress(
  address: Address,
  { origin, ...where }: WhereToListen & { readonly origin: string },
): Disposable & { readonly hosts: readonly string[]; readonly port: number } {
  const listeners = bind(address, { ...forTunnels(origin), ...where });
  return {
    hosts: listeners.map(({ addr }) => addr.hostname),
    port: listeners[0].addr.port,
    [Symbol.dispose](): void {
      for (const listener of listeners) listener.close();
    },
  };
}

/**
 * Holds a port so that nobody else can listen there until it is disposed;
 * undefined where it is taken already or this process may not. Who connects
 * meanwhile gets no answer.
 */
export function occupy(address: Address): Disposable | undefined {
  const net = { name: "net", host: formatAddress(address) } as const;
  if (Deno.permissions.querySync(net).state !== "granted") return undefined;
  try {
    const [listener] = bind(address, forTunnels());
    return { [Symbol.dispose]: () => listener.close() };
  } catch (error) {
    if (error instanceof RunError) return undefined;
    throw error;
  }
}

function bind(
  address: Address,
  options: Purpose & WhereToListen & { readonly reusePort?: boolean },
): [Deno.TcpListener, ...Deno.TcpListener[]] {
  const { reusePort, what, hint } = options;
  const { hosts = [address.host] } = options;
  const listenOn = (hostname: string, port = address.port): Deno.TcpListener =>
    Deno.listen({
      hostname,
      port,
      tcpBacklog: LISTEN_BACKLOG,
      ...(reusePort ? { reusePort } : {}),
    });
  try {
    if (address.host === "") return [listenEverywhere(listenOn)];
    return listenAtAll(
      LOCALHOST_NAME.test(address.host) ? LOCALHOST : hosts,
      listenOn,
    );
  } catch (cause) {
    const why = cause instanceof Deno.errors.AddrInUse
      ? `the port is in use; ${hint}`
      : cause instanceof Deno.errors.AddrNotAvailable
      ? "this machine has no such address"
      : cause instanceof Deno.errors.PermissionDenied &&
          address.port <= LAST_PRIVILEGED
      ? `ports up to ${LAST_PRIVILEGED} are the administrator's on most systems; choose another`
      : withZoneHint(messageOf(cause), address.host);
    const shown = formatAddress(address);
    throw new RunError(`Cannot ${what} ${shown}: ${why}`, { cause });
  }
}

/** Listens on both address families, or on IPv4 where there is no IPv6. */
function listenEverywhere(
  listenOn: (hostname: string) => Deno.TcpListener,
): Deno.TcpListener {
  const net = { name: "net", host: "[::]" } as const;
  // Not asked for where it is not given: the question would wait on a terminal.
  if (Deno.permissions.querySync(net).state === "granted") {
    try {
      return listenOn("::");
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) throw error;
    }
  }
  return listenOn("0.0.0.0");
}

/**
 * Listens on one port of all `hosts`, or of those that there are here: a name
 * may have addresses of other machines, and `localhost` has no IPv6 everywhere.
 */
function listenAtAll(
  hosts: readonly string[],
  listenOn: (hostname: string, port?: number) => Deno.TcpListener,
): [Deno.TcpListener, ...Deno.TcpListener[]] {
  const listeners: Deno.TcpListener[] = [];
  let failure: unknown;
  for (const host of hosts) {
    try {
      listeners.push(listenOn(host, listeners[0]?.addr.port));
    } catch (error) {
      failure ??= error;
      if (!(error instanceof Deno.errors.AddrInUse)) continue;
      for (const listener of listeners) listener.close();
      throw error;
    }
  }
  const [first, ...others] = listeners;
  if (first === undefined) throw failure;
  return [first, ...others];
}
