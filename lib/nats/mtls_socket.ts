/**
 * A socket to a broker that asks for a client certificate, over node:net and
 * node:tls: the runtime's own `Deno.startTls` cannot show one.
 *
 * @module
 */

import { once } from "node:events";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { BrokerSocket, DialOptions, PlainSocket } from "./socket.ts";

/** Connects as `dialBroker` does. */
export async function dialNodeSocket(
  options: DialOptions,
): Promise<PlainSocket> {
  const { hostname, port, signal } = options;
  const tcp = connectTcp({ host: hostname, port, noDelay: true });
  await ready(tcp, "connect", signal);
  const socket = new NodeSocket(tcp);
  return {
    socket,
    startTls: (name) => startTls(socket, name, options),
  };
}

async function startTls(
  plain: NodeSocket,
  host: string,
  { tls, signal }: DialOptions,
): Promise<BrokerSocket> {
  const secure = connectTls({
    socket: await plain.release(),
    // What the certificate must be for. An address is not sent to the broker:
    // TLS has server names only.
    host,
    ...(isIP(host) === 0 && { servername: host }),
    // Alone: to read the runtime's own authorities beside it takes --allow-sys.
    ...(tls?.ca !== undefined && { ca: [tls.ca] }),
    ...(tls?.identity !== undefined && {
      cert: tls.identity.cert,
      key: tls.identity.key.reveal(),
    }),
  });
  await ready(secure, "secureConnect", signal);
  return new NodeSocket(secure);
}

/** What went wrong with sockets, perhaps before there was anybody to read them. */
const early = new WeakMap<Socket, Error>();

/** Resolves at `event`; fails when the socket or `signal` does before. */
async function ready(
  socket: Socket,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
): Promise<void> {
  // What comes in the same turn as the event, such as the broker's word about
  // our certificate, would find nobody to hear it and end the process.
  socket.on("error", (error) => void early.set(socket, error));
  try {
    await once(socket, event, { signal });
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** A node:net socket, read on demand. */
class NodeSocket implements BrokerSocket {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();

  constructor(socket: Socket) {
    this.#socket = socket;
    // The iterator tells of errors, too; those of writing come with the write.
    socket.on("error", () => {});
    this.#chunks = socket.iterator({ destroyOnReturn: false });
  }

  async read(target: Uint8Array): Promise<number | null> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done) {
        const error = early.get(this.#socket);
        if (error !== undefined) throw error;
        return null;
      }
      this.#chunk = next.value;
    }
    const part = this.#chunk.subarray(0, target.length);
    this.#chunk = this.#chunk.subarray(part.length);
    target.set(part);
    return part.length;
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
  async release(): Promise<Socket> {
    await this.#chunks.return?.();
    return this.#socket;
  }
}
