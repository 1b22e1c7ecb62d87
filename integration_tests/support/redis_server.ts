/**
 * A real redis-server on a free port, without persistence.
 *
 * @module
 */

import { requireTool } from "../../tools/find_or_install.ts";
import { formatAddress, freePort } from "./addresses.ts";
import type { WaitOptions } from "./changes.ts";
import { external } from "./external.ts";
import { describeStatus, type Process, spawn } from "./processes.ts";

/** A Redis to test against. */
export interface Redis extends AsyncDisposable {
  /** `host:port`, as the server role reaches it. */
  readonly address: string;
  /** Its process, where it is ours. */
  readonly process: Process | undefined;
}

/** Tries before giving up: each fails only if the port was taken in between. */
const TRIES = 10;

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
  // Redis takes no port 0, so we find a free one and try again if it is lost.
  for (let attempt = 1;; attempt++) {
    const port = freePort();
    const process = spawn(command, {
      name: "redis-server",
      // deno-fmt-ignore
      args: [
        "--port", String(port), "--bind", "127.0.0.1", "--dir", directory,
        "--save", "", "--appendonly", "no", "--daemonize", "no",
      ],
    });
    cleanup.use(process);
    const line = await process.waitForLine(
      (line) => /Ready to accept connections|ddress already in use/.test(line),
      options,
    );
    if (line.includes("Ready")) {
      const owned = cleanup.move();
      return {
        address: formatAddress({ hostname: "127.0.0.1", port }),
        process,
        [Symbol.asyncDispose]: () => owned.disposeAsync(),
      };
    }
    const status = await process.kill();
    if (attempt === TRIES) {
      throw new Error(
        `redis-server did not start in ${TRIES} tries (${
          describeStatus(status)
        }): ${line}`,
      );
    }
  }
}
