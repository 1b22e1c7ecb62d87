/**
 * The load generator, or its target: a process of its own, the same for every
 * way, so that what it costs is the same for all.
 *
 * Started with one argument, a {@linkcode LoadTask} as JSON; prints its answer
 * as one line of JSON.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { messageOf } from "../lib/base/errors.ts";
import type { Endpoint } from "../integration_tests/support/addresses.ts";
import {
  dial,
  isDisconnect,
  readExactly,
  writeAll,
} from "../integration_tests/support/transfer.ts";
import { BLOCK_BYTES, Blocks } from "./blocks.ts";
import {
  type ConnectionsResult,
  type HoldResult,
  type LoadTask,
  MODE,
  type PingPongResult,
  READ_SIZE,
  type StreamsResult,
  type TransferResult,
  WARM_UP,
} from "./load_protocol.ts";
import { serve } from "./load_target.ts";
import { quantile } from "./measure.ts";

/** Most round trips timed: a bound of memory, beyond what 10 s bring. */
const MAX_ROUND_TRIPS = 2_000_000;

/** Connections opened at once where many are to be open. */
const OPEN_CONCURRENCY = 50;

/** Keeps the connections of "hold" from being collected. */
const held: Deno.TcpConn[] = [];

/**
 * Bytes under way in all streams together. Without a bound the kernel's
 * buffers of 1,000 streams took 1.4 GB, and then it dropped what it received.
 */
const UNDER_WAY = 64 * 1024 * 1024;

/** The window of a stream that is alone: the kernel's buffers bound it. */
const UNBOUNDED = 1024 * 1024 * 1024;

/** Bytes under way in one of many streams at least. */
const MIN_WINDOW = 64 * 1024;

/** How long the first bytes of all streams may take, in ms. */
const START_LIMIT = 30_000;

/** Failed connections after which "connections" gives up. */
const MAX_FAILURES = 100;

function answer(result: unknown): void {
  // deno-lint-ignore no-console -- how this process answers
  console.log(JSON.stringify(result));
}

/** Takes all that comes, and asks for half a window more for each half taken. */
async function drink(
  conn: Deno.TcpConn,
  window: number,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(READ_SIZE, window));
  const ask = new Uint8Array(1);
  for (let taken = 0;;) {
    const count = await conn.read(buffer);
    if (count === null) return;
    onBytes(count);
    for (taken += count; taken >= window / 2; taken -= window / 2) {
      await conn.write(ask);
    }
  }
}

/** What opens a mode that takes a number. */
function request(mode: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = mode;
  new DataView(bytes.buffer).setUint32(1, value, true);
  return bytes;
}

async function pingPong(
  { to, bytes, seconds }: Extract<LoadTask, { do: "ping-pong" }>,
): Promise<PingPongResult> {
  using conn = await dial(to);
  const message = new Uint8Array(bytes).fill(MODE.echo);
  const buffer = new Uint8Array(bytes);
  const roundTrip = async () => {
    await writeAll(conn, message);
    for (let at = 0; at < bytes;) {
      const count = await conn.read(buffer.subarray(at));
      if (count === null) throw new Error("The target closed the connection");
      at += count;
    }
  };
  const warm = performance.now() + WARM_UP;
  while (performance.now() < warm) await roundTrip();
  const times: number[] = [];
  const start = performance.now();
  for (let now = start; now < start + seconds * 1000;) {
    await roundTrip();
    const end = performance.now();
    times.push((end - now) * 1000);
    now = end;
    if (times.length === MAX_ROUND_TRIPS) break;
  }
  return {
    p50: quantile(times, 0.5) ?? NaN,
    p99: quantile(times, 0.99) ?? NaN,
    count: times.length,
  };
}

/** Opens a connection and has a byte echoed, so that it is known to reach the target. */
async function openEcho(to: Endpoint): Promise<Deno.TcpConn> {
  const conn = await dial(to);
  try {
    await writeAll(conn, new Uint8Array([MODE.echo]));
    await readExactly(conn, 1);
    return conn;
  } catch (error) {
    conn[Symbol.dispose]();
    throw error;
  }
}

async function connections(
  { to, concurrency, seconds }: Extract<LoadTask, { do: "connections" }>,
): Promise<ConnectionsResult> {
  let done = 0;
  let failures = 0;
  let until = performance.now() + WARM_UP;
  const worker = async () => {
    while (performance.now() < until && failures < MAX_FAILURES) {
      try {
        (await openEcho(to)).close();
        done++;
      } catch (error) {
        if (!isDisconnect(error)) throw error;
        failures++;
      }
    }
  };
  const workers = () =>
    Promise.all(Array.from({ length: concurrency }, worker));
  await workers();
  done = 0;
  const start = performance.now();
  until = start + seconds * 1000;
  await workers();
  return {
    perSecond: done * 1000 / (performance.now() - start),
    failures,
  };
}

