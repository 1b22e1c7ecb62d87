/**
 * Reads which servers the environment gives, as docker compose does, in place
 * of ones of our own.
 *
 * @module
 */

/** What the environment says about servers that run already. */
export interface External {
  /** `NATS_URL`: a broker to use, e.g. `nats://nats:4222`. */
  readonly natsUrl: string | undefined;
  /** `REDIS_ADDR`: a Redis, as `host:port`, as the server role reaches it. */
  readonly redisAddress: string | undefined;
  /** `CLIENT_ADDR`: the listening port of a running tunnel to that Redis. */
  readonly clientAddress: string | undefined;
}

function given(name: string): string | undefined {
  const value = Deno.env.get(name);
  return value === "" ? undefined : value;
}

/** What the environment of this test run gives. */
export const external: External = {
  natsUrl: given("NATS_URL"),
  redisAddress: given("REDIS_ADDR"),
  clientAddress: given("CLIENT_ADDR"),
};
