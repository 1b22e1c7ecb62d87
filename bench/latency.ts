/**
 * Round trips of 64 bytes on one connection: alone, and beside a bulk stream
 * through the same way.
 *
 * @module
 */

import { type Bench, type Group, inTurn, openWays } from "./bench.ts";
import { runLoad, startTarget } from "./generator.ts";
import { WARM_UP } from "./load_protocol.ts";
import type { Figure, Reach } from "./measure.ts";

/** Bytes of a message. */
const BYTES = 64;

/** How much sooner or later than the round trips the bulk stream may begin, in seconds: it runs on so long. */
const BULK_MARGIN = 0.3;

/** What the round trips must not exceed, against `ssh -L`. */
const REACH = {
  p50: [{ way: "tunnel", of: "ratio", atMost: 1.4 }],
  p99: [{ way: "tunnel", of: "ratio", atMost: 2 }],
} as const satisfies Record<string, readonly Reach[]>;

/** Round trips. */
export const latency: Group = {
  name: "latency",
  title: "Round trip",
  run: async (bench) => {
    await using target = await startTarget(bench);
    await using ways = await openWays(
      bench,
      ["direct", "ssh", "tunnel", "other", "json", "bare"],
      { target: target.endpoint },
    );
    for (const beside of [false, true]) {
      // Without flow control a bulk stream is nothing for the bare relays.
      const list = ways.list.filter(({ name }) => !beside || name !== "bare");
      await inTurn(bench, list, {
        what: beside ? "round trip beside bulk" : "round trip",
        rounds: bench.rounds,
        measure: async (way, round) => {
          const seconds = bench.quick ? 1 : 2;
          const pings = runLoad(
            { do: "ping-pong", to: way.endpoint, bytes: BYTES, seconds },
            bench,
          );
          const streams = beside
            ? runLoad({
              do: "streams",
              to: way.endpoint,
              streams: 1,
              skip: WARM_UP / 1000,
              seconds: seconds + 2 * BULK_MARGIN,
            }, bench)
            : undefined;
          // Both end by themselves; neither may be left behind by the other's failure.
          const [pong, stream] = await Promise.allSettled([pings, streams]);
          if (pong.status === "rejected") throw pong.reason;
          if (stream.status === "rejected") throw stream.reason;
          record(bench, { p50: pong.value.p50, p99: pong.value.p99 }, {
            way: way.name,
            round,
            beside,
          });
          if (stream.value) {
            bench.record(besideFigure(), {
              way: way.name,
              round,
              value: stream.value.bytesPerSecond * 8 / 1e9,
            });
          }
        },
      });
    }
  },
};

function record(
  bench: Bench,
  times: { readonly p50: number; readonly p99: number },
  place: {
    readonly way: Parameters<Bench["record"]>[1]["way"];
    readonly round: number;
    readonly beside: boolean;
  },
): void {
  const { way, round, beside } = place;
  for (const quantile of ["p50", "p99"] as const) {
    bench.record(roundTripFigure(quantile, beside), {
      way,
      round,
      value: times[quantile],
    });
  }
}

function roundTripFigure(quantile: "p50" | "p99", beside: boolean): Figure {
  return {
    id: `latency.${beside ? "beside" : "alone"}.${quantile}`,
    group: "latency",
    title: `${BYTES} bytes to and fro, ${quantile}${
      beside ? ", beside a bulk stream" : ""
    }`,
    unit: "µs",
    better: "lower",
    command: `\`bench/load.ts\` ping-pong, one connection, ${BYTES} bytes${
      beside ? ", while one stream goes down the same way" : ""
    }`,
    ...(beside ? {} : { reach: REACH[quantile] }),
  };
}

function besideFigure(): Figure {
  return {
    id: "latency.beside.bulk",
    group: "latency",
    title: "the bulk stream meanwhile",
    unit: "Gbit/s",
    better: "higher",
    command:
      `\`bench/load.ts\` streams, one, down; ${BULK_MARGIN} s longer at each end`,
  };
}
