/**
 * How soon bytes flow again when the broker is killed in mid-stream and comes
 * back, and that they are the right bytes. Plain TCP and ssh have nothing to
 * compare: their connections end when a process in between does.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { NatsServer } from "../integration_tests/support/nats_server.ts";
import { dial, writeAll } from "../integration_tests/support/transfer.ts";
import { type Bench, type Group, inTurn, openWays, pause } from "./bench.ts";
import { BLOCK_BYTES, Blocks } from "./blocks.ts";
import { startTarget } from "./generator.ts";
import { MODE, READ_SIZE } from "./load_protocol.ts";
import type { Figure } from "./measure.ts";
import type { Way } from "./ways.ts";

/** How long the broker is away, in ms. */
const DOWN = { full: [1_000, 5_000], quick: [1_000] } as const;

/** Rounds at most. */
const ROUNDS = 5;

/** Bytes of the transfer, in blocks: long enough to be cut in its middle. */
const BLOCKS = 1_536;

/** The broker is killed when so many bytes have arrived. */
const KILL_AT = 96 * 1024 * 1024;

/** Longest a transfer may take, in ms: the resume time and a lot more. */
const LIMIT = 90_000;

/** Time from restart to flow. */
export const resume: Group = {
  name: "resume",
  title: "Broker restart",
  run: async (bench) => {
    await using target = await startTarget(bench);
    await using ways = await openWays(bench, ["tunnel"], {
      target: target.endpoint,
    });
    for (const down of DOWN[bench.quick ? "quick" : "full"]) {
      await inTurn(bench, ways.list, {
        what: `broker away for ${down / 1000} s`,
        rounds: Math.min(bench.rounds, ROUNDS),
        measure: async (way, round) => {
          const { nats } = way;
          if (!nats) throw new Error("this way has no broker");
          const value = await measureRestart(bench, { way, nats, down });
          bench.record(figure(down), { way: way.name, round, value });
        },
      });
    }
  },
};

async function measureRestart(
  bench: Bench,
  options: {
    readonly way: Way;
    readonly nats: NatsServer;
    readonly down: number;
  },
): Promise<number> {
  const { way, nats, down } = options;
  const signal = AbortSignal.any([bench.signal, AbortSignal.timeout(LIMIT)]);
  using conn = await dial(way.endpoint, { signal });
  const request = new Uint8Array(5);
  request[0] = MODE.download;
  new DataView(request.buffer).setUint32(1, BLOCKS, true);
  await writeAll(conn, request);

  /** When the broker was started again, and when bytes came after that. */
  let startedAt = Infinity;
  let flowedAt: number | undefined;
  const hash = createHash("sha256");
  const killed = Promise.withResolvers<void>();
  const receive = async () => {
    const buffer = new Uint8Array(READ_SIZE);
    for (let bytes = 0;;) {
      const count = await conn.read(buffer);
      if (count === null) return;
      if (performance.now() > startedAt) flowedAt ??= performance.now();
      hash.update(buffer.subarray(0, count));
      bytes += count;
      if (bytes >= KILL_AT) killed.resolve();
    }
  };
  const receiving = receive();
  // Handled below, whatever comes first.
  receiving.then(
    () => killed.reject(new Error("the transfer ended before its time")),
    killed.reject,
  );
  await killed.promise;
  await nats.kill();
  await pause(bench, down);
  startedAt = performance.now();
  await nats.restart({ signal });
  const readyAt = performance.now();
  await receiving;

  const expected = createHash("sha256");
  const blocks = new Blocks();
  for (let index = 0; index < BLOCKS; index++) {
    expected.update(blocks.at(index));
  }
  if (!hash.digest().equals(expected.digest())) {
    throw new Error("the bytes that arrived are not those that were sent");
  }
  if (flowedAt === undefined) {
    throw new Error("the transfer was over before the broker was killed");
  }
  return Math.max(0, flowedAt - readyAt);
}

function figure(down: number): Figure {
  return {
    id: `resume.${down}`,
    group: "resume",
    title: `until bytes flow again, broker away for ${down / 1000} s`,
    unit: "ms",
    better: "lower",
    command: `nats-server killed (-9) at ${KILL_AT / 1024 / 1024} of ${
      BLOCKS * BLOCK_BYTES / 1024 / 1024
    } MiB, started again after ${down} ms; from its readiness to the receiver's next bytes; SHA-256 compared`,
  };
}
