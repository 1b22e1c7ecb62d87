/**
 * Measures how throughput and round trip change as tunnels become many, and as
 * the path becomes long.
 *
 * @module
 */

import {
  gigabits,
  type Group,
  inTurn,
  type Measured,
  openWays,
} from "./bench.ts";
import { runLoad, startLoad, startTarget } from "./generator.ts";
import type { Way } from "./ways.ts";

/** Numbers of tunnels. */
const TUNNELS = [1, 10, 100, 1_000] as const;

/** Delays added each way, in ms. */
const DELAYS = [5, 20, 50] as const;

/** Rounds of these figures at most: the curve is what counts. */
const ROUNDS = 2;

/** How long streams run, once all have begun, before they count, in seconds: on a long path windows grow over many round trips. */
const SKIP = { near: 0.5, far: 2.5 } as const;

/** How long streams count, in seconds. */
const SECONDS = 2;

const WAYS = ["direct", "ssh", "tunnel", "other"] as const;

/** Growth with tunnels and with delay. */
export const growth: Group = {
  name: "growth",
  title: "Growth",
  method:
    "`bench/load.ts` streams, down, all together; then ping-pong, 64 bytes on one connection, p50",
  run: async (bench) => {
    await using target = await startTarget(bench);
    const measure = async (
      { endpoint: to }: Way,
      options: {
        readonly streams: number;
        readonly skip: number;
        readonly titles: readonly [throughput: string, roundTrip: string];
      },
    ): Promise<Measured[]> => {
      const { streams, skip, titles } = options;
      const { bytesPerSecond } = await runLoad(
        { do: "streams", to, streams, skip, seconds: SECONDS },
        bench,
      );
      const others = streams === 1
        ? undefined
        : await startLoad({ do: "hold", to, count: streams - 1 }, bench);
      await using _others = others?.process;
      const { p50 } = await runLoad(
        { do: "ping-pong", to, bytes: 64, seconds: 1 },
        bench,
      );
      return [
        {
          figure: { title: titles[0], unit: "Gbit/s" },
          value: gigabits(bytesPerSecond),
        },
        { figure: { title: titles[1], unit: "µs" }, value: p50 },
      ];
    };
    {
      await using ways = await openWays(bench, WAYS, target.endpoint);
      for (const streams of TUNNELS) {
        const what = streams === 1 ? "1 tunnel" : `${streams} tunnels`;
        const titles = [
          `${what}, all busy`,
          `${what}, the others idle`,
        ] as const;
        await inTurn(bench, ways.list, {
          what,
          atMost: ROUNDS,
          measure: (way) => measure(way, { streams, skip: SKIP.near, titles }),
        });
      }
    }
    for (const delay of DELAYS) {
      await using ways = await openWays(bench, WAYS, target.endpoint, {
        delay,
      });
      const what = `${delay} ms added each way`;
      const titles = [`one stream, ${what}`, `round trip, ${what}`] as const;
      await inTurn(bench, ways.list, {
        what,
        atMost: ROUNDS,
        measure: (way) => measure(way, { streams: 1, skip: SKIP.far, titles }),
      });
    }
  },
};
