/**
 * Starts a tunnel to a Redis: ours throughout, or as the environment gives it.
 *
 * @module
 */

import { type Endpoint, parseAddress } from "./addresses.ts";
import { external } from "./external.ts";
import { owned } from "./owned.ts";
import { startRedis } from "./redis_server.ts";
import { startTunnel } from "./roles.ts";

/** A tunnel that leads to a Redis. */
export interface RedisTunnel extends AsyncDisposable {
  /** Where to connect to reach the Redis. */
  readonly endpoint: Endpoint;
}

/**
 * The tunnel of the environment (`CLIENT_ADDR`); or a pair of roles of our
 * own, on the broker and the Redis of the environment or our own.
 */
export async function startRedisTunnel(
  options: { readonly clientArgs?: readonly string[] } = {},
): Promise<RedisTunnel> {
  if (external.clientAddress !== undefined) {
    return {
      endpoint: parseAddress(external.clientAddress),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  await using cleanup = new AsyncDisposableStack();
  const redis = cleanup.use(await startRedis());
  const { endpoint } = cleanup.use(
    await startTunnel({ target: redis.address, ...options }),
  );
  return owned(cleanup, { endpoint });
}
