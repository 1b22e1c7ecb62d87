/**
 * Redis with redis-benchmark over 50 connections, with and without pipelining.
 *
 * @module
 */

import { parseAddress } from "../integration_tests/support/addresses.ts";
import { run } from "../integration_tests/support/processes.ts";
import { startOwnRedis } from "../integration_tests/support/redis_server.ts";
import { type Group, inTurn, openWays } from "./bench.ts";
import type { Figure } from "./measure.ts";
import type { Way } from "./ways.ts";

/** Connections of the benchmark. */
const CONNECTIONS = 50;

/** Requests of one run, by commands in a pipeline: about two seconds through a tunnel. */
const REQUESTS: ReadonlyMap<number, { full: number; quick: number }> = new Map([
  [1, { full: 40_000, quick: 20_000 }],
  [16, { full: 300_000, quick: 100_000 }],
]);

/** How long a run may take, in ms. */
const LIMIT = 60_000;

/** Redis figures. */
export const redis: Group = {
  name: "redis",
  title: "Redis",
  run: async (bench) => {
    const command = bench.tools.get("redis-benchmark");
    if (command === undefined || !bench.tools.has("redis-server")) {
      bench.skip("Redis", "redis-server or redis-benchmark is missing");
      return;
    }
    await using server = await startOwnRedis(bench);
    await using ways = await openWays(
      bench,
      ["direct", "ssh", "tunnel", "other", "json", "bare"],
      { target: parseAddress(server.address) },
    );
    for (const [pipeline, { full, quick }] of REQUESTS) {
      const requests = bench.quick ? quick : full;
      const load = async (way: Way): Promise<string> => {
        const { output } = await run(command, {
          args: argumentsOf(way.endpoint.port, pipeline, requests),
          signal: AbortSignal.any([bench.signal, AbortSignal.timeout(LIMIT)]),
        });
        return output;
      };
      // Once for nothing: the compiler of a runtime sees what is hot.
      await inTurn(bench, ways.list, {
        what: `Redis, pipelines of ${pipeline}, warming up`,
        rounds: 1,
        measure: async (way) => void await load(way),
      });
      await inTurn(bench, ways.list, {
        what: `Redis, pipelines of ${pipeline}`,
        rounds: bench.rounds,
        measure: async (way, round) => {
          const output = await load(way);
          for (const test of ["SET", "GET"]) {
            const rate = new RegExp(`^"${test}","([\\d.]+)"`, "m")
              .exec(output)?.[1];
            if (rate === undefined) {
              throw new Error(`redis-benchmark said: ${output.slice(-200)}`);
            }
            bench.record(figure(test, pipeline, requests), {
              way: way.name,
              round,
              value: Number(rate),
            });
          }
        },
      });
    }
  },
};

function argumentsOf(
  port: number | string,
  pipeline: number,
  requests: number,
): string[] {
  // deno-fmt-ignore
  return [
    "-h", "127.0.0.1", "-p", String(port), "-c", String(CONNECTIONS),
    "-n", String(requests), "-t", "set,get", "-P", String(pipeline), "--csv",
  ];
}

function figure(test: string, pipeline: number, requests: number): Figure {
  return {
    id: `redis.${pipeline}.${test.toLowerCase()}`,
    group: "redis",
    title: `${test}, ${CONNECTIONS} connections, ${
      pipeline === 1 ? "no pipelining" : `pipelines of ${pipeline}`
    }`,
    unit: "requests/s",
    better: "higher",
    command: `\`redis-benchmark ${
      argumentsOf("PORT", pipeline, requests).join(" ")
    }\``,
    reach: [{ way: "tunnel", of: "ratio", atLeast: 1 }],
  };
}
