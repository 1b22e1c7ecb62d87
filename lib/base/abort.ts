/**
 * Waiting that can be given up.
 *
 * @module
 */

/**
 * What `promise` comes to, or, if `signal` aborts before, its reason: then what
 * comes of the promise is passed over.
 */
export function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { promise: either, resolve, reject } = Promise.withResolvers<T>();
  const giveUp = (): void => reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted) giveUp();
  promise.then(resolve, reject);
  return either.finally(() => signal.removeEventListener("abort", giveUp));
}
