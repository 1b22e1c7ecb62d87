/**
 * Measures what people feel beside a download: round trips of 64 bytes while
 * bulk streams use the same way, and what the streams lose to them.
 *
 * @module
 */

import type { Process } from "../integration_tests/support/processes.ts";
import { pause } from "../integration_tests/support/changes.ts";
import {
  type Bench,
  gigabits,
  type Group,
  inTurn,
  type Measured,
  openWays,
} from "./bench.ts";
import { runLoad, startLoad, startTarget } from "./generator.ts";
import type { Progress } from "./load.ts";
import type { Way } from "./ways.ts";

/** Bytes of a message. */
const BYTES = 64;

/** The bulk streams, by direction. */
const BULK = [
  { title: "1 stream down", down: 1, up: 0 },
  { title: "1 stream up", down: 0, up: 1 },
  { title: "8 streams each way", down: 8, up: 8 },
] as const;

/** Where the bulk streams come from. */
const PLACES = ["same client", "another client"] as const;

/** How long the streams run before they count, in seconds: windows grow. */
const SKIP = 1.5;

/** How long their rate alone is watched before the round trips, and after them, in seconds. */
const ALONE = 1.5;

/** Between the end of the round trips and the rate alone again, in seconds: the connection has closed. */
const PARTING = 0.2;

/** How long round trips are made before they are timed, in seconds: the bulk has warmed the tunnel up, and this the load generator. */
const WARM_UP = 0.5;

/** How long round trips are timed, in seconds. */
const SECONDS = 3;

/**
 * One message each so many seconds, as a person or a service sends them. Without
 * a pause 10,000 a second take two fifths of a stream's rate from `ssh -L`,
 * because they take its processor: the sooner they come back, the more there
 * are.
 */
const EVERY = 0.005;

/** What has to be reached. */
const REACH = {
  p50: [{ way: "tunnel", of: "ratio", atMost: 1 }],
  p99: [{ way: "tunnel", of: "value", atMost: 10_000 }],
  bulk: [{ way: "tunnel", of: "value", atLeast: 0.9 }],
} as const;

/** Round trips beside bulk. */
export const beside: Group = {
  name: "beside",
  title: "Round trip beside bulk",
  method:
    `\`bench/load.ts\` ping-pong, one connection, ${BYTES} bytes to and fro each ${
      EVERY * 1000
    } ms, for ${SECONDS} s while \`bench/load.ts\` flows runs: streams through the same client process, or through another of the same server; their rate alone is that of the same streams ${ALONE} s before the round trips and ${ALONE} s after them`,
  run: async (bench) => {
    await using target = await startTarget(bench);
    await using ways = await openWays(
      bench,
      ["ssh", "tunnel", "sealed", "json", "other", "chisel", "peer"],
      target.endpoint,
      { twoClients: true },
    );
    for (const place of PLACES) {
      for (const bulk of BULK) {
        // A peer by its command is one forward.
        const measured = ways.list.filter(({ otherClient }) =>
          place === "same client" || otherClient !== undefined
        );
        await inTurn(bench, measured, {
          what: `round trip beside ${bulk.title}, ${place}`,
          measure: (way) => measure(bench, way, { ...bulk, place }),
        });
      }
    }
  },
};

async function measure(
  bench: Bench,
  { endpoint, otherClient = endpoint }: Way,
  { title, down, up, place }: (typeof BULK)[number] & {
    readonly place: (typeof PLACES)[number];
  },
): Promise<Measured[]> {
  const { signal } = bench;
  const { process } = await startLoad({
    do: "flows",
    to: place === "same client" ? endpoint : otherClient,
    down,
    up,
  }, bench);
  await using bulk = process;
  await pause(SKIP * 1000, signal);
  const before = await rateOver(bulk, ALONE, signal);
  const pings = await runLoad({
    do: "ping-pong",
    to: endpoint,
    bytes: BYTES,
    seconds: SECONDS,
    warmUp: WARM_UP,
    every: EVERY,
  }, bench);
  const together = rateWithin(bulk, pings);
  await pause(PARTING * 1000, signal);
  const alone = (before + await rateOver(bulk, ALONE, signal)) / 2;
  const what = `beside ${title}, ${place}`;
  return [
    {
      figure: { title: `${what}: p50`, unit: "µs", reach: REACH.p50 },
      value: pings.p50,
    },
    {
      figure: { title: `${what}: p99`, unit: "µs", reach: REACH.p99 },
      value: pings.p99,
    },
    {
      figure: { title: `${what}: bulk`, unit: "of alone", reach: REACH.bulk },
      value: together / alone,
    },
    {
      figure: { title: `${what}: bulk alone`, unit: "Gbit/s" },
      value: gigabits(alone),
    },
  ];
}

/** Bytes a second of running streams over the next `seconds`. */
async function rateOver(
  flows: Process,
  seconds: number,
  signal: AbortSignal,
): Promise<number> {
  const from = performance.timeOrigin + performance.now();
  await pause(seconds * 1000, signal);
  return rateWithin(flows, { from, until: from + seconds * 1000 });
}

/** Bytes a second of running streams between two moments, in ms since 1970. */
function rateWithin(
  flows: Process,
  { from, until }: { readonly from: number; readonly until: number },
): number {
  const told: Progress[] = flows.lines.filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const within = told.filter(({ at }) => at >= from && at <= until);
  const first = within[0];
  const last = within.at(-1);
  if (first === undefined || last === undefined || first === last) {
    throw new Error(`the bulk streams ended: ${flows.tail(1)}`);
  }
  return (last.bytes - first.bytes) * 1000 / (last.at - first.at);
}
