/**
 * The targets of a server: which ones may be dialled, and dialling them. What
 * `--allow-target` does not cover is refused here.
 *
 * @module
 */
import { type Address, formatAddress, parseIp } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { type ErrorCode, TunnelError } from "../base/errors.ts";
import { MAX_ADDRESSES, tryInTurn } from "../base/happy_eyeballs.ts";
import { closeSocket, type Socket } from "../net/socket.ts";
import { matchTarget, type TargetRule } from "../base/target_rules.ts";

/** What tells most when every address failed, first; other codes come after. */
const TELLING: readonly ErrorCode[] = [
  "limit", // it was not even tried
  "refused",
  "timeout",
  "denied",
  "unreachable",
];

/** What dialling a target takes. */
export interface DialTargetOptions {
  /** Patterns, one of which must cover the target; none at all allow every target. */
  readonly rules: readonly TargetRule[];
  /** Longest time for all of it, from the name to the connection, in ms. */
  readonly timeout: number;
  /** Gives it up. */
  readonly signal: AbortSignal;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Finds the addresses of a name; throws a TunnelError, or the signal's reason. */
  readonly resolve: (host: string, signal: AbortSignal) => Promise<string[]>;
  /** Connects to one address; throws a TunnelError, or the signal's reason. */
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
  const stop = new AbortController();
  const giveUp = (): void => stop.abort(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  let step = `Resolve ${target.host}`;
  using _deadline = clock.after(timeout, () => {
    const text = `${step}: no answer in ${timeout} ms`;
    stop.abort(new TunnelError("timeout", text));
  });
  try {
    const attempt = { ...options, signal: stop.signal };
    const addresses = await allowedAddresses(target, attempt);
    step = `Dial ${formatAddress(target)}`;
    return await connectToFirst(addresses, attempt);
  } finally {
    signal.removeEventListener("abort", giveUp);
    // Addresses that are still being tried are not needed any more.
    stop.abort();
  }
}

/**
 * What to dial for a target: the target itself, or, where only rules for
 * networks allow it, those addresses of its name that they cover.
 */
async function allowedAddresses(
  target: Address,
  { rules, resolve, signal }: DialTargetOptions,
): Promise<readonly Address[]> {
  const { host, port } = target;
  if (rules.length === 0 || matchTarget(rules, target)) return [{ host, port }];
  const byNetwork = rules.some((rule) => rule.host.kind === "network");
  const found = byNetwork && parseIp(host) === undefined
    ? await resolve(host, signal)
    : [];
  const allowed = found.filter((resolvedIp) =>
    matchTarget(rules, { host, port, resolvedIp })
  );
  if (allowed.length > 0) {
    return allowed.slice(0, MAX_ADDRESSES).map((host) => ({ host, port }));
  }
  throw new TunnelError(
    "denied",
    `${formatAddress(target)} is not an allowed target (--allow-target)`,
  );
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
