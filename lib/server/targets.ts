/**
 * The targets of a server: a name is looked up once, its addresses are judged,
 * and exactly those that were allowed are dialled.
 *
 * @module
 */
import { Deadline } from "../base/abort.ts";
import { type Address, formatAddress, parseIp } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { type ErrorCode, type Reason, TunnelError } from "../base/errors.ts";
import { MAX_ADDRESSES, tryInTurn } from "../base/happy_eyeballs.ts";
import type { ProxyVersion, Service } from "../base/service.ts";
import type { Ask } from "./reception.ts";
import { closeSocket, type Socket } from "../net/socket.ts";
import {
  judgeName,
  judgePath,
  judgeTarget,
  type TargetRules,
} from "../base/target_judge.ts";

/** What tells most when every address failed, first; other codes come after. */
const TELLING: readonly ErrorCode[] = [
  "limit", // it was not even tried
  "refused",
  "timeout",
  "denied",
  "unreachable",
];

/** A connection to a target, and whether that is to be told whose it is. */
export interface Dialled {
  /** The connection, to which nothing was written. */
  readonly socket: Socket;
  /** How it is told, in a header of the PROXY protocol; undefined where it is not. */
  readonly proxyProtocol?: ProxyVersion | undefined;
}

/** Whom a dial is for. */
export interface Dialler extends Pick<Ask, "known" | "payer" | "endpoints"> {
  /** The service that is asked for; undefined for a target that is named itself. */
  readonly service?: Service | undefined;
  /** The tunnel's connection ID; undefined for a check, which sends nothing. */
  readonly id?: string | undefined;
}

/** What dialling a Unix socket takes. */
export interface DialPathOptions
  extends Pick<DialTargetOptions, "rules" | "signal"> {
  /** Connects to it; throws a TunnelError, or the signal's reason. */
  readonly connect: (path: string, signal: AbortSignal) => Promise<Socket>;
}

/**
 * Connects to the Unix socket at `path` if the rules name it.
 *
 * @throws {TunnelError} `denied`, or the code of what went wrong.
 * @throws the reason of `signal` when it aborts.
 */
export async function dialPath(
  path: string,
  { rules, signal, connect }: DialPathOptions,
): Promise<Socket> {
  const refusal = judgePath(rules, path);
  if (refusal !== undefined) throw errorOf(refusal);
  return await connect(path, signal);
}

/** What dialling a target takes. */
export interface DialTargetOptions {
  /** Who has a say in what may be dialled; all must allow it. */
  readonly rules: readonly TargetRules[];
  /** Longest time for all of it, from the name to the connection, in ms. */
  readonly timeout: number;
  /** Gives it up. */
  readonly signal: AbortSignal;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Finds the addresses of a name; throws a TunnelError, or the signal's reason. */
  readonly resolve: (host: string, signal: AbortSignal) => Promise<string[]>;
  /** Connects to one IP address; throws a TunnelError, or the signal's reason. */
  readonly connect: (address: Address, signal: AbortSignal) => Promise<Socket>;
}

/**
 * Connects to a target if the rules allow it. What they do not allow is never
 * dialled.
 *
 * @throws {TunnelError} `denied`, or the code of what went wrong.
 * @throws the reason of `signal` when it aborts.
 */
export async function dialTarget(
  target: Address,
  options: DialTargetOptions,
): Promise<Socket> {
  const { timeout, signal, clock } = options;
  signal.throwIfAborted();
  let step = `Resolve ${target.host}`;
  // At its end addresses that are still being tried are not needed any more.
  using deadline = new Deadline(signal, {
    clock,
    ms: timeout,
    late: () =>
      new TunnelError("timeout", `${step}: no answer in ${timeout} ms`),
  });
  const attempt = { ...options, signal: deadline.signal };
  const addresses = await allowedAddresses(target, attempt);
  step = `Dial ${formatAddress(target)}`;
  return await connectToFirst(addresses, attempt);
}

/** The addresses to dial for a target: its own, or those that its name has now. */
async function allowedAddresses(
  target: Address,
  { rules, resolve, signal }: DialTargetOptions,
): Promise<readonly Address[]> {
  const { host, port } = target;
  let found: readonly string[] = [host];
  if (parseIp(host) === undefined) {
    const refusal = judgeName(rules, target);
    if (refusal !== undefined) throw errorOf(refusal);
    found = await resolve(host, signal);
  }
  const verdict = judgeTarget(rules, target, found);
  if ("refusal" in verdict) throw errorOf(verdict.refusal);
  return verdict.addresses.slice(0, MAX_ADDRESSES)
    .map((host) => ({ host, port }));
}

function errorOf({ code, text }: Reason): TunnelError {
  return new TunnelError(code, text);
}

/** Connects to the first address that answers. */
async function connectToFirst(
  addresses: readonly Address[],
  { connect, clock, signal }: DialTargetOptions,
): Promise<Socket> {
  try {
    return await tryInTurn(addresses, {
      attempt: connect,
      discard: closeSocket,
      clock,
      signal,
    });
  } catch (error) {
    throw error instanceof AggregateError ? mostTelling(error.errors) : error;
  }
}

function mostTelling(failures: readonly unknown[]): unknown {
  for (const code of TELLING) {
    const found = failures.find((failure) =>
      failure instanceof TunnelError && failure.code === code
    );
    if (found !== undefined) return found;
  }
  return failures[0];
}
