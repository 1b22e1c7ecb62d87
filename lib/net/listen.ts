/**
 * Listens for local connections and accepts them.
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
import type { Clock } from "../base/clock.ts";
import { isShortage, messageOf, RunError } from "../base/errors.ts";
import type { Reserve } from "./descriptors.ts";
import { lookUp } from "./dial.ts";
import type { Socket, SocketListener } from "./socket.ts";
import { TcpSocket } from "./tcp_socket.ts";

/**
 * Connections the system may hold for us before they are accepted: what Linux
 * allows by default (net.core.somaxconn), against bursts of new connections.
 */
const LISTEN_BACKLOG = 4096;

/** First and longest pause after an accept that failed for want of descriptors or memory, in ms. */
const ACCEPT_PAUSE_MS = { first: 10, longest: 1_000 } as const;

/** The addresses of `localhost`, whatever the system's files say: an application may try either. */
const LOCALHOST = ["127.0.0.1", "::1"] as const;

const LOCALHOST_NAME = /^localhost\.?$/i;

/** Most addresses of one name that are listened at, each of which takes descriptors: those of two networks, of both families. */
const MAX_LISTENERS = 4;

/** How long the lookup of a name to listen at may take, in ms; the system's own word comes after it. */
const LOOKUP_MS = 5_000;

/** What {@linkcode listen} is told. */
export interface ListenOptions extends WhereToListen {
  /** Where large read buffers come from. */
  readonly pool: BufferPool;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Several processes share the port. */
  readonly reusePort?: boolean;
  /** Asked before each accept. */
  readonly reserve?: Pick<Reserve, "check">;
  /** Whether a connection from this IP address may come in; default all may. */
  readonly admits?: (host: string) => boolean;
  /** Told of each that may not, by its address: it is closed already. */
  readonly onRefused?: (remote: string) => void;
  /** Told of each accept that failed. */
  readonly onAcceptError: (message: string) => void;
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

const FOR_TUNNELS: Purpose = {
  what: "listen on",
  hint: "stop its owner or choose another (0 for any)",
};

/**
 * Listens for connections; at `localhost` on both address families.
 *
 * @throws {RunError} when the address cannot be bound.
 */
export function listen(
  address: Address,
  options: ListenOptions,
): SocketListener {
  return listenFor(address, { ...options, ...FOR_TUNNELS });
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
    accept: () => merged(listeners, options, stop.signal),
    [Symbol.dispose](): void {
      if (stop.signal.aborted) return;
      stop.abort();
      for (const listener of listeners) listener.close();
    },
  };
}

/** The connections of all `listeners`, until `signal` aborts. */
async function* merged(
  listeners: readonly Deno.TcpListener[],
  options: ListenOptions,
  signal: AbortSignal,
): AsyncGenerator<Socket> {
  const [only] = listeners;
  if (only !== undefined && listeners.length === 1) {
    yield* accepted(only, options, signal);
    return;
  }
  const waiting: Socket[] = [];
  let changed = Promise.withResolvers<void>();
  const wake = (): void => changed.resolve();
  for (const listener of listeners) {
    void (async () => {
      for await (
        const socket of accepted(listener, options, signal)
      ) {
        waiting.push(socket);
        wake();
      }
    })();
  }
  signal.addEventListener("abort", wake, { once: true });
  while (!signal.aborted) {
    const socket = waiting.shift();
    if (socket !== undefined) yield socket;
    else {
      await changed.promise;
      changed = Promise.withResolvers<void>();
    }
  }
}

/** The connections of one listener, until `signal` aborts. */
async function* accepted(
  listener: Deno.TcpListener,
  options: ListenOptions,
  signal: AbortSignal,
): AsyncGenerator<Socket> {
  const { pool, clock, reserve, admits, onAcceptError } = options;
  let pause: number = ACCEPT_PAUSE_MS.first;
  while (!signal.aborted) {
    let conn: Deno.TcpConn;
    try {
      reserve?.check();
      conn = await listener.accept();
      pause = ACCEPT_PAUSE_MS.first;
    } catch (error) {
      if (signal.aborted) return;
      onAcceptError(messageOf(error));
      // That one connection was reset before we came to it: on to the next.
      if (!isShortage(error)) continue;
      const { promise, resolve } = Promise.withResolvers<void>();
      using _timer = clock.after(pause, resolve);
      await promise;
      pause = Math.min(pause * 2, ACCEPT_PAUSE_MS.longest);
      continue;
    }
    const { hostname: host, port } = conn.remoteAddr;
    if (admits?.(host) === false) {
      conn.close();
      options.onRefused?.(formatAddress({ host, port }));
      continue;
    }
    yield new TcpSocket(conn, pool);
  }
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
 * Sees whether an address can be listened on, alone, and leaves it again. A
 * shared port would otherwise be shared with a stranger.
 *
 * @returns the IP addresses that it stands for.
 * @throws {RunError} when it cannot, naming `flag`.
 */
export function checkListenable(
  address: Address,
  { flag, ...where }: WhereToListen & { readonly flag: string },
): readonly string[] {
  const what = `${FOR_TUNNELS.what} ${flag}`;
  return bind(address, { ...FOR_TUNNELS, ...where, what }).map((listener) => {
    const { hostname } = listener.addr;
    listener.close();
    return hostname;
  });
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
    const [listener] = bind(address, FOR_TUNNELS);
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
