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
import { ByteSource } from "../integration_tests/support/hash.ts";
import {
  dial,
  isDisconnect,
  readExactly,
  writeAll,
} from "../integration_tests/support/transfer.ts";
import { MODE, READ_SIZE, SINK_UNIT, startLoadTarget } from "./load_target.ts";
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

/** How often "flows" says how far it is, in ms. */
const TELL_EVERY = 50;

/** Failed connections after which "connections" gives up. */
const MAX_FAILURES = 100;

/** Keeps the connections of "hold" and the target of "serve" until we are killed. */
const held: unknown[] = [];

/** What a load generator can be told to do. Times in seconds. */
interface Tasks {
  readonly serve: typeof serve;
  readonly "ping-pong": typeof pingPong;
  readonly connections: typeof connections;
  readonly "first-byte": typeof firstByte;
  readonly streams: typeof streams;
  readonly flows: typeof flows;
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

/** What {@linkcode pingPong} found. */
interface RoundTrips {
  /** Half of the round trips took no longer, in µs. */
  readonly p50: number;
  /** 99 % of them took no longer, in µs. */
  readonly p99: number;
  /** When they were timed, in ms since 1970. */
  readonly from: number;
  /** Until when. */
  readonly until: number;
}

/**
 * One connection, a message to and fro at a time: the next goes when the last
 * has come back, and not before `every` seconds are over since that went.
 */
async function pingPong(
  { to, bytes, seconds, warmUp = WARM_UP / 1000, every = 0 }: {
    readonly to: Endpoint;
    readonly bytes: number;
    readonly seconds: number;
    readonly warmUp?: number;
    readonly every?: number;
  },
): Promise<RoundTrips> {
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
  const warm = performance.now() + warmUp * 1000;
  while (performance.now() < warm) {
    await roundTrip();
    await pause(every * 1000);
  }
  const times: number[] = [];
  const start = performance.now();
  for (let now = start; now < start + seconds * 1000;) {
    await roundTrip();
    const end = performance.now();
    times.push((end - now) * 1000);
    if (every > 0) await pause(every * 1000 - (end - now));
    now = every > 0 ? performance.now() : end;
    if (times.length === MAX_ROUND_TRIPS) break;
  }
  return {
    p50: quantile(times, 0.5) ?? NaN,
    p99: quantile(times, 0.99) ?? NaN,
    from: performance.timeOrigin + start,
    until: performance.timeOrigin + performance.now(),
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
  { to, concurrency, seconds, warmUp = WARM_UP / 1000 }: {
    readonly to: Endpoint;
    readonly concurrency: number;
    readonly seconds: number;
    readonly warmUp?: number;
  },
): Promise<{ readonly perSecond: number; readonly failures: number }> {
  let done = 0;
  let failures = 0;
  let until = performance.now() + warmUp * 1000;
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

/** Opens `count` connections one after the other; answers how long each took until its first byte was back, in ms. */
async function firstByte(
  { to, count }: { readonly to: Endpoint; readonly count: number },
): Promise<{ readonly times: readonly number[] }> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    using _conn = await openEcho(to);
    times.push(performance.now() - start);
  }
  return { times };
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

/** Sends all that can be sent, and counts what the target says it took. */
async function fill(
  conn: Deno.TcpConn,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const bytes = new ByteSource(1, READ_SIZE).rest();
  const write = async (): Promise<void> => {
    for (;;) await writeAll(conn, bytes);
  };
  const listen = async (): Promise<void> => {
    const taken = new Uint8Array(64);
    for (;;) {
      const count = await conn.read(taken);
      if (count === null) throw new Deno.errors.UnexpectedEof();
      onBytes(count * SINK_UNIT);
    }
  };
  await Promise.race([listen(), write()]);
}

/** Bytes under way in each of `count` streams: an even number, of which half is asked for again and again. */
function windowOf(count: number): number {
  if (count === 1) return UNBOUNDED;
  return 2 * Math.floor(Math.max(MIN_WINDOW, UNDER_WAY / count) / 2);
}

/** Streams that run until they are disposed. */
interface Flows extends AsyncDisposable {
  /** Bytes that have arrived, of all streams together. */
  readonly bytes: number;
}

/** Starts streams from the target to us and from us to it; all of them flow when this resolves. */
async function openFlows(
  to: Endpoint,
  options: {
    readonly down: number;
    readonly up: number;
    readonly window?: number;
  },
): Promise<Flows> {
  const { down, up } = options;
  const count = down + up;
  using open = new DisposableStack();
  let bytes = 0;
  let silent = count;
  const started = Promise.withResolvers<void>();
  const flows: Promise<void>[] = [];
  const { window = windowOf(down) } = options;
  const request = new Uint8Array(5);
  request[0] = MODE.source;
  new DataView(request.buffer).setUint32(1, window, true);
  const tap = (): (more: number) => void => {
    let first = true;
    return (more) => {
      bytes += more;
      if (first && --silent === 0) started.resolve();
      first = false;
    };
  };
  // All are open before any runs: those that run would hold the others up.
  for (const [index, conn] of (await dialAll(to, count)).entries()) {
    open.use(conn);
    const isDown = index < down;
    await writeAll(conn, isDown ? request : new Uint8Array([MODE.sink]));
    const flow = isDown ? drink(conn, window, tap()) : fill(conn, tap());
    flows.push(flow.catch((error: unknown) => {
      // We close the connections ourselves at the end.
      if (!isDisconnect(error)) throw error;
    }));
  }
  await Promise.race([started.promise, pause(START_LIMIT)]);
  if (silent > 0) throw new Error(`${silent} of ${count} streams are silent`);
  const owned = open.move();
  return {
    get bytes() {
      return bytes;
    },
    [Symbol.asyncDispose]: async () => {
      owned.dispose();
      await Promise.all(flows);
    },
  };
}

/**
 * As many streams as said, from the target to us; the first `skip` seconds do
 * not count. Of each, `window` bytes are under way, where that is given.
 */
async function streams(
  { to, streams, seconds, skip, window }: {
    readonly to: Endpoint;
    readonly streams: number;
    readonly seconds: number;
    readonly skip: number;
    readonly window?: number;
  },
): Promise<{ readonly bytesPerSecond: number }> {
  await using flows = await openFlows(to, {
    down: streams,
    up: 0,
    ...(window !== undefined && { window }),
  });
  await pause(skip * 1000);
  const from = { bytes: flows.bytes, at: performance.now() };
  await pause(seconds * 1000);
  return {
    bytesPerSecond: (flows.bytes - from.bytes) * 1000 /
      (performance.now() - from.at),
  };
}

/** How far streams are: when, in ms since 1970, and bytes that have arrived by then. */
export interface Progress {
  /** Ms since 1970. */
  readonly at: number;
  /** Bytes of all streams together. */
  readonly bytes: number;
}

/**
 * Streams in both directions: answers when all of them flow, says how far they
 * are from then on, and runs until it is killed.
 */
async function flows(
  { to, down, up }: {
    readonly to: Endpoint;
    readonly down: number;
    readonly up: number;
  },
): Promise<Progress> {
  const flows = await openFlows(to, { down, up });
  held.push(flows);
  const progress = (): Progress => ({
    at: performance.timeOrigin + performance.now(),
    bytes: flows.bytes,
  });
  setInterval(() => answer(progress()), TELL_EVERY);
  return progress();
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
    case "first-byte":
      return await firstByte(task);
    case "streams":
      return await streams(task);
    case "flows":
      return await flows(task);
    case "hold":
      return await hold(task);
  }
}

function answer(what: unknown): void {
  // deno-lint-ignore no-console -- how this process answers
  console.log(JSON.stringify(what));
}

if (import.meta.main) {
  try {
    answer(await perform(JSON.parse(Deno.args[0] ?? "")));
  } catch (error) {
    // One line: the bench shows the last one.
    // deno-lint-ignore no-console -- how this process complains
    console.error(messageOf(error));
    Deno.exit(1);
  }
}
