/**
 * Dials targets: resolves names, connects, and says in our own codes what went
 * wrong.
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
import type { Reserve } from "./descriptors.ts";
import { TcpSocket } from "./tcp_socket.ts";

/** What dialling needs to know of descriptors. */
export type DialReserve = Pick<Reserve, "check" | "short">;

/** What there is too little of, where a name or an address was not even tried. */
const TOO_FEW_FILES = "too many open files (raise this server's ulimit -n)";

/**
 * Connects to a target.
 *
 * @throws {TunnelError} with the code for what went wrong: `refused`,
 * `timeout`, `no-such-host`, `unreachable`, `denied`, `limit` or `internal`.
 * @throws the reason of `signal` when it aborts.
 */
export async function dial(
  address: Address,
  { pool, signal, reserve }: {
    /** Where large read buffers come from. */
    readonly pool: BufferPool;
    readonly signal: AbortSignal;
    /** Asked before. */
    readonly reserve?: DialReserve;
  },
): Promise<TcpSocket> {
  try {
    reserve?.check();
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
    throw dialError(address, cause, reserve);
  }
}

/**
 * The addresses of a host, as the system resolves it (its hosts file too).
 *
 * @throws {TunnelError} `no-such-host`, or `limit`.
 * @throws the reason of `signal` when it aborts.
 */
export async function resolve(
  host: string,
  signal: AbortSignal,
  reserve?: DialReserve,
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
    const [code, text]: [ErrorCode, string] = reserve?.short
      ? ["limit", TOO_FEW_FILES]
      : ["no-such-host", messageOf(cause)];
    throw new TunnelError(code, `Resolve ${host}: ${text}`, { cause });
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

/** Finds the code for a failed `Deno.connect`, where often only its words tell. */
function dialError(
  address: Address,
  cause: unknown,
  reserve: DialReserve | undefined,
): TunnelError {
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
  if (/lookup|resolve|name or service|no address/i.test(words)) {
    // The system's resolver says the same when it can open no file.
    if (reserve?.short) return make("limit", TOO_FEW_FILES);
    return make("no-such-host", `no such host (${words})`);
  }
  if (/unreachable|no route|network is down/i.test(words)) {
    return make("unreachable", words.toLowerCase());
  }
  return make("internal", words);
}
