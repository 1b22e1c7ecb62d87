/**
 * What tunnels cost that do nothing: memory, and CPU time at rest.
 *
 * @module
 */

import { type Bench, type Group, openWays, pause } from "./bench.ts";
import { startLoad, startTarget } from "./generator.ts";
import type { Figure, Parts, WayName } from "./measure.ts";
import {
  cpuOf,
  differenceOf,
  largestOf,
  memoryOf,
  openFilesLimit,
  totalOf,
} from "./usage.ts";
import type { Way } from "./ways.ts";

/** Numbers of idle tunnels; each next one adds to those already open. */
const COUNTS = {
  /** Opening 10,000 through ssh takes two minutes: not twice. */
  first: [1_000, 10_000],
  later: [1_000],
  quick: [1_000],
} as const;

/** Descriptors a process needs beside one for each tunnel. */
const SPARE_FILES = 200;

/** Before memory is read, in ms: buffers are given back. */
const SETTLE = 3_000;

/**
 * The same where a garbage collector is at work: V8 collects what the opening
 * has left behind 15 to 30 s after it, when it sees that nothing goes on.
 */
const COLLECT = 40_000;

/** How long CPU time at rest is watched, in ms. */
const REST = { full: 10_000, quick: 3_000 } as const;

/** Rounds, each with new processes: memory varies little. */
const ROUNDS = 2;

/** Tunnels one client may have at a server: the default is less than is opened here. */
const SERVER_ARGS = ["--max-tunnels-per-client", "20000"];

const KIB = 1024;
const MIB = 1024 * 1024;

/** Memory and rest. */
export const memory: Group = {
  name: "memory",
  title: "Idle tunnels",
  run: async (bench) => {
    await using target = await startTarget(bench);
    for (let round = 0; round < Math.min(bench.rounds, ROUNDS); round++) {
      for (const name of ["ssh", "tunnel"] as const) {
        await using ways = await openWays(bench, [name], {
          target: target.endpoint,
          serverArgs: SERVER_ARGS,
        });
        for (const way of ways.list) await measureWay(bench, way, round);
      }
    }
  },
};

async function measureWay(
  bench: Bench,
  way: Way,
  round: number,
): Promise<void> {
  const at = { way: way.name, round };
  const settle = way.name === "ssh" || bench.quick ? SETTLE : COLLECT;
  await pause(bench, settle);
  const rest = await memoryOf(way.processes);
  record(bench, atRest, at, differenceOf(rest, {}, 1 / MIB));
  bench.record(largest, {
    ...at,
    value: await largestOf(way.processes) / MIB,
  });
  await using held = new AsyncDisposableStack();
  let open = 0;
  for (const count of countsOf(bench, round)) {
    try {
      await checkLimit(way, count);
      const more = count - open;
      const { process, result } = await startLoad(
        { do: "hold", to: way.endpoint, count: more },
        bench,
      );
      held.use(process);
      open = count;
      bench.record(opening(more, count), {
        ...at,
        value: more / result.seconds,
      });
    } catch (error) {
      bench.signal.throwIfAborted();
      bench.fail(
        `${count} idle tunnels, ${way.name}, round ${round + 1}`,
        error,
      );
      return;
    }
    await pause(bench, settle);
    const now = await memoryOf(way.processes);
    record(
      bench,
      idle(bench, count),
      at,
      differenceOf(now, rest, 1 / count / KIB),
    );
    const watched = REST[bench.quick ? "quick" : "full"];
    const before = await cpuOf(way.processes);
    const start = performance.now();
    await pause(bench, watched);
    const seconds = (performance.now() - start) / 1000;
    record(
      bench,
      cpu(bench, count, watched),
      at,
      differenceOf(await cpuOf(way.processes), before, 100 / seconds),
    );
  }
}

function countsOf(bench: Bench, round: number): readonly number[] {
  return COUNTS[bench.quick ? "quick" : round === 0 ? "first" : "later"];
}

/** @throws {Error} when a process of the way may not open so many files. */
async function checkLimit(way: Way, count: number): Promise<void> {
  const limit = await openFilesLimit(way.processes);
  if (limit < count + SPARE_FILES) {
    throw new Error(
      `a process may open ${limit} files: raise the limit (ulimit -n)`,
    );
  }
}

function record(
  bench: Bench,
  figure: Figure,
  at: { readonly way: WayName; readonly round: number },
  parts: Parts,
): void {
  bench.record(figure, { ...at, value: totalOf(parts), parts });
}

const atRest: Figure = {
  id: "memory.rest",
  group: "memory",
  title: "memory at rest, all processes",
  unit: "MiB",
  better: "lower",
  command: "VmRSS in /proc/PID/status of the way's processes, no tunnel open",
};

const largest: Figure = {
  ...atRest,
  id: "memory.rest.largest",
  title: "memory at rest, the largest process",
  reach: [{ way: "tunnel", of: "value", atMost: 80 }],
};

/** How long nothing went on before a figure was read. */
function settled(bench: Bench): string {
  return bench.quick
    ? `after ${SETTLE / 1000} s of rest`
    : `after ${COLLECT / 1000} s of rest (${
      SETTLE / 1000
    } s for ssh, which has no garbage to collect)`;
}

function idle(bench: Bench, count: number): Figure {
  return {
    id: `memory.idle.${count}`,
    group: "memory",
    title: `memory for each of ${count.toLocaleString("en-US")} idle tunnels`,
    unit: "KiB",
    better: "lower",
    command:
      `growth of VmRSS of all processes from rest to ${count} open, by ${count}; each had one byte echoed; ${
        settled(bench)
      }`,
    reach: [{ way: "tunnel", of: "value", atMost: 20 }],
  };
}

function opening(more: number, count: number): Figure {
  return {
    id: `memory.open.${count}`,
    group: "memory",
    title: `opening ${
      count === more ? "" : `${more.toLocaleString("en-US")} more, to `
    }${count.toLocaleString("en-US")}`,
    unit: "connections/s",
    better: "higher",
    command:
      "`bench/load.ts` hold, open and one byte echoed, 50 at once; none is closed",
  };
}

function cpu(bench: Bench, count: number, watched: number): Figure {
  return {
    id: `cpu.idle.${count}`,
    group: "memory",
    title: `CPU with ${count.toLocaleString("en-US")} idle tunnels`,
    unit: "% of a core",
    better: "lower",
    command: `user and system time of all processes over ${watched / 1000} s, ${
      settled(bench)
    }`,
    reach: [{ way: "tunnel", of: "value", atMost: 2 }],
  };
}
