/**
 * Measures how fast bytes go through a broker, with a transfer that is bounded
 * in bytes and in time.
 *
 * @module
 */
import type { Bus } from "../nats/bus.ts";

/** How much is sent at most: more than the buffers on the way hold. */
const MOST_BYTES = 8 * 2 ** 20;

/** How much a message has at most: as much as frames carry. */
const MESSAGE_BYTES = 64 * 1024;

/** Where to send. */
export interface RateOptions {
  /** The subject, which nobody else uses. */
  readonly subject: string;
  /** Whether we hear it ourselves, so that both directions count. */
  readonly loop: boolean;
  /** After how many ms no more is sent. */
  readonly timeout: number;
  /** Gives it up. */
  readonly signal: AbortSignal;
}

/**
 * Sends, and waits until all of it has passed the broker.
 *
 * @returns how many bytes went all the way, and in how many ms.
 * @throws {Error} when the link is lost meanwhile, or nothing came back.
 * @throws the reason of `signal` when it aborts.
 */
export async function measureRate(
  bus: Bus,
  { subject, loop, timeout, signal }: RateOptions,
): Promise<{ readonly bytes: number; readonly ms: number }> {
  const size = Math.min(MESSAGE_BYTES, bus.maxPayload);
  const message = {
    byteLength: size,
    encodeInto: (target: Uint8Array, at: number) => {
      target.fill(0, at, at + size);
    },
  };
  let received = 0;
  using _loop = loop
    ? bus.subscribe(subject, ({ data }) => received += data.length)
    : undefined;
  await bus.flush();
  const began = performance.now();
  let sent = 0;
  while (sent < MOST_BYTES && performance.now() - began < timeout) {
    signal.throwIfAborted();
    if (bus.congested) await drained(bus, signal);
    else if (bus.publish(subject, message)) sent += size;
    else break;
  }
  await bus.flush();
  const ms = performance.now() - began;
  const bytes = loop ? received : sent;
  if (bytes === 0) throw new Error("nothing of it came back");
  return { bytes, ms };
}

/** Waits until the bus has room again. */
async function drained(bus: Bus, signal: AbortSignal): Promise<void> {
  const heard = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = (): void => reject(signal.reason);
  bus.onDrain(resolve, heard.signal);
  signal.addEventListener("abort", abort, { signal: heard.signal });
  try {
    if (bus.congested && !signal.aborted) await promise;
  } finally {
    heard.abort();
  }
}
