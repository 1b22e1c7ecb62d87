/**
 * The micro-benchmarks, run by `deno bench` and read from its JSON. The
 * columns of the ways stand for the codecs.
 *
 * @module
 */

import { run } from "../integration_tests/support/processes.ts";
import type { Group } from "./bench.ts";
import type { Figure, WayName } from "./measure.ts";

/** Longest `deno bench` may take, in ms. */
const LIMIT = 120_000;

/** The file `deno bench` runs. */
const FILE = new URL("micro_bench.ts", import.meta.url);

/** What `deno bench --json` says of one benchmark: times in ns. */
interface BenchEntry {
  readonly name: string;
  readonly results: readonly { readonly ok?: { readonly p75: number } }[];
}

/** Codecs and state machine. */
export const micro: Group = {
  name: "micro",
  title: "Parts without a network",
  run: async (bench) => {
    const { status, output } = await run(Deno.execPath(), {
      name: "deno bench",
      args: ["bench", "--quiet", "--no-lock", "-A", "--json", FILE.pathname],
      signal: AbortSignal.any([bench.signal, AbortSignal.timeout(LIMIT)]),
    });
    if (!status.success) throw new Error(`deno bench failed: ${output}`);
    for (const { name, value } of ratesOf(output)) {
      const place = placeOf(name);
      if (!place) continue;
      bench.record(place.figure, { way: place.way, round: 0, value });
    }
  },
};

/**
 * Names and rates (a second) in the output of `deno bench --json`.
 *
 * @throws {SyntaxError} when it is not that.
 */
export function ratesOf(
  output: string,
): { readonly name: string; readonly value: number }[] {
  const { benches }: { benches: readonly BenchEntry[] } = JSON.parse(
    output.slice(output.indexOf("{")),
  );
  return benches.flatMap(({ name, results }) => {
    // Not the average: on a busy machine one pause of 100 ms would rule it.
    const time = results[0]?.ok?.p75;
    return time === undefined ? [] : [{ name, value: 1e9 / time }];
  });
}

function placeOf(name: string): {
  readonly figure: Figure;
  readonly way: WayName;
} | undefined {
  const [what = "", action = "", size = ""] = name.split(" ");
  const shared = {
    id: `micro.${action}.${size}`,
    group: "micro",
    better: "higher",
    command: "`deno bench bench/micro_bench.ts`, rate at the 75th percentile",
  } as const;
  if (what === "state") {
    return {
      figure: {
        ...shared,
        title: `round trips of ${size} bytes between two state machines`,
        unit: "round trips/s",
      },
      way: "tunnel",
    };
  }
  return {
    figure: {
      ...shared,
      title: `DATA frames of ${size} bytes ${action}d`,
      unit: "frames/s",
    },
    way: what === "json" ? "json" : "tunnel",
  };
}
