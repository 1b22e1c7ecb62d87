/**
 * Ties the life of several parts to one object.
 *
 * @module
 */

/** `parts` as one object whose disposal ends all that `stack` holds; `stack` is empty then. */
export function owned<T extends object>(
  stack: AsyncDisposableStack,
  parts: T,
): T & AsyncDisposable {
  const moved = stack.move();
  return { ...parts, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}
