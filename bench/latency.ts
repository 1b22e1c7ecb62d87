/**
 * Measures round trips of 64 bytes on one connection: alone, and beside a bulk
 * stream through the same way.
 *
 * @module
 */

import { gigabits, type Group, inTurn, openWays } from "./bench.ts";
import { runLoad, startTarget } from "./generator.ts";
import { WARM_UP } from "./load.ts";
import type { Figure } from "./measure.ts";

/** Bytes of a message. */
const BYTES = 64;

/** How long round trips are timed, in seconds. */
const SECONDS = 2;

/** How much sooner or later than the round trips the bulk stream may begin, in seconds: it runs on so long. */
const BULK_MARGIN = 0.3;

/** What the round trips must not exceed, against `ssh -L`. */
const AT_MOST = { p50: 1.4, p99: 2 } as const;

/** What a sealed tunnel may add to them. */
const SEALED_AT_MOST = 1.1;

/** Round trips. */
export const latency: Group = {
  name: "latency",
  title: "Round trip",
  method:
    `\`bench/load.ts\` ping-pong: one connection, ${BYTES} bytes to and fro; the bulk stream beside it is \`bench/load.ts\` streams: one, down`,
  run: async (bench) => {
    await using target = await startTarget(bench);
    await using ways = await openWays(
      bench,
      ["direct", "ssh", "tunnel", "sealed", "json", "bare", "other"],
      target.endpoint,
    );
    await inTurn(bench, ways.list, {
      what: "round trip",
      measure: async ({ endpoint: to }) => {
        const times = await runLoad(
          { do: "ping-pong", to, bytes: BYTES, seconds: SECONDS },
          bench,
        );
        return (["p50", "p99"] as const).map((quantile) => ({
          figure: {
            ...roundTrip(quantile),
            reach: [
              { way: "tunnel", of: "ratio", atMost: AT_MOST[quantile] },
              {
                way: "sealed",
                of: "ratio",
                to: "tunnel",
                atMost: SEALED_AT_MOST,
              },
            ],
          },
          value: times[quantile],
        }));
      },
    });
    // Without flow control a bulk stream is nothing for the bare relays.
    const careful = ways.list.filter(({ name }) => name !== "bare");
    await inTurn(bench, careful, {
      what: "round trip beside bulk",
      measure: async ({ endpoint: to }) => {
        // Both end by themselves; neither may be left behind by the other's failure.
        const [pings, bulk] = await Promise.allSettled([
          runLoad(
            { do: "ping-pong", to, bytes: BYTES, seconds: SECONDS },
            bench,
          ),
          runLoad({
            do: "streams",
            to,
            streams: 1,
            skip: WARM_UP / 1000,
            seconds: SECONDS + 2 * BULK_MARGIN,
          }, bench),
        ]);
        if (pings.status === "rejected") throw pings.reason;
        if (bulk.status === "rejected") throw bulk.reason;
        const { p50, p99 } = pings.value;
        return [
          { figure: roundTrip("p50", ", beside a bulk stream"), value: p50 },
          { figure: roundTrip("p99", ", beside a bulk stream"), value: p99 },
          {
            figure: { title: "the bulk stream meanwhile", unit: "Gbit/s" },
            value: gigabits(bulk.value.bytesPerSecond),
          },
        ];
      },
    });
  },
};

function roundTrip(quantile: string, beside: string = ""): Figure {
  return {
    title: `${BYTES} bytes to and fro, ${quantile}${beside}`,
    unit: "µs",
  };
}
