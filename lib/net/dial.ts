/**
 * Dials targets: resolves names, connects to addresses, and says in our own
 * codes what went wrong.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import {
  type Address,
  formatAddress,
  parseIp,
  withZoneHint,
} from "../base/address.ts";
import type { BufferPool } from "../base/buffer_pool.ts";
import {
  type ErrorCode,
  isShortage,
  messageOf,
  TunnelError,
} from "../base/errors.ts";
import { formatPlace } from "../base/place.ts";
import type { Reserve } from "./descriptors.ts";
import { SystemSocket, systemSocket } from "./system_socket.ts";

/** What dialling needs to know of descriptors. */
export type DialReserve = Pick<Reserve, "check" | "short">;

/** What dialling takes. */
export interface DialOptions {
  /** Where large read buffers come from. */
  readonly pool: BufferPool;
  /** Gives it up. */
  readonly signal: AbortSignal;
  /** Asked before. */
  readonly reserve?: DialReserve;
}

/** What there is too little of, where a name or an address was not even tried. */
const TOO_FEW_FILES = "too many open files (raise this server's ulimit -n)";

/**
 * Connects to an IP address; never to a name, of which the system might find
 * another address than the one that was judged.
 *
 * @throws {TunnelError} with the code for what went wrong: `refused`,
 * `timeout`, `unreachable`, `denied`, `limit` or `internal`.
 * @throws the reason of `signal` when it aborts.
 */
export async function dial(
  address: Address,
  { pool, signal, reserve }: DialOptions,
): Promise<SystemSocket> {
  if (parseIp(address.host) === undefined) {
    throw new TunnelError(
      "internal",
      `Dial ${formatAddress(address)}: the name was not resolved`,
    );
  }
  try {
    reserve?.check();
    const conn = await Deno.connect({
      hostname: address.host,
      port: address.port,
      signal,
      // An address has one family: nothing to resolve, nothing to choose.
      autoSelectFamily: false,
    });
    return systemSocket(conn, pool);
  } catch (cause) {
    signal.throwIfAborted();
    throw dialError(address, cause);
  }
}

/**
 * Connects to the Unix socket at `path`.
 *
 * @throws {TunnelError} with the code for what went wrong: `refused`,
 * `unreachable`, `denied`, `limit` or `internal`.
 * @throws the reason of `signal` when it aborts.
 */
export async function dialUnix(
  path: string,
  { pool, signal, reserve }: DialOptions,
): Promise<SystemSocket> {
  try {
    signal.throwIfAborted();
    reserve?.check();
    const conn = await Deno.connect({ transport: "unix", path });
    if (!signal.aborted) {
      return new SystemSocket(conn, { pool, remote: formatPlace({ path }) });
    }
    conn.close();
    throw signal.reason;
  } catch (cause) {
    signal.throwIfAborted();
    throw unixDialError(path, cause);
  }
}

/**
 * The addresses of a host, as the system resolves it (its hosts file too).
 *
 * @throws {TunnelError} `no-such-host`, `denied` or `limit`.
 */
export async function lookUp(
  host: string,
  reserve?: DialReserve,
): Promise<string[]> {
  try {
    reserve?.check();
    const found = await lookup(host, { all: true });
    return found.map(({ address }) => address);
  } catch (cause) {
    throw resolveError(host, cause, reserve);
  }
}

/** Finds the code for a failed lookup. */
function resolveError(
  host: string,
  cause: unknown,
  reserve: DialReserve | undefined,
): TunnelError {
  const make = (code: ErrorCode, text: string): TunnelError =>
    new TunnelError(code, `Resolve ${host}: ${text}`, { cause });
  // The system's resolver says that there is no such host when it can open no file.
  if (isShortage(cause) || reserve?.short) return make("limit", TOO_FEW_FILES);
  // What Deno says to a name that it has no permission for.
  if (cause instanceof Error && "code" in cause && cause.code === "EPERM") {
    const hint = `Deno gives it with --allow-net=${host}`;
    return make("denied", `not permitted (${hint})`);
  }
  return make("no-such-host", lookupProblem(cause));
}

/** What a failed lookup says, for people: whether the name is wrong, or the way to the name servers. */
export function lookupProblem(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : "";
  switch (code) {
    case "ENOTFOUND":
    case "ENODATA":
      return `the name is not known (${code})`;
    case "EAI_AGAIN":
      return `no name server answers (${code})`;
    default:
      return messageOf(cause);
  }
}

/** Finds the code for a failed `Deno.connect`, where often only its words tell. */
function dialError(address: Address, cause: unknown): TunnelError {
  const shown = formatAddress(address);
  const words = messageOf(cause).replace(/ \(os error \d+\)$/, "");
  const hinted = withZoneHint(words, address.host);
  const make = (code: ErrorCode, text: string): TunnelError =>
    new TunnelError(code, `Dial ${shown}: ${text}`, { cause });
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
  if (isShortage(cause)) return make("limit", TOO_FEW_FILES);
  if (hinted !== words) return make("unreachable", hinted);
  if (/unreachable|no route|network is down/i.test(words)) {
    return make("unreachable", words.toLowerCase());
  }
  return make("internal", words);
}

/** Finds the code for a Unix socket that could not be connected to. */
function unixDialError(path: string, cause: unknown): TunnelError {
  const make = (code: ErrorCode, text: string): TunnelError =>
    new TunnelError(code, `Dial ${formatPlace({ path })}: ${text}`, { cause });
  if (cause instanceof Deno.errors.NotCapable) {
    const hint = `--allow-read=${path} --allow-write=${path}`;
    return make("denied", `not permitted (Deno gives it with ${hint})`);
  }
  if (cause instanceof Deno.errors.NotFound) {
    return make("refused", "there is no such socket");
  }
  if (cause instanceof Deno.errors.ConnectionRefused) {
    return make("refused", "connection refused");
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return make("denied", "this server's user may not write to it");
  }
  if (cause instanceof Deno.errors.WouldBlock) {
    return make("refused", "its queue of connections is full");
  }
  if (isShortage(cause)) return make("limit", TOO_FEW_FILES);
  const words = messageOf(cause).replace(/ \(os error \d+\)$/, "");
  return cause instanceof Deno.errors.NotADirectory ||
      cause instanceof Deno.errors.FilesystemLoop
    ? make("unreachable", words.toLowerCase())
    : make("internal", words);
}
