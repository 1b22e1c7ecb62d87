/**
 * Measures what tunnels cost that do nothing: memory, and CPU time at rest.
 *
 * @module
 */

import { messageOf } from "../lib/base/errors.ts";
import { pause } from "../integration_tests/support/changes.ts";
import { type Bench, type Group, openWays } from "./bench.ts";
import { startLoad, startTarget } from "./generator.ts";
import type { Figure, Parts } from "./measure.ts";
import { cpuOf, differenceOf, memoryOf, totalOf } from "./usage.ts";
import type { Way } from "./ways.ts";

/** Numbers of idle tunnels; each next one adds to those already open. */
const COUNTS = {
  /** Opening 10,000 through ssh takes two minutes: not twice. */
  first: [1_000, 10_000],
  later: [1_000],
} as const;

/** Before memory is read, in ms: buffers are given back. */
const SETTLE = 3_000;

/**
 * The same where a garbage collector is at work: V8 collects what the opening
 * has left behind 15 to 30 s after it, when it sees that nothing goes on.
 */
const COLLECT = 40_000;

/** How long CPU time at rest is watched, in ms. */
const REST = 10_000;

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
  method:
    `VmRSS in /proc/PID/status of the way's processes, with no tunnel open; its growth to N tunnels open, by N (\`bench/load.ts\` hold: each had one byte echoed, 50 opened at once); user and system time of all processes over ${
      REST / 1000
    } s; each after ${COLLECT / 1000} s of rest (${
      SETTLE / 1000
    } s for ssh, which has no garbage to collect)`,
  run: async (bench) => {
    await using target = await startTarget(bench);
    for (let round = 0; round < Math.min(bench.rounds, ROUNDS); round++) {
      for (const name of ["ssh", "tunnel", "sealed", "other"] as const) {
        await using ways = await openWays(bench, [name], target.endpoint, {
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
  const { name, processes, endpoint: to } = way;
  const record = (figure: Figure, parts: Parts): void =>
    bench.record(name, round, { figure, value: totalOf(parts), parts });
  const settle = (): Promise<void> =>
    pause(name === "ssh" ? SETTLE : COLLECT, bench.signal);
  await settle();
  const rest = await memoryOf(processes);
  record(
    { title: "memory at rest, all processes", unit: "MiB" },
    differenceOf(rest, {}, 1 / MIB),
  );
  bench.record(name, round, {
    figure: {
      title: "memory at rest, the largest process",
      unit: "MiB",
      reach: [{ way: "tunnel", of: "value", atMost: 80 }],
    },
    value: Math.max(...Object.values(rest)) / MIB,
  });
  await using held = new AsyncDisposableStack();
  let open = 0;
  for (const count of COUNTS[round === 0 ? "first" : "later"]) {
    const tunnels = `${count.toLocaleString("en-US")} idle tunnels`;
    const more = count - open;
    try {
      const { process, result } = await startLoad(
        { do: "hold", to, count: more },
        bench,
      );
      held.use(process);
      open = count;
      bench.record(name, round, {
        figure: { title: `opening ${tunnels}`, unit: "connections/s" },
        value: more / result.seconds,
      });
    } catch (error) {
      bench.signal.throwIfAborted();
      const where = `${tunnels}, ${name}, round ${round + 1}`;
      bench.skip(where, messageOf(error), "fault");
      return;
    }
    await settle();
    record({
      title: `memory for each of ${tunnels}`,
      unit: "KiB",
      reach: [{ way: "tunnel", of: "value", atMost: 20 }],
    }, differenceOf(await memoryOf(processes), rest, 1 / count / KIB));
    const before = await cpuOf(processes);
    const start = performance.now();
    await pause(REST, bench.signal);
    const seconds = (performance.now() - start) / 1000;
    record({
      title: `CPU with ${tunnels}`,
      unit: "% of a core",
      reach: [{ way: "tunnel", of: "value", atMost: 2 }],
    }, differenceOf(await cpuOf(processes), before, 100 / seconds));
  }
}
