/**
 * Measures how many connections a second can be opened, used for one byte and
 * closed.
 *
 * @module
 */

import { type Group, inTurn, openWays } from "./bench.ts";
import { runLoad, startTarget } from "./generator.ts";
import type { Figure } from "./measure.ts";

/** Connections under way at once. */
const CONCURRENCY = [1, 50] as const;

/** Connection figures. */
export const connections: Group = {
  name: "connections",
  title: "Connections",
  method: "`bench/load.ts` connections: open, one byte echoed, close",
  run: async (bench) => {
    await using target = await startTarget(bench);
    await using ways = await openWays(
      bench,
      ["direct", "ssh", "tunnel", "sealed", "bare", "other", "chisel", "peer"],
      target.endpoint,
    );
    for (const concurrency of CONCURRENCY) {
      const figure: Figure = {
        title: concurrency === 1
          ? "one after the other"
          : `${concurrency} at once`,
        unit: "connections/s",
        reach: [{ way: "tunnel", of: "ratio", atLeast: 0.8 }],
      };
      await inTurn(bench, ways.list, {
        what: `connections, ${figure.title}`,
        measure: async ({ endpoint: to }) => {
          const { perSecond, failures } = await runLoad(
            { do: "connections", to, concurrency, seconds: 2 },
            bench,
          );
          if (failures > 0) throw new Error(`${failures} connections failed`);
          return [{ figure, value: perSecond }];
        },
      });
    }
  },
};
