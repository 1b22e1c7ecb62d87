/**
 * Several ways to one end, tried in turn and soon side by side (RFC 8305,
 * "Happy Eyeballs"): one that swallows everything does not hold up the next.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/**
 * How long a way is tried alone before the next is tried beside it, in ms: as
 * RFC 8305, 5 recommends.
 */
export const HEAD_START_MS = 250;

/** Most addresses of a name that are tried: no name makes us scan a network. */
export const MAX_ADDRESSES = 8;

/** How ways are tried. */
export interface TurnOptions<W, T> {
  /** Tries one; its signal aborts once the outcome is known, or there is to be none. */
  readonly attempt: (way: W, signal: AbortSignal) => Promise<T>;
  /** Ends what came too late to be taken. */
  readonly discard: (late: T) => void;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Gives all of them up. */
  readonly signal: AbortSignal;
}

/**
 * What the first of `ways` that succeeds gives. Each is tried when the one
 * before has failed or had its head start.
 *
 * Rejects with the failures as an `AggregateError` when all have failed, and
 * with the reason of the signal when that aborts.
 */
export function tryInTurn<W, T>(
  ways: readonly W[],
  { attempt, discard, clock, signal }: TurnOptions<W, T>,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const stop = new AbortController();
  const failures: unknown[] = [];
  let next = 0;
  let headStart: Disposable | undefined;
  const settle = (): boolean => {
    if (stop.signal.aborted) return false;
    signal.removeEventListener("abort", onAbort);
    headStart?.[Symbol.dispose]();
    stop.abort(signal.reason);
    return true;
  };
  const onAbort = (): void => {
    if (settle()) reject(signal.reason);
  };
  const onSuccess = (result: T): void => {
    if (settle()) resolve(result);
    else discard(result);
  };
  const onFailure = (failure: unknown): void => {
    failures.push(failure);
    if (failures.length < ways.length) tryNext();
    else if (settle()) reject(new AggregateError(failures));
  };
  const tryNext = (): void => {
    headStart?.[Symbol.dispose]();
    const way = ways[next];
    if (way === undefined || stop.signal.aborted) return;
    next++;
    if (next < ways.length) headStart = clock.after(HEAD_START_MS, tryNext);
    attempt(way, stop.signal).then(onSuccess, onFailure);
  };
  if (ways.length === 0) reject(new AggregateError([]));
  else if (signal.aborted) reject(signal.reason);
  else {
    signal.addEventListener("abort", onAbort);
    tryNext();
  }
  return promise;
}
