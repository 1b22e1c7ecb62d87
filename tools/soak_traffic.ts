/**
 * Sends the soak test's traffic: every kind is a loop of short jobs, each of
 * which checks every byte that it gets back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  expectEcho,
  roundTrip,
} from "../integration_tests/support/chaos_flow.ts";
import { pause, within } from "../integration_tests/support/changes.ts";
import type { Stage } from "../integration_tests/support/chaos_stage.ts";
import { ByteSource, digestOf } from "../integration_tests/support/hash.ts";
import { connectRedis } from "../integration_tests/support/redis_client.ts";
import type { ClientRole } from "../integration_tests/support/roles.ts";
import {
  dial,
  isDisconnect,
  receiveAll,
  sendAll,
} from "../integration_tests/support/transfer.ts";
import { messageOf } from "../lib/base/errors.ts";

const MIB = 1024 * 1024;

/** After how many ms a job counts as hanging: more than every fault, and the resume time. */
const LIMIT = 120_000;

/** Longest pause between two jobs of a kind, in ms. */
const MOST_PAUSE = 300;

/** What all kinds of traffic work with. */
export interface Traffic {
  /** Where the tunnels are. */
  readonly stage: Stage;
  /** The client that leads to a Redis, if there is one. */
  readonly redis: () => ClientRole | undefined;
  /** Chance. */
  readonly random: () => number;
  /** When the roles were last not all there, in ms of `performance.now()`. */
  readonly lastRoleOutage: () => number;
  /** When the server was last away from NATS, in ms of `performance.now()`. */
  readonly lastServerOutage: () => number;
  /** No further jobs. */
  readonly stop: AbortSignal;
}

/** What came of the jobs so far. */
export interface Tally {
  /** Jobs that went through, by kind. */
  readonly done: Map<string, number>;
  /** Bytes that came back as they were sent. */
  bytes: number;
  /** Jobs that failed because a role was killed under them. */
  excused: number;
  /** Opens that came to nothing because no server was to be reached. */
  refused: number;
  /** Jobs that failed, each with the reason. */
  readonly failures: string[];
}

/** An open came to nothing: the connection ended before a byte had come back. */
class Refused extends Error {
  override readonly name = "Refused";
}

/** Connects and waits for the first byte to come back: from then on nothing may be lost. */
async function open(
  { stage }: Traffic,
  signal: AbortSignal,
): Promise<Deno.TcpConn> {
  const conn = await dial(stage.endpoint, { signal });
  try {
    await roundTrip(conn);
    return conn;
  } catch (cause) {
    conn.close();
    if (!isDisconnect(cause)) throw cause;
    throw new Refused(`open: ${messageOf(cause)}`, { cause });
  }
}

type Job = (
  traffic: Traffic,
  signal: AbortSignal,
) => Promise<number | undefined>;

/** A stream there and back at the same time. */
const echo: Job = async (traffic, signal) => {
  const { random } = traffic;
  const size = 1 + Math.floor(random() * 8 * MIB);
  using conn = await open(traffic, signal);
  await expectEcho(conn, { seed: Math.floor(random() * 2 ** 32), size });
  return size;
};

/** Short questions and answers on one connection. */
const request: Job = async (traffic, signal) => {
  const { random } = traffic;
  using conn = await open(traffic, signal);
  for (let i = 0; i < 200; i++) await roundTrip(conn);
  await pause(random() * MOST_PAUSE);
  await roundTrip(conn);
  return 201 * 4;
};

/** A stream whose end is known long before its answer has come. */
const halfClose: Job = async (traffic, signal) => {
  const { random } = traffic;
  const size = Math.floor(random() * MIB);
  using conn = await open(traffic, signal);
  const sending = sendAll(conn, new ByteSource(size, size));
  sending.catch(() => {}); // seen below
  await pause(random() * MOST_PAUSE);
  const received = await receiveAll(conn);
  await sending;
  assert.deepEqual(received, digestOf(size, size));
  return size;
};

