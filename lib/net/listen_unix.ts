/**
 * Listens for local connections at Unix sockets.
 *
 * @module
 */
import type { BufferPool } from "../base/buffer_pool.ts";
import { messageOf, RunError } from "../base/errors.ts";
import { formatPlace, type UnixPath } from "../base/place.ts";
import { acceptAll, type AcceptOptions } from "./accept.ts";
import type { SocketListener } from "./socket.ts";
import { systemSocket } from "./system_socket.ts";

/** The mode of a socket: whoever may write to it may use the tunnel. */
const OWNER_ONLY = 0o600;

/** What {@linkcode listenUnix} is told. */
export interface ListenUnixOptions extends AcceptOptions {
  /** Where large read buffers come from. */
  readonly pool: BufferPool;
  /** The flag that asks for it, for messages. */
  readonly origin: string;
}

/**
 * Listens for connections at a path, which is the owner's alone. A socket that
 * a dead process has left there is replaced; the file is removed at the end.
 *
 * @throws {RunError} when that cannot be, naming the `origin`.
 */
export async function listenUnix(
  place: UnixPath,
  options: ListenUnixOptions,
): Promise<SocketListener> {
  const { pool, origin } = options;
  const listener = await bindUnix(place, origin);
  const stop = new AbortController();
  return {
    address: formatPlace(place),
    accept: () =>
      acceptAll([listener], (conn) => systemSocket(conn, pool), {
        ...options,
        signal: stop.signal,
      }),
    [Symbol.dispose](): void {
      if (stop.signal.aborted) return;
      stop.abort();
      listener.close();
    },
  };
}

/**
 * Holds a path until it is disposed, to see whether it can be listened on.
 *
 * @throws {RunError} when it cannot, naming the `origin`.
 */
export async function holdPath(
  place: UnixPath,
  origin: string,
): Promise<Disposable> {
  const listener = await bindUnix(place, origin);
  return { [Symbol.dispose]: () => listener.close() };
}

/** A listener that the runtime removes from its path when it is closed. */
async function bindUnix(
  place: UnixPath,
  origin: string,
): Promise<Deno.UnixListener> {
  const { path } = place;
  try {
    askFor(path);
    await removeStale(path);
    return listenAsOwner(path);
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound
      ? "its folder is not there; make it, or choose another path"
      : messageOf(cause);
    throw new RunError(
      `Cannot listen on ${origin} ${formatPlace(place)}: ${why}`,
      { cause },
    );
  }
}

function listenAsOwner(path: string): Deno.UnixListener {
  const listener = Deno.listen({ transport: "unix", path });
  // At once: until here there is the umask alone, which lets nobody else write but where it was opened.
  Deno.chmodSync(path, OWNER_ONLY);
  return listener;
}

/** @throws {Error} saying how the permissions are given that a socket at `path` takes. */
function askFor(path: string): void {
  const missing = (["read", "write"] as const).filter((name) =>
    Deno.permissions.querySync({ name, path }).state !== "granted"
  );
  if (missing.length === 0) return;
  const flags = missing.map((name) => `--allow-${name}=${path}`);
  throw new Error(
    `no permission to ${missing.join(" and ")} it (Deno gives it with ${
      flags.join(" ")
    })`,
  );
}

/**
 * Removes a socket that nobody answers: a process that was killed leaves it.
 *
 * @throws {Error} when what is there is something else.
 */
async function removeStale(path: string): Promise<void> {
  try {
    if (!(await Deno.lstat(path)).isSocket) {
      throw new Error(
        `there is a file, which is no socket; choose another path`,
      );
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    await Deno.remove(path);
    return;
  }
  throw new Error(
    "another process listens there; stop it or choose another path",
  );
}
