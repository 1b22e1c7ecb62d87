/**
 * Bulk: how many bytes a second, with iperf3 and with a sender of our own
 * whose SHA-256 is compared, and what they cost in CPU time.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import { freePort } from "../integration_tests/support/addresses.ts";
import {
  type Process,
  run,
  spawn,
} from "../integration_tests/support/processes.ts";
import { type Bench, type Group, inTurn, openWays } from "./bench.ts";
import { BLOCK_BYTES } from "./blocks.ts";
import { runLoad, startTarget } from "./generator.ts";
import type { Figure, Reach } from "./measure.ts";
import { cpuOf, differenceOf, totalOf } from "./usage.ts";
import type { Way } from "./ways.ts";

/** Numbers of streams; iperf3 takes 128 at most. */
const STREAMS = [1, 8, 64] as const;

/** `up` is from who connects to the target, `down` the other way. */
const DIRECTIONS = ["up", "down"] as const;

/** What one stream and eight must reach, against `ssh -L`. */
const REACH: Readonly<Record<number, readonly Reach[]>> = {
  1: [
    { way: "tunnel", of: "ratio", atLeast: 0.85 },
    { way: "json", of: "ratio", atLeast: 0.25 },
  ],
  8: [{ way: "tunnel", of: "ratio", atLeast: 0.95 }],
};

/** How long iperf3 may take beyond its own time, in ms. */
const IPERF_GRACE = 20_000;

/** How long iperf3's server may take to listen, in ms. */
const READY_LIMIT = 10_000;

/** Tries to find it a port that is still free. */
const TRIES = 5;

/** Bytes of one hashed transfer, in blocks: 256 MiB, or 64 MiB when quick. */
const TRANSFER_BLOCKS = { full: 1024, quick: 256 } as const;

/** Bulk figures. */
export const bulk: Group = {
  name: "bulk",
  title: "Bulk",
  run: async (bench) => {
    await measureIperf(bench);
    await measureTransfer(bench);
  },
};

type Direction = typeof DIRECTIONS[number];

function streamsOf(count: number): string {
  return count === 1 ? "one stream" : `${count} streams`;
}

function iperfFigure(
  streams: number,
  direction: Direction,
  seconds: number,
): Figure {
  return {
    id: `bulk.${streams}.${direction}`,
    group: "bulk",
    title: `${streamsOf(streams)} ${direction}`,
    unit: "Gbit/s",
    better: "higher",
    command: `\`iperf3 -c 127.0.0.1 -p PORT -t ${seconds} -P ${streams}${
      direction === "down" ? " -R" : ""
    } -J\``,
    ...(REACH[streams] ? { reach: REACH[streams] } : {}),
  };
}

function cpuFigure(direction: Direction): Figure {
  return {
    id: `bulk.cpu.${direction}`,
    group: "bulk",
    title: `CPU time, one stream ${direction}`,
    unit: "s/GB",
    better: "lower",
    command:
      "user and system time of the way's processes (/proc/PID/stat) over the iperf3 run, by bytes received",
  };
}

async function measureIperf(bench: Bench): Promise<void> {
  const command = bench.tools.get("iperf3");
  if (command === undefined) {
    bench.skip("bulk with iperf3", "iperf3 is missing");
    return;
  }
  const server = await startIperfServer(bench, command);
  await using _server = server.process;
  await using ways = await openWays(
    bench,
    ["direct", "ssh", "tunnel", "other", "json"],
    { target: server.endpoint },
  );
  const seconds = bench.quick ? 1 : 2;
  for (const streams of STREAMS) {
    // JSON is measured where it has something to reach.
    const measured = ways.list.filter(({ name }) =>
      name !== "json" || streams === 1
    );
    for (const direction of DIRECTIONS) {
      const figure = iperfFigure(streams, direction, seconds);
      await inTurn(bench, measured, {
        what: figure.title,
        rounds: bench.rounds,
        measure: async (way, round) => {
          const before = await cpuOf(way.processes);
          const { bytes, bitsPerSecond } = await runIperf(bench, command, {
            server: server.process,
            way,
            streams,
            direction,
            seconds,
          });
          const used = differenceOf(await cpuOf(way.processes), before);
          const place = { way: way.name, round };
          bench.record(figure, { ...place, value: bitsPerSecond / 1e9 });
          if (streams > 1 || way.name === "direct") return;
          const parts = differenceOf(used, {}, 1e9 / bytes);
          bench.record(cpuFigure(direction), {
            ...place,
            value: totalOf(parts),
            parts,
          });
        },
      });
    }
  }
}

