/**
 * Accepts connections of one or more listeners of the system, through
 * connections that were reset and a want of descriptors.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { isShortage, messageOf } from "../base/errors.ts";
import type { Reserve } from "./descriptors.ts";
import { closeSocket, type Socket } from "./socket.ts";
import type { SystemConn } from "./system_socket.ts";

/** First and longest pause after an accept that failed for want of descriptors or memory, in ms. */
const ACCEPT_PAUSE_MS = { first: 10, longest: 1_000 } as const;

/** How connections are accepted. */
export interface AcceptOptions {
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Asked before each accept. */
  readonly reserve?: Pick<Reserve, "check">;
  /** Told of each accept that failed. */
  readonly onAcceptError: (message: string) => void;
}

/** The part of a listener of the system that matters here. */
export interface Accepting<C extends SystemConn> {
  /** The next connection. */
  accept(): Promise<C>;
}

/** A connection as a socket; undefined where it was turned away. */
export type Take<C extends SystemConn> = (conn: C) => Socket | undefined;

/** The connections of all `listeners`, until `signal` aborts, and the listeners have ended for it. */
export async function* acceptAll<C extends SystemConn>(
  listeners: readonly Accepting<C>[],
  take: Take<C>,
  options: AcceptOptions & { readonly signal: AbortSignal },
): AsyncGenerator<Socket> {
  const { signal } = options;
  const [only] = listeners;
  if (only !== undefined && listeners.length === 1) {
    yield* accepted(only, take, options);
    return;
  }
  const waiting: Socket[] = [];
  let changed = Promise.withResolvers<void>();
  const wake = (): void => changed.resolve();
  const accepting = listeners.map(async (listener) => {
    for await (const socket of accepted(listener, take, options)) {
      // Nobody asks for it any more.
      if (signal.aborted) closeSocket(socket);
      else waiting.push(socket);
      wake();
    }
  });
  signal.addEventListener("abort", wake, { once: true });
  while (!signal.aborted) {
    const socket = waiting.shift();
    if (socket !== undefined) yield socket;
    else {
      await changed.promise;
      changed = Promise.withResolvers<void>();
    }
  }
  waiting.forEach(closeSocket);
  // Until then the system may take a connection for one that nobody accepts at.
  await Promise.all(accepting);
}

/** The connections of one listener, until `signal` aborts. */
async function* accepted<C extends SystemConn>(
  listener: Accepting<C>,
  take: Take<C>,
  options: AcceptOptions & { readonly signal: AbortSignal },
): AsyncGenerator<Socket> {
  const { clock, reserve, onAcceptError, signal } = options;
  let pause: number = ACCEPT_PAUSE_MS.first;
  while (!signal.aborted) {
    let conn: C;
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
    const socket = take(conn);
    if (socket !== undefined) yield socket;
  }
}
