/**
 * Generates load, or is its target: a process of its own, the same for every
 * way, so that what it costs is the same for all.
 *
 * Started with one argument, a {@linkcode LoadTask} as JSON; prints its answer
 * as one line of JSON.
 *
 * @module
 */

import { messageOf } from "../lib/base/errors.ts";
import type { Endpoint } from "../integration_tests/support/addresses.ts";
import { pause } from "../integration_tests/support/changes.ts";
import {
  dial,
  isDisconnect,
  readExactly,
  writeAll,
} from "../integration_tests/support/transfer.ts";
import { MODE, READ_SIZE, startLoadTarget } from "./load_target.ts";
import { quantile } from "./measure.ts";

/**
 * Before round trips and connections count, in ms: windows grow, and the
 * compiler of a runtime sees what is hot. A tunnel runs for weeks, so that is
 * not what counts.
 */
export const WARM_UP = 2_000;

/** Most round trips timed: a bound of memory, beyond what 10 s bring. */
const MAX_ROUND_TRIPS = 2_000_000;

/** Connections opened at once where many are to be open. */
const OPEN_CONCURRENCY = 50;

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

/** Keeps the connections of "hold" and the target of "serve" until we are killed. */
const held: unknown[] = [];

/** What a load generator can be told to do. Times in seconds. */
interface Tasks {
  readonly serve: typeof serve;
  readonly "ping-pong": typeof pingPong;
  readonly connections: typeof connections;
  readonly streams: typeof streams;
  readonly hold: typeof hold;
}

/** A task for a load generator process: its name, and what it needs. */
export type LoadTask = {
  [Name in keyof Tasks]: { readonly do: Name } & Parameters<Tasks[Name]>[0];
}[keyof Tasks];

/** What each task answers, by its name. */
export type LoadResults = {
  readonly [Name in keyof Tasks]: Awaited<ReturnType<Tasks[Name]>>;
};

/** Is the target: answers with the port at once, and runs until it is killed. */
function serve(_task: unknown): { readonly port: number } {
  const target = startLoadTarget();
  held.push(target);
  return { port: target.endpoint.port };
}

/** One connection, a message to and fro at a time; answers with quantiles in µs. */
async function pingPong(
  { to, bytes, seconds }: {
    readonly to: Endpoint;
    readonly bytes: number;
    readonly seconds: number;
  },
): Promise<{ readonly p50: number; readonly p99: number }> {
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

/** Open, send a byte, get it back, close; `concurrency` of them at once. */
async function connections(
  { to, concurrency, seconds }: {
    readonly to: Endpoint;
    readonly concurrency: number;
    readonly seconds: number;
  },
): Promise<{ readonly perSecond: number; readonly failures: number }> {
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

/** As many streams as said, from the target to us; the first `skip` seconds do not count. */
async function streams(
  { to, streams, seconds, skip }: {
    readonly to: Endpoint;
    readonly streams: number;
    readonly seconds: number;
    readonly skip: number;
  },
): Promise<{ readonly bytesPerSecond: number }> {
  using open = new DisposableStack();
  let bytes = 0;
  let silent = streams;
  const started = Promise.withResolvers<void>();
  const flows: Promise<void>[] = [];
  const half = Math.floor(Math.max(MIN_WINDOW, UNDER_WAY / streams) / 2);
  const window = streams === 1 ? UNBOUNDED : 2 * half;
  const request = new Uint8Array(5);
  request[0] = MODE.source;
  new DataView(request.buffer).setUint32(1, window, true);
  // All are open before any runs: those that run would hold the others up.
  for (const conn of await dialAll(to, streams)) {
    open.use(conn);
    await writeAll(conn, request);
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
  await Promise.race([started.promise, pause(START_LIMIT)]);
  if (silent > 0) throw new Error(`${silent} of ${streams} streams are silent`);
  await pause(skip * 1000);
  const from = { bytes, at: performance.now() };
  await pause(seconds * 1000);
  const bytesPerSecond = (bytes - from.bytes) * 1000 /
    (performance.now() - from.at);
  open.dispose();
  await Promise.all(flows);
  return { bytesPerSecond };
}

/** Opens connections and holds them: answers when all are open, and runs until it is killed. */
async function hold(
  { to, count }: { readonly to: Endpoint; readonly count: number },
): Promise<{ readonly seconds: number }> {
  const start = performance.now();
  held.push(await dialAll(to, count, openEcho));
  setInterval(() => {}, 60_000); // or idle connections alone would not keep us
  return { seconds: (performance.now() - start) / 1000 };
}

async function perform(task: LoadTask): Promise<unknown> {
  switch (task.do) {
    case "serve":
      return serve(task);
    case "ping-pong":
      return await pingPong(task);
    case "connections":
      return await connections(task);
    case "streams":
      return await streams(task);
    case "hold":
      return await hold(task);
  }
}

if (import.meta.main) {
  try {
    const answer = await perform(JSON.parse(Deno.args[0] ?? ""));
    // deno-lint-ignore no-console -- how this process answers
    console.log(JSON.stringify(answer));
  } catch (error) {
    // One line: the bench shows the last one.
    // deno-lint-ignore no-console -- how this process complains
    console.error(messageOf(error));
    Deno.exit(1);
  }
}
