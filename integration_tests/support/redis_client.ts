/**
 * Connects to Redis with exactly one TCP connection: it is never replaced
 * behind the caller's back.
 *
 * @module
 */

import { Redis as IoRedis } from "ioredis";
import type { Endpoint } from "./addresses.ts";
import { abortable, type WaitOptions } from "./changes.ts";

/** How long connecting may take, in ms: a name to look up, a tunnel to open. */
const CONNECT_TIMEOUT = 20_000;

/** One connection to a Redis, through a tunnel or not. */
export class RedisConnection implements AsyncDisposable {
  /** The ioredis client. */
  readonly redis: IoRedis;
  readonly #ended: Promise<void>;

  /** Takes over a client that is connected, and the promise of its end. */
  constructor(redis: IoRedis, ended: Promise<void>) {
    this.redis = redis;
    this.#ended = ended;
  }

  /** Resolves when the connection has ended, for whatever reason. */
  async whenEnded(options: WaitOptions = {}): Promise<void> {
    await abortable<void>((resolve) => void this.#ended.then(resolve), options);
  }

  /** Closes the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    // On one that has ended, ioredis would wait for a second end.
    if (this.redis.status !== "end") this.redis.disconnect();
    await this.#ended;
  }
}

/**
 * Connects; ready for commands when this resolves.
 *
 * @throws what the connection failed with.
 */
export async function connectRedis(
  { hostname, port }: Endpoint,
): Promise<RedisConnection> {
  const redis = new IoRedis({
    host: hostname,
    port,
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT,
    noDelay: true,
    retryStrategy: () => null,
    reconnectOnError: () => false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
  });
  let failure: unknown;
  redis.on("error", (error: unknown) => failure ??= error);
  const ended = new Promise<void>((resolve) => redis.once("end", resolve));
  try {
    await redis.connect();
  } catch (error) {
    // ioredis says "Connection is closed"; the reason came as an event.
    throw failure ?? error;
  }
  return new RedisConnection(redis, ended);
}
