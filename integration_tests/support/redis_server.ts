/**
 * Starts a real redis-server on a free port, without persistence.
 *
 * @module
 */

import { requireTool } from "../../tools/find_or_install.ts";
import { formatAddress } from "./addresses.ts";
import type { WaitOptions } from "./changes.ts";
import { external } from "./external.ts";
import { owned } from "./owned.ts";
import { type Process, spawnOnFreePort } from "./processes.ts";

/** A Redis to test against. */
export interface Redis extends AsyncDisposable {
  /** `host:port`, as the server role reaches it. */
  readonly address: string;
  /** Its process, where it is ours. */
  readonly process: Process | undefined;
}

/**
 * The Redis of the environment (`REDIS_ADDR`), or one of our own, ready.
 *
 * @throws {RunError} when redis-server is not installed; {Error} when it does
 *   not start.
 */
export async function startRedis(options: WaitOptions = {}): Promise<Redis> {
  if (external.redisAddress !== undefined) {
    return {
      address: external.redisAddress,
      process: undefined,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  return await startOwnRedis(options);
}

/** As {@linkcode startRedis}, always one of our own. */
export async function startOwnRedis(
  options: WaitOptions = {},
): Promise<Redis & { readonly process: Process }> {
  const command = await requireTool("redis-server");
  const directory = await Deno.makeTempDir({ prefix: "redis-" });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => Deno.remove(directory, { recursive: true }));
  const { process, endpoint } = await spawnOnFreePort(command, {
    name: "redis-server",
    // deno-fmt-ignore
    args: (port) => [
      "--port", String(port), "--bind", "127.0.0.1", "--dir", directory,
      "--save", "", "--appendonly", "no", "--daemonize", "no",
    ],
    ready: /Ready to accept connections/,
    signal: options.signal,
  });
  cleanup.use(process);
  return owned(cleanup, { address: formatAddress(endpoint), process });
}