/** Connections that come and go, some without a goodbye. */
const churn: Job = async (traffic, signal) => {
  const { random, stage } = traffic;
  await Promise.all(Array.from({ length: 10 }, async () => {
    if (random() < 0.2) {
      // gone while it is being opened
      (await dial(stage.endpoint, { signal })).close();
      return;
    }
    using conn = await open(traffic, signal);
    if (random() < 0.5) return; // gone without an end
    await conn.closeWrite();
    assert.equal((await receiveAll(conn)).bytes, 0);
  }));
  return 40;
};

/** A connection that is hardly ever used, and lives through many faults. */
const idle: Job = async (traffic, signal) => {
  const { stop } = traffic;
  using conn = await open(traffic, signal);
  for (let i = 0; i < 10 && !stop.aborted; i++) {
    await roundTrip(conn);
    await pause(5_000);
  }
  await roundTrip(conn);
  return 44;
};

/** Values that Redis gives back as it got them. */
const redis: Job = async ({ redis, random }) => {
  const client = redis();
  if (client === undefined) return undefined;
  await using connection = await connectRedis(client.endpoint).catch(
    (cause) => {
      throw new Refused(`redis: ${messageOf(cause)}`, { cause });
    },
  );
  let bytes = 0;
  for (let i = 0; i < 20; i++) {
    const value = new ByteSource(i, Math.floor(random() * 100_000)).rest();
    await connection.redis.set(`key:${i}`, Buffer.from(value));
    const back = await connection.redis.getBuffer(`key:${i}`);
    assert.ok(
      back !== null && Buffer.compare(back, value) === 0,
      "GET differs",
    );
    bytes += value.length;
  }
  return bytes;
};

/** The kinds of traffic, and how many loops of each run side by side. */
const KINDS: readonly (readonly [name: string, job: Job, loops: number])[] = [
  ["echo", echo, 2],
  ["request", request, 2],
  ["half-close", halfClose, 2],
  ["churn", churn, 1],
  ["idle", idle, 10],
  ["redis", redis, 1],
];

/** Runs all kinds until told to stop; resolves when the last job has ended. */
export async function runTraffic(
  traffic: Traffic,
  tally: Tally,
): Promise<void> {
  await Promise.all(
    KINDS.flatMap(([name, job, loops]) =>
      Array.from({ length: loops }, async () => {
        while (!traffic.stop.aborted) {
          await runJob(name, { job, traffic, tally });
          await pause(traffic.random() * MOST_PAUSE);
        }
      })
    ),
  );
}

async function runJob(
  name: string,
  { job, traffic, tally }: {
    readonly job: Job;
    readonly traffic: Traffic;
    readonly tally: Tally;
  },
): Promise<void> {
  const started = performance.now();
  let hung = false;
  try {
    const bytes = await within(
      LIMIT,
      (signal) => job(traffic, signal),
      { onHang: () => Promise.resolve(void (hung = true)) },
    );
    if (bytes === undefined) return;
    tally.done.set(name, (tally.done.get(name) ?? 0) + 1);
    tally.bytes += bytes;
  } catch (error) {
    // Tunnels do not outlive their roles; but wrong bytes are never excused.
    const wrong = error instanceof assert.AssertionError && !isShort(error);
    const fair = !wrong && !hung;
    if (fair && traffic.lastRoleOutage() >= started) tally.excused++;
    else if (
      fair && error instanceof Refused && traffic.lastServerOutage() >= started
    ) tally.refused++;
    else {
      tally.failures.push(
        `${new Date().toISOString()} ${name}: ${messageOf(error)}`,
      );
    }
  }
}

/** Whether fewer bytes came than were to come: the stream was cut. */
function isShort({ actual, expected }: assert.AssertionError): boolean {
  const bytes = (value: unknown): number =>
    typeof value === "object" && value !== null && "bytes" in value
      ? Number(value.bytes)
      : NaN;
  return bytes(actual) < bytes(expected);
}