/** Opens `count` connections, {@linkcode OPEN_CONCURRENCY} at once. */
async function dialAll(
  to: Endpoint,
  count: number,
  open: (to: Endpoint) => Promise<Deno.TcpConn> = dial,
): Promise<Deno.TcpConn[]> {
  const conns: Deno.TcpConn[] = [];
  let begun = 0;
  const worker = async () => {
    while (begun++ < count) conns.push(await open(to));
  };
  await Promise.all(Array.from({ length: OPEN_CONCURRENCY }, worker));
  return conns;
}

async function streams(
  { to, streams, seconds, skip }: Extract<LoadTask, { do: "streams" }>,
): Promise<StreamsResult> {
  using open = new DisposableStack();
  let bytes = 0;
  let silent = streams;
  const started = Promise.withResolvers<void>();
  const flows: Promise<void>[] = [];
  const half = Math.floor(Math.max(MIN_WINDOW, UNDER_WAY / streams) / 2);
  const window = streams === 1 ? UNBOUNDED : 2 * half;
  // All are open before any runs: those that run would hold the others up.
  for (const conn of await dialAll(to, streams)) {
    open.use(conn);
    await writeAll(conn, request(MODE.source, window));
    let first = true;
    const flow = drink(conn, window, (more) => {
      bytes += more;
      if (first && --silent === 0) started.resolve();
      first = false;
    });
    flows.push(flow.catch((error: unknown) => {
      // We close the connections ourselves at the end.
      if (!isDisconnect(error)) throw error;
    }));
  }
  await Promise.race([started.promise, sleep(START_LIMIT)]);
  if (silent > 0) throw new Error(`${silent} of ${streams} streams are silent`);
  await sleep(skip * 1000);
  const from = { bytes, at: performance.now() };
  await sleep(seconds * 1000);
  const bytesPerSecond = (bytes - from.bytes) * 1000 /
    (performance.now() - from.at);
  open.dispose();
  await Promise.all(flows);
  return { bytesPerSecond };
}

async function transfer(
  { to, direction, blocks }: Extract<LoadTask, { do: "transfer" }>,
): Promise<TransferResult> {
  using conn = await dial(to);
  const start = performance.now();
  const ours = createHash("sha256");
  const source = new Blocks();
  let theirs: Uint8Array;
  if (direction === "up") {
    await writeAll(conn, new Uint8Array([MODE.upload]));
    for (let index = 0; index < blocks; index++) {
      const bytes = source.at(index);
      ours.update(bytes);
      await writeAll(conn, bytes);
    }
    await conn.closeWrite();
    theirs = await readExactly(conn, 32);
  } else {
    await writeAll(conn, request(MODE.download, blocks));
    const hash = createHash("sha256");
    const buffer = new Uint8Array(READ_SIZE);
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) break;
      hash.update(buffer.subarray(0, count));
    }
    theirs = hash.digest();
  }
  const took = performance.now() - start;
  if (direction === "down") {
    for (let index = 0; index < blocks; index++) ours.update(source.at(index));
  }
  return {
    bytesPerSecond: blocks * BLOCK_BYTES * 1000 / took,
    equal: ours.digest().equals(theirs),
  };
}

async function hold(
  { to, count }: Extract<LoadTask, { do: "hold" }>,
): Promise<HoldResult> {
  const start = performance.now();
  // Never closed: the process is killed when the measurement is over.
  held.push(...await dialAll(to, count, openEcho));
  return { seconds: (performance.now() - start) / 1000 };
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, milliseconds));
}

async function perform(task: LoadTask): Promise<void> {
  switch (task.do) {
    case "serve":
      return await serve((port) => answer({ port }));
    case "ping-pong":
      return answer(await pingPong(task));
    case "connections":
      return answer(await connections(task));
    case "streams":
      return answer(await streams(task));
    case "transfer":
      return answer(await transfer(task));
    case "hold":
      answer(await hold(task));
      // Held until we are killed.
      setInterval(() => {}, 60_000);
  }
}

if (import.meta.main) {
  try {
    await perform(JSON.parse(Deno.args[0] ?? ""));
  } catch (error) {
    // One line: the bench shows the last one.
    // deno-lint-ignore no-console -- how this process complains
    console.error(messageOf(error));
    Deno.exit(1);
  }
}
