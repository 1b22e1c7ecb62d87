/**
 * Measures round trips of 64 bytes on one connection that is alone.
 *
 * @module
 */

import { type Group, inTurn, openWays } from "./bench.ts";
import { runLoad, startTarget } from "./generator.ts";

/** Bytes of a message. */
const BYTES = 64;

/** How long round trips are timed, in seconds. */
const SECONDS = 2;

/** What the round trips must not exceed, against `ssh -L`. */
const AT_MOST = { p50: 1.4, p99: 2 } as const;

/** What a sealed tunnel may add to them. */
const SEALED_AT_MOST = 1.1;

/** Round trips. */
export const latency: Group = {
  name: "latency",
  title: "Round trip",
  method:
    `\`bench/load.ts\` ping-pong: one connection, ${BYTES} bytes to and fro`,
  run: async (bench) => {
    await using target = await startTarget(bench);
    await using ways = await openWays(
      bench,
      [
        "direct",
        "ssh",
        "tunnel",
        "sealed",
        "json",
        "bare",
        "other",
        "chisel",
        "peer",
      ],
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
            title: `${BYTES} bytes to and fro, ${quantile}`,
            unit: "µs",
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
  },
};
