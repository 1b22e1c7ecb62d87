/**
 * A program of ours with one of the original's, on a broker of their own.
 *
 * @module
 */

import { type NatsServer, startNatsServer } from "./nats_server.ts";
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

/** The original's client and our server, on a broker of their own. */
export interface OldClient extends AsyncDisposable {
  /** The broker. */
  readonly nats: NatsServer;
  /** The original's. */
  readonly client: V1Client;
  /** Ours. */
  readonly server: Role;
}

/** Starts both; ready when this resolves. */
export async function oldClient(
  options: V1ClientOptions & { readonly serverArgs?: readonly string[] },
): Promise<OldClient> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNatsServer());
  const { serverArgs = [] } = options;
  const server = stack.use(await startServer(nats.url, { args: serverArgs }));
  const client = stack.use(await V1Client.start(nats.url, options));
  const owned = stack.move();
  return {
    nats,
    client,
    server,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Our client and the original's server, on a broker of their own. */
export interface OldServer extends AsyncDisposable {
  /** The broker. */
  readonly nats: NatsServer;
  /** Ours. */
  readonly client: ClientRole;
  /** The original's. */
  readonly server: V1Server;
}

/** Starts both; ready when this resolves. */
export async function oldServer(
  options: V1ServerOptions & {
    readonly target: string;
    readonly clientArgs?: readonly string[];
  },
): Promise<OldServer> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNatsServer());
  const server = stack.use(await V1Server.start(nats.url, options));
  const { target, clientArgs = [] } = options;
  const client = stack.use(
    await startClient(nats.url, { target, args: clientArgs }),
  );
  const owned = stack.move();
  return {
    nats,
    client,
    server,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