async function startIperfServer(
  bench: Bench,
  command: string,
): Promise<{ readonly process: Process; readonly endpoint: Endpoint }> {
  for (let attempt = 1;; attempt++) {
    const port = freePort();
    const process = spawn(command, {
      name: "iperf3 server",
      args: ["-s", "-B", "127.0.0.1", "-p", String(port), "--forceflush"],
    });
    try {
      await listening(bench, process, 0);
      return { process, endpoint: { hostname: "127.0.0.1", port } };
    } catch (error) {
      await process.kill();
      // The port was taken in between, most likely.
      if (attempt === TRIES || bench.signal.aborted) throw error;
    }
  }
}

interface IperfRun {
  readonly server: Process;
  readonly way: Way;
  readonly streams: number;
  readonly direction: Direction;
  readonly seconds: number;
}

interface IperfResult {
  readonly bytes: number;
  readonly bitsPerSecond: number;
}

/**
 * Runs iperf3 once, and waits until its server takes the next run: in between
 * it is busy with the end of this one, then does not listen for a moment.
 */
async function runIperf(
  bench: Bench,
  command: string,
  options: IperfRun,
): Promise<IperfResult> {
  const { server } = options;
  const mark = server.mark();
  try {
    return await iperf(bench, command, options);
  } finally {
    await listening(bench, server, mark);
  }
}

async function listening(
  bench: Bench,
  server: Process,
  mark: number,
): Promise<void> {
  await server.waitForLine((line) => line.startsWith("Server listening"), {
    since: mark,
    signal: AbortSignal.any([bench.signal, AbortSignal.timeout(READY_LIMIT)]),
  });
}

async function iperf(
  bench: Bench,
  command: string,
  options: IperfRun,
): Promise<IperfResult> {
  const { way, streams, direction, seconds } = options;
  const { hostname, port } = way.endpoint;
  const { output } = await run(command, {
    args: [
      "-c",
      hostname,
      "-p",
      String(port),
      "-t",
      String(seconds),
      "-P",
      String(streams),
      ...(direction === "down" ? ["-R"] : []),
      "-J",
    ],
    signal: AbortSignal.any([
      bench.signal,
      AbortSignal.timeout(seconds * 1000 + IPERF_GRACE),
    ]),
  });
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

function transferFigure(direction: Direction, mebibytes: number): Figure {
  return {
    id: `bulk.hashed.${direction}`,
    group: "bulk",
    title: `${mebibytes} MiB ${direction}, SHA-256 compared`,
    unit: "Gbit/s",
    better: "higher",
    command:
      `\`bench/load.ts\` transfer, ${mebibytes} MiB from open to EOF, hashed at both ends`,
  };
}

async function measureTransfer(bench: Bench): Promise<void> {
  const blocks = TRANSFER_BLOCKS[bench.quick ? "quick" : "full"];
  const mebibytes = blocks * BLOCK_BYTES / 1024 / 1024;
  await using target = await startTarget(bench);
  await using ways = await openWays(
    bench,
    ["direct", "ssh", "tunnel", "other", "json"],
    { target: target.endpoint },
  );
  for (const direction of DIRECTIONS) {
    const figure = transferFigure(direction, mebibytes);
    await inTurn(bench, ways.list, {
      what: figure.title,
      rounds: Math.min(bench.rounds, 3),
      measure: async (way, round) => {
        const { bytesPerSecond, equal } = await runLoad(
          { do: "transfer", to: way.endpoint, direction, blocks },
          bench,
        );
        if (!equal) throw new Error("the SHA-256 of the two ends differ");
        const value = bytesPerSecond * 8 / 1e9;
        bench.record(figure, { way: way.name, round, value });
      },
    });
  }
}
