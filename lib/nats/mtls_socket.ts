/**
 * A socket to a broker that asks for a client certificate, over node:net and
 * node:tls: the runtime's own `Deno.startTls` cannot show one.
 *
 * @module
 */

import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, rootCertificates } from "node:tls";
import type { BrokerSocket, DialOptions, PlainSocket } from "./socket.ts";

/** Connects as `dialBroker` does. */
export async function dialNodeSocket(
  options: DialOptions,
): Promise<PlainSocket> {
  const { hostname, port, signal } = options;
  const tcp = connectTcp({ host: hostname, port, noDelay: true });
  await ready(tcp, "connect", signal);
  const plain = new NodeSocket(tcp);
  return {
    socket: plain,
    startTls: (name) => startTls(plain, name, options),
  };
}

async function startTls(
  plain: NodeSocket,
  host: string,
  { tls, signal }: DialOptions,
): Promise<BrokerSocket> {
  const secure = connectTls({
    socket: plain.release(),
    // What the certificate must be for. An address is not sent to the broker:
    // TLS has server names only.
    host,
    ...(isIP(host) === 0 && { servername: host }),
    ...(tls?.ca !== undefined && { ca: [...rootCertificates, tls.ca] }),
    ...(tls?.identity !== undefined && {
      cert: tls.identity.cert,
      key: tls.identity.key.reveal(),
    }),
  });
  await ready(secure, "secureConnect", signal);
  return new NodeSocket(secure);
}

/** Resolves at `event`; fails when the socket or `signal` does before. */
async function ready(
  socket: Socket,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const closed = (): void => reject(new Error("The connection was closed"));
  const abort = (): void => reject(signal.reason);
  socket.once(event, resolve).once("error", reject).once("close", closed);
  signal.addEventListener("abort", abort, { once: true });
  try {
    signal.throwIfAborted();
    await promise;
  } catch (error) {
    // Whatever else goes wrong with it now is of no interest.
    socket.on("error", () => {}).destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
    socket.off(event, resolve).off("error", reject).off("close", closed);
  }
}

/** A node:net socket, read on demand. */
class NodeSocket implements BrokerSocket {
  readonly #socket: Socket;
  #chunk: Uint8Array | undefined;
  #ended = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  readonly #onData = (chunk: Uint8Array): void => {
    this.#chunk = chunk;
    this.#socket.pause();
    this.#wake?.();
  };
  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#wake?.();
  };
  readonly #onError = (error: Error): void => {
    this.#error = error;
    this.#wake?.();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.pause();
    socket.on("data", this.#onData).on("end", this.#onEnd)
      .on("close", this.#onEnd).on("error", this.#onError);
  }

  async read(target: Uint8Array): Promise<number | null> {
    while (this.#chunk === undefined) {
      if (this.#error) throw this.#error;
      if (this.#ended) return null;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      this.#socket.resume();
      await promise;
    }
    const chunk = this.#chunk;
    const count = Math.min(chunk.length, target.length);
    target.set(count < chunk.length ? chunk.subarray(0, count) : chunk);
    this.#chunk = count < chunk.length ? chunk.subarray(count) : undefined;
    return count;
  }

  write(bytes: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#socket.write(
      bytes,
      (error) => error ? reject(error) : resolve(bytes.length),
    );
    return promise;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  /** The socket itself, for somebody else to read. */
  release(): Socket {
    const socket = this.#socket;
    socket.off("data", this.#onData).off("end", this.#onEnd)
      .off("close", this.#onEnd).off("error", this.#onError);
    return socket;
  }
}
