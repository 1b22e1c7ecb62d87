/**
 * How throughput and round trip change as tunnels become many, and as the
 * path becomes long.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import { type Bench, type Group, inTurn, openWays } from "./bench.ts";
import { runLoad, startLoad, startTarget } from "./generator.ts";
import type { Figure } from "./measure.ts";

/** Numbers of tunnels. */
const TUNNELS = { full: [1, 10, 100, 1_000], quick: [1, 100] } as const;

/** Delays added each way, in ms. */
const DELAYS = { full: [5, 20, 50], quick: [20] } as const;

/** Rounds of these figures at most: the curve is what counts. */
const ROUNDS = 2;

/** How long streams run, once all have begun, before they count, in seconds. */
const SKIP = 0.5;

/** The same on a long path: windows grow over many round trips. */
const SKIP_DELAYED = { full: 2.5, quick: 1.5 } as const;

/** Bytes of a message. */
const BYTES = 64;

/** Growth with tunnels and with delay. */
export const growth: Group = {
  name: "growth",
  title: "Growth",
  run: async (bench) => {
    await using target = await startTarget(bench);
    await growTunnels(bench, target.endpoint);
    for (const delay of DELAYS[bench.quick ? "quick" : "full"]) {
      await withDelay(bench, target.endpoint, delay);
    }
  },
};

async function growTunnels(bench: Bench, target: Endpoint): Promise<void> {
  await using ways = await openWays(bench, ["direct", "ssh", "tunnel"], {
    target,
  });
  for (const count of TUNNELS[bench.quick ? "quick" : "full"]) {
    const name = count === 1 ? "1 tunnel" : `${count} tunnels`;
    await inTurn(bench, ways.list, {
      what: name,
      rounds: Math.min(bench.rounds, ROUNDS),
      measure: async (way, round) => {
        const to = way.endpoint;
        const seconds = bench.quick ? 1 : 1.5;
        const { bytesPerSecond } = await runLoad({
          do: "streams",
          to,
          streams: count,
          skip: SKIP,
          seconds,
        }, bench);
        const at = { way: way.name, round };
        bench.record(
          throughput(`growth.throughput.${count}`, `${name}, all busy`),
          { ...at, value: bytesPerSecond * 8 / 1e9 },
        );
        const others = count === 1
          ? undefined
          : await startLoad({ do: "hold", to, count: count - 1 }, bench);
        await using _others = others?.process;
        const { p50 } = await runLoad(
          { do: "ping-pong", to, bytes: BYTES, seconds: 1 },
          bench,
        );
        bench.record(
          roundTrip(`growth.latency.${count}`, `${name}, the others idle`),
          { ...at, value: p50 },
        );
      },
    });
  }
}

async function withDelay(
  bench: Bench,
  target: Endpoint,
  delay: number,
): Promise<void> {
  await using ways = await openWays(bench, ["direct", "ssh", "tunnel"], {
    target,
    delay,
  });
  const name = `${delay} ms added each way`;
  await inTurn(bench, ways.list, {
    what: name,
    rounds: Math.min(bench.rounds, ROUNDS),
    measure: async (way, round) => {
      const to = way.endpoint;
      const { bytesPerSecond } = await runLoad({
        do: "streams",
        to,
        streams: 1,
        skip: SKIP_DELAYED[bench.quick ? "quick" : "full"],
        seconds: bench.quick ? 1 : 2,
      }, bench);
      const at = { way: way.name, round };
      bench.record(
        throughput(`delay.throughput.${delay}`, `one stream, ${name}`),
        { ...at, value: bytesPerSecond * 8 / 1e9 },
      );
      const { p50 } = await runLoad(
        { do: "ping-pong", to, bytes: BYTES, seconds: 1 },
        bench,
      );
      bench.record(
        roundTrip(`delay.latency.${delay}`, `round trip, ${name}`),
        { ...at, value: p50 },
      );
    },
  });
}

function throughput(id: string, title: string): Figure {
  return {
    id,
    group: "growth",
    title,
    unit: "Gbit/s",
    better: "higher",
    command: "`bench/load.ts` streams, down, all together",
  };
}

function roundTrip(id: string, title: string): Figure {
  return {
    id,
    group: "growth",
    title,
    unit: "µs",
    better: "lower",
    command:
      `\`bench/load.ts\` ping-pong, ${BYTES} bytes on one connection, p50`,
  };
}
