/**
 * How many connections a second can be opened, used for one byte and closed.
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
  run: async (bench) => {
    await using target = await startTarget(bench);
    await using ways = await openWays(bench, [
      "direct",
      "ssh",
      "tunnel",
      "other",
      "bare",
    ], {
      target: target.endpoint,
    });
    for (const concurrency of CONCURRENCY) {
      await inTurn(bench, ways.list, {
        what: `connections, ${concurrency} at once`,
        rounds: bench.rounds,
        measure: async (way, round) => {
          const { perSecond, failures } = await runLoad({
            do: "connections",
            to: way.endpoint,
            concurrency,
            seconds: bench.quick ? 1 : 2,
          }, bench);
          if (failures > 0) throw new Error(`${failures} connections failed`);
          bench.record(figure(concurrency), {
            way: way.name,
            round,
            value: perSecond,
          });
        },
      });
    }
  },
};

function figure(concurrency: number): Figure {
  return {
    id: `connections.${concurrency}`,
    group: "connections",
    title: concurrency === 1 ? "one after the other" : `${concurrency} at once`,
    unit: "connections/s",
    better: "higher",
    command:
      `\`bench/load.ts\` connections, open, one byte echoed, close; ${concurrency} at once`,
    reach: [{ way: "tunnel", of: "ratio", atLeast: 0.8 }],
  };
}
