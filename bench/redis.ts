/**
 * Measures Redis with redis-benchmark over 50 connections, with and without
 * pipelining.
 *
 * @module
 */

import { parseAddress } from "../integration_tests/support/addresses.ts";
import { run } from "../integration_tests/support/processes.ts";
import { startOwnRedis } from "../integration_tests/support/redis_server.ts";
import { type Group, inTurn, openWays } from "./bench.ts";
import type { Way } from "./ways.ts";

/** Connections of the benchmark. */
const CONNECTIONS = 50;

/** Requests of one run, by commands in a pipeline: about two seconds through a tunnel. */
const REQUESTS = [[1, 40_000], [16, 300_000]] as const;

/** How long a run may take, in ms. */
const LIMIT = 60_000;

/** Redis figures. */
export const redis: Group = {
  name: "redis",
  title: "Redis",
  method: `\`redis-benchmark -c ${CONNECTIONS} -t set,get -P 1\` with ${
    REQUESTS[0][1]
  } requests, and \`-P 16\` with ${REQUESTS[1][1]}`,
  run: async (bench) => {
    const command = bench.tools.get("redis-benchmark");
    if (command === undefined || !bench.tools.has("redis-server")) {
      bench.skip("Redis", "redis-server or redis-benchmark is missing");
      return;
    }
    await using server = await startOwnRedis(bench);
    await using ways = await openWays(
      bench,
      [
        "direct",
        "ssh",
        "tunnel",
        "sealed",
        "json",
        "bare",
        "other",
        "chisel",
        "peer",
      ],
      parseAddress(server.address),
    );
    for (const [pipeline, requests] of REQUESTS) {
      const load = async ({ endpoint }: Way): Promise<string> => {
        const { output } = await run(command, {
          // deno-fmt-ignore
          args: [
            "-h", "127.0.0.1", "-p", `${endpoint.port}`, "-c", `${CONNECTIONS}`,
            "-n", `${requests}`, "-t", "set,get", "-P", `${pipeline}`, "--csv",
          ],
          signal: AbortSignal.any([bench.signal, AbortSignal.timeout(LIMIT)]),
        });
        return output;
      };
      const what = pipeline === 1
        ? "no pipelining"
        : `pipelines of ${pipeline}`;
      // Once for nothing: the compiler of a runtime sees what is hot.
      for (const way of ways.list) await load(way);
      await inTurn(bench, ways.list, {
        what: `Redis, ${what}`,
        measure: async (way) => {
          const output = await load(way);
          return ["SET", "GET"].map((test) => {
            const rate = new RegExp(`^"${test}","([\\d.]+)"`, "m")
              .exec(output)?.[1];
            if (rate === undefined) {
              throw new Error(`redis-benchmark said: ${output.slice(-200)}`);
            }
            return {
              figure: {
                title: `${test}, ${CONNECTIONS} connections, ${what}`,
                unit: "requests/s",
                reach: [
                  { way: "tunnel", of: "ratio", atLeast: 1 },
                  { way: "sealed", of: "ratio", to: "tunnel", atLeast: 0.9 },
                ],
              },
              value: Number(rate),
            };
          });
        },
      });
    }
  },
};
