/**
 * Tells a target whose connection it has, by the PROXY protocol, before
 * anything else goes to it.
 *
 * @module
 */
import { Deadline, untilAborted } from "../base/abort.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, TunnelError } from "../base/errors.ts";
import { closeSocket, directOf, type Socket } from "../net/socket.ts";
import { type ProxyFacts, proxyHeader } from "../wire/proxy_header.ts";
import type { Dialled } from "./targets.ts";

/**
 * How long a target may take until it has the header, in ms. The system takes so
 * few bytes of a new connection at once; what is no such connection may not.
 */
const INTRODUCE_MS = 5_000;

/**
 * Writes the `header` to a connection that nothing was written to.
 *
 * Before the open is answered: an application is told of a target that breaks
 * the connection as of one that refuses it, and no byte of the tunnel can go
 * before the header. It costs no round trip.
 *
 * @throws {TunnelError} `aborted` or `timeout`; the connection is closed then.
 * @throws the reason of `signal` when it aborts; likewise.
 */
export async function introduce(
  socket: Socket,
  header: Uint8Array,
  { clock, signal }: {
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const connection = directOf(socket);
  using deadline = new Deadline(signal, {
    clock,
    ms: INTRODUCE_MS,
    late: () =>
      new TunnelError(
        "timeout",
        `${socket.remote} took no PROXY header within ${INTRODUCE_MS} ms`,
      ),
  });
  try {
    signal.throwIfAborted();
    await untilAborted(connection.writer.write(header), deadline.signal);
  } catch (error) {
    connection.close();
    signal.throwIfAborted();
    throw error instanceof TunnelError ? error : new TunnelError(
      "aborted",
      `${socket.remote} took no PROXY header: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/**
 * The connection to a target that was dialled; one that is to be told whose it
 * is has been told these facts.
 *
 * @throws as {@linkcode introduce}; the connection is closed then.
 */
export async function introduced(
  dialled: Socket | Dialled,
  facts: ProxyFacts,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Socket> {
  const { socket, proxyProtocol } = "socket" in dialled
    ? dialled
    : { socket: dialled, proxyProtocol: undefined };
  const { signal } = options;
  if (signal.aborted) {
    closeSocket(socket);
    throw signal.reason;
  }
  if (proxyProtocol !== undefined) {
    await introduce(socket, proxyHeader(proxyProtocol, facts), options);
  }
  return socket;
}
