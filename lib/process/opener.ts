/**
 * Opens tunnels for the only purpose of seeing that they open, and closes them:
 * as a client does it for a connection that ends at once.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { blame } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import { Ingress } from "../client/client.ts";
import type { ClientConfig } from "../config/config.ts";
import type { NatsBus } from "../nats/connection.ts";
import type { Socket } from "../net/socket.ts";
import { claimOf, ingressOptions, sealOf } from "./client_parts.ts";
import { readKeys } from "./key_files.ts";

/** How long a tunnel may take to end in order once it is open, in ms; then it is cut. */
const END_MS = 1_000;

/** What an open came to. */
export type Opened =
  | { readonly ms: number }
  | { readonly ms: number; readonly code: string; readonly why: string };

/** What opens tunnels. */
export interface Opener extends Disposable {
  /** Opens one to `destination`, and closes it. */
  open(destination: Destination): Promise<Opened>;
}

/**
 * Makes ready to open tunnels as `config` says.
 *
 * @throws {RunError} when another process has the ID that is configured.
 * @throws the reason of `signal` when it aborts.
 */
export async function openOpener(
  config: ClientConfig,
  { bus, signal }: { readonly bus: NatsBus; readonly signal: AbortSignal },
): Promise<Opener> {
  const keys = readKeys(config.security, new Map());
  const host = { keys };
  const options = await ingressOptions(config, { bus, host });
  const seal = keys && sealOf(keys, config);
  using cleanup = new DisposableStack();
  const claim = claimOf(config, options, seal);
  cleanup.defer(() => claim?.[Symbol.dispose]());
  await claim?.acquire(signal, { wait: false });
  let onEnd = (): void => {};
  const ingress = cleanup.use(
    new Ingress({ ...options, seal, claim, onTunnelEnd: () => onEnd() }),
  );
  claim?.hold();
  await bus.flush();
  const owner = cleanup.move();
  return {
    open: async (destination) => {
      const startedAt = systemClock.now();
      const elapsed = (): number => systemClock.now() - startedAt;
      const { promise, resolve } = Promise.withResolvers<Opened>();
      const ended = Promise.withResolvers<void>();
      onEnd = ended.resolve;
      const socket = emptySocket();
      ingress.open({
        ...destination,
        socket,
        told: true,
        accept: () => {
          resolve({ ms: elapsed() });
          return socket;
        },
        reject: (reason, by) => {
          const { reason: code, why } = blame(by, reason);
          resolve({ ms: elapsed(), code, why });
          ended.resolve();
        },
      });
      const opened = await promise;
      using _timer = systemClock.after(END_MS, () =>
        ingress.session.abortAll({
          code: "shutdown",
          text: "it was opened to see that it opens",
        }));
      await ended.promise;
      return opened;
    },
    [Symbol.dispose]: () => {
      claim?.leave();
      owner[Symbol.dispose]();
    },
  };
}

/** A connection that ends at once, and takes whatever comes. */
function emptySocket(): Socket {
  return {
    remote: "ping",
    readable: new ReadableStream({ start: (stream) => stream.close() }),
    writable: new WritableStream(),
  };
}
