/**
 * Measures bulk: how many bytes a second iperf3 gets through, and what they
 * cost in CPU time.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import {
  type Process,
  run,
  spawnOnFreePort,
} from "../integration_tests/support/processes.ts";
import { type Bench, type Group, inTurn, openWays } from "./bench.ts";
import type { Figure, Reach } from "./measure.ts";
import { cpuOf, differenceOf, totalOf } from "./usage.ts";
import type { Way } from "./ways.ts";

/** Numbers of streams; iperf3 takes 128 at most. */
const STREAMS = [1, 8, 64] as const;

/** `up` is from who connects to the target, `down` the other way. */
const DIRECTIONS = ["up", "down"] as const;

/** What a sealed tunnel keeps of the tunnel's rate. */
const SEALED: Reach = {
  way: "sealed",
  of: "ratio",
  to: "tunnel",
  atLeast: 0.7,
};

/** What one stream and eight must reach, against `ssh -L`, and sealed. */
const REACH: Readonly<Record<number, readonly Reach[]>> = {
  1: [
    { way: "tunnel", of: "ratio", atLeast: 0.85 },
    { way: "json", of: "ratio", atLeast: 0.25 },
    SEALED,
  ],
  8: [{ way: "tunnel", of: "ratio", atLeast: 0.95 }, SEALED],
};

/** How long a run takes unless told otherwise, in seconds. */
const SECONDS = 2;

/** How long iperf3 may take beyond its own time, in ms. */
const GRACE = 20_000;

/** What iperf3's server says when it takes the next run. */
const LISTENING = /^Server listening/;

/** Starts iperf3's server; it listens when this resolves. */
export async function startIperf(
  bench: Bench,
  command: string,
  through: readonly string[] = [],
): Promise<{ readonly process: Process; readonly endpoint: Endpoint }> {
  const [first = command, ...words] = [...through, command];
  return await spawnOnFreePort(first, {
    name: "iperf3 server",
    // deno-fmt-ignore
    args: (port) => [
      ...words, "-s", "-B", "127.0.0.1", "-p", `${port}`, "--forceflush",
    ],
    ready: LISTENING,
    signal: bench.signal,
  });
}

/** Bulk figures. */
export const bulk: Group = {
  name: "bulk",
  title: "Bulk",
  method:
    `\`iperf3 -c 127.0.0.1 -t ${SECONDS} -P STREAMS -J\`, down with \`-R\`; CPU time is user and system time of the way's processes (/proc/PID/stat) over that run, by bytes received`,
  run: async (bench) => {
    const command = bench.tools.get("iperf3");
    if (command === undefined) {
      bench.skip("bulk", "iperf3 is missing");
      return;
    }
    const { process: server, endpoint } = await startIperf(bench, command);
    await using _server = server;
    await using ways = await openWays(
      bench,
      ["direct", "ssh", "tunnel", "sealed", "json", "other", "chisel", "peer"],
      endpoint,
    );
    for (const streams of STREAMS) {
      // JSON is measured where it has something to reach.
      const measured = ways.list.filter(({ name }) =>
        name !== "json" || streams === 1
      );
      for (const direction of DIRECTIONS) {
        const what = `${
          streams === 1 ? "one stream" : `${streams} streams`
        } ${direction}`;
        const figure: Figure = {
          title: what,
          unit: "Gbit/s",
          ...(REACH[streams] ? { reach: REACH[streams] } : {}),
        };
        const cpu = { title: `CPU time, ${what}`, unit: "s/GB" };
        await inTurn(bench, measured, {
          what,
          measure: async (way) => {
            const before = await cpuOf(way.processes);
            const load = { command, server, streams, direction };
            const { bytes, bitsPerSecond } = await iperf(bench, way, load);
            const used = differenceOf(await cpuOf(way.processes), before);
            const speed = { figure, value: bitsPerSecond / 1e9 };
            if (streams > 1 || way.name === "direct") return [speed];
            const parts = differenceOf(used, {}, 1e9 / bytes);
            return [speed, { figure: cpu, value: totalOf(parts), parts }];
          },
        });
      }
    }
  },
};

/**
 * Runs iperf3 once, and waits until its server takes the next run: in between
 * it is busy with the end of this one, then does not listen for a moment.
 */
export async function iperf(
  bench: Bench,
  { endpoint }: Pick<Way, "endpoint">,
  options: {
    readonly command: string;
    readonly server: Process;
    readonly streams: number;
    readonly direction: (typeof DIRECTIONS)[number];
    /** How long it takes, in seconds. */
    readonly seconds?: number;
    /** What runs it elsewhere: a command and its arguments. */
    readonly through?: readonly string[];
  },
): Promise<{ readonly bytes: number; readonly bitsPerSecond: number }> {
  const { command, server, streams, direction } = options;
  const { seconds = SECONDS, through = [] } = options;
  const since = server.mark();
  const signal = AbortSignal.any([
    bench.signal,
    AbortSignal.timeout(seconds * 1000 + GRACE),
  ]);
  const [first = command, ...words] = [...through, command];
  const { output } = await run(first, {
    // deno-fmt-ignore
    args: [
      ...words, "-c", endpoint.hostname, "-p", `${endpoint.port}`, "-t", `${seconds}`,
      "-P", `${streams}`, ...(direction === "down" ? ["-R"] : []), "-J",
    ],
    signal,
  });
  await server.waitForLine((line) => LISTENING.test(line), { since, signal });
  const result = JSON.parse(output);
  if (typeof result.error === "string") throw new Error(result.error);
  const received = result.end?.sum_received;
  const bytes = Number(received?.bytes);
  const bitsPerSecond = Number(received?.bits_per_second);
  if (!(bytes > 0) || !(bitsPerSecond > 0)) {
    throw new Error(`iperf3 received nothing in ${seconds} s`);
  }
  return { bytes, bitsPerSecond };
}
