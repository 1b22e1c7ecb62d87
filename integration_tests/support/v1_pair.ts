/**
 * Starts a program of ours with one of the original's, on a broker of their own.
 *
 * @module
 */

import { type NatsServer, startNatsServer } from "./nats_server.ts";
import { owned } from "./owned.ts";
import {
  type ClientRole,
  type Role,
  startClient,
  startServer,
} from "./roles.ts";
import {
  V1Client,
  type V1ClientOptions,
  V1Server,
  type V1ServerOptions,
} from "./v1_peer.ts";

/** A client and a server on a broker of their own. */
export interface Pair<Client, Server> extends AsyncDisposable {
  /** The broker. */
  readonly nats: NatsServer;
  readonly client: Client;
  readonly server: Server;
}

/** Starts the original's client and our server; ready when this resolves. */
export async function oldClient(
  options: V1ClientOptions & { readonly serverArgs?: readonly string[] },
): Promise<Pair<V1Client, Role>> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNatsServer());
  const { serverArgs = [] } = options;
  const server = stack.use(await startServer(nats.url, { args: serverArgs }));
  const client = stack.use(await V1Client.start(nats.url, options));
  return owned(stack, { nats, client, server });
}

/** Starts our client and the original's server; ready when this resolves. */
export async function oldServer(
  options: V1ServerOptions & {
    readonly target: string;
    readonly clientArgs?: readonly string[];
  },
): Promise<Pair<ClientRole, V1Server>> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNatsServer());
  const server = stack.use(await V1Server.start(nats.url, options));
  const { target, clientArgs = [] } = options;
  const client = stack.use(
    await startClient(nats.url, { target, args: clientArgs }),
  );
  return owned(stack, { nats, client, server });
}
