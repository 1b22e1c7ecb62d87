/**
 * Runs `deno task bench:guard`: fails when the tunnel has become much slower
 * against two relays that go the same way and guarantee nothing (`bare.ts`), in
 * the same run on the same machine. `bench/notes.md` says why that does not
 * depend on the machine.
 *
 * @module
 */

import { messageOf } from "../lib/base/errors.ts";
import { turnOrder } from "./measure.ts";
import { describeOutcome, type Floor, reachFloors } from "./floors.ts";
import { runLoad, startTarget } from "./generator.ts";
import { Interruption } from "./interruption.ts";
import { openWay, type Way } from "./ways.ts";

/** Most rounds of each ratio. */
const ROUNDS = 6;

/**
 * Least ratios of the tunnel to the bare relays: about half of what was
 * measured when they were set, so that only a large loss fails.
 */
const AT_LEAST = { roundTrip: 0.55, connections: 0.2, bulk: 0.55 } as const;

/** Before a load counts, in seconds: the compiler of a runtime sees what is hot. */
const WARM_UP = 0.3;

/** How long a load counts, in seconds. */
const SECONDS = 0.5;

/** Bytes under way of the bulk stream: the bare relays have no flow control of their own. */
const WINDOW = 4 * 1024 * 1024;

/** How much a way does, more being better. */
type Measure = (way: Way, signal: AbortSignal) => Promise<number>;

const roundTrip: Measure = async ({ endpoint: to }, signal) => {
  const { p50 } = await runLoad({
    do: "ping-pong",
    to,
    bytes: 64,
    seconds: SECONDS,
    warmUp: WARM_UP,
  }, { signal });
  return 1 / p50;
};

const connections: Measure = async ({ endpoint: to }, signal) => {
  const { perSecond, failures } = await runLoad({
    do: "connections",
    to,
    concurrency: 1,
    seconds: SECONDS,
    warmUp: WARM_UP,
  }, { signal });
  if (failures > 0) throw new Error(`${failures} connections failed`);
  return perSecond;
};

const bulk: Measure = async ({ endpoint: to }, signal) => {
  const { bytesPerSecond } = await runLoad({
    do: "streams",
    to,
    streams: 1,
    window: WINDOW,
    seconds: SECONDS,
    skip: WARM_UP,
  }, { signal });
  return bytesPerSecond;
};

/** The ratio of the two, measured in turn, each first in its turn. */
function ratio(
  name: string,
  atLeast: number,
  { tunnel, bare, measure, signal }: {
    readonly tunnel: Way;
    readonly bare: Way;
    readonly measure: Measure;
    readonly signal: AbortSignal;
  },
): Floor {
  let round = 0;
  return {
    name,
    atLeast,
    measure: async () => {
      const values = new Map<Way, number>();
      for (const way of turnOrder([tunnel, bare], round++)) {
        values.set(way, await measure(way, signal));
      }
      return (values.get(tunnel) ?? NaN) / (values.get(bare) ?? NaN);
    },
  };
}

async function main(): Promise<number> {
  using interrupted = new Interruption();
  const { signal } = interrupted;
  await using load = await startTarget({ signal });
  const target = load.endpoint;
  await using tunnel = await openWay("tunnel", { target, signal });
  await using bare = await openWay("bare", { target, signal });
  const ways = { tunnel, bare, signal };
  const outcomes = await reachFloors([
    ratio("round trip", AT_LEAST.roundTrip, { ...ways, measure: roundTrip }),
    ratio("connections in turn", AT_LEAST.connections, {
      ...ways,
      measure: connections,
    }),
    ratio("bulk", AT_LEAST.bulk, { ...ways, measure: bulk }),
  ], ROUNDS);
  for (const outcome of outcomes) {
    // deno-lint-ignore no-console -- the guard's output
    console.log(`bench:guard: ${describeOutcome(outcome)}`);
  }
  return outcomes.every(({ reached }) => reached) ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main());
  } catch (error) {
    // deno-lint-ignore no-console -- a command-line tool's output
    console.error(`bench:guard: ${messageOf(error)}`);
    Deno.exit(1);
  }
}
