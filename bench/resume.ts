/**
 * Measures how soon bytes flow again when the broker is killed in mid-stream
 * and comes back. Plain TCP and ssh have nothing to compare: their connections
 * end when a process in between does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { pause } from "../integration_tests/support/changes.ts";
import { Arrivals } from "../integration_tests/support/chaos_flow.ts";
import { digestOf } from "../integration_tests/support/hash.ts";
import { startSource } from "../integration_tests/support/targets.ts";
import { dial } from "../integration_tests/support/transfer.ts";
import { type Group, inTurn, openWays } from "./bench.ts";

/** How long the broker is away, in ms. */
const DOWN = [1_000, 5_000] as const;

const MIB = 1024 * 1024;

/** Bytes of the transfer: long enough to be cut in its middle. */
const SIZE = 384 * MIB;

/** The broker is killed when so many bytes have arrived. */
const KILL_AT = 96 * MIB;

/** Longest a transfer may take, in ms: the resume time and a lot more. */
const LIMIT = 90_000;

/** What the bytes follow from. */
const SEED = 1;

/** Time from restart to flow. */
export const resume: Group = {
  name: "resume",
  title: "Broker restart",
  method: `nats-server killed (-9) at ${KILL_AT / MIB} of ${
    SIZE / MIB
  } MiB, down, and started again; from its readiness to the receiver's next bytes; SHA-256 compared`,
  run: async (bench) => {
    await using target = startSource(SEED, SIZE);
    await using ways = await openWays(
      bench,
      ["tunnel", "other"],
      target.endpoint,
    );
    const expected = digestOf(SEED, SIZE);
    for (const down of DOWN) {
      const title = `until bytes flow again, broker away for ${down / 1000} s`;
      await inTurn(bench, ways.list, {
        what: title,
        measure: async ({ endpoint, nats }) => {
          if (!nats) throw new Error("this way has no broker");
          const signal = AbortSignal.any([
            bench.signal,
            AbortSignal.timeout(LIMIT),
          ]);
          using conn = await dial(endpoint, { signal });
          const arrivals = new Arrivals(conn);
          await arrivals.reached(KILL_AT, { signal });
          await nats.kill();
          await pause(down, signal);
          const before = arrivals.bytes;
          await nats.restart({ signal });
          const ready = performance.now();
          await arrivals.reached(before + 1, { signal });
          const value = performance.now() - ready;
          assert.deepEqual(await arrivals.whole, expected);
          return [{ figure: { title, unit: "ms" }, value }];
        },
      });
    }
  },
};
