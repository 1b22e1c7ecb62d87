/**
 * Transfers bytes whose progress can be waited for, so that faults strike in
 * their middle, again and again.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Endpoint } from "./addresses.ts";
import { Changes, type WaitOptions } from "./changes.ts";
import type { FaultRelay } from "./fault_relay.ts";
import { ByteSource, type Digest, digestOf, Sha256 } from "./hash.ts";
import type { ClientRole, LogEntry, Role } from "./roles.ts";
import {
  chunksOf,
  dial,
  readExactly,
  readToEnd,
  sendAll,
  writeAll,
} from "./transfer.ts";
import { soon } from "./waits.ts";

/** Bytes that arrive on a connection, counted and hashed as they come. */
export class Arrivals {
  /** The digest of everything up to EOF. */
  readonly whole: Promise<Digest>;
  readonly #changes = new Changes();
  #bytes = 0;
  #over = false;

  /** Reads `conn` to its EOF. */
  constructor(conn: Deno.Conn) {
    this.whole = this.#read(conn).finally(() => {
      this.#over = true;
      this.#changes.notify();
    });
    // A failure is seen by who awaits the digest, which may be later.
    this.whole.catch(() => {});
  }

  /** How many bytes arrived so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Waits until so many bytes have arrived.
   *
   * @throws {Error} when the connection ends before.
   */
  async reached(bytes: number, options: WaitOptions = {}): Promise<void> {
    await this.#changes.until(() => {
      if (this.#bytes >= bytes) return true;
      if (this.#over) throw new Error(`It ended after ${this.#bytes} bytes`);
      return false;
    }, options);
  }

  async #read(conn: Deno.Conn): Promise<Digest> {
    const hash = new Sha256();
    for await (const bytes of chunksOf(conn)) {
      hash.update(bytes);
      this.#bytes += bytes.length;
      this.#changes.notify();
    }
    return hash.digest();
  }
}

/** What is sent there and back, and what happens until then. */
export interface EchoOptions {
  readonly seed: number;
  readonly size: number;
  readonly meanwhile?: (arrivals: Arrivals) => Promise<void>;
}

/**
 * Sends the `size` bytes of `seed` through `conn` and expects them back, while
 * `meanwhile` does its worst; that must be done before the last byte.
 */
export async function expectEcho(
  conn: Deno.Conn,
  options: EchoOptions,
): Promise<void> {
  const { seed, size, meanwhile } = options;
  const arrivals = new Arrivals(conn);
  const sending = sendAll(conn, new ByteSource(seed, size));
  sending.catch(() => {}); // seen below
  if (meanwhile !== undefined) {
    await meanwhile(arrivals);
    assert.ok(arrivals.bytes < size, "the faults came too late");
  }
  const digest = digestOf(seed, size);
  assert.deepEqual(await sending, digest);
  assert.deepEqual(await arrivals.whole, digest);
}

/** How far each of several flows gets before any goes on, in bytes. */
const UNDER_WAY_BYTES = 100_000;

/** A point in the middle of several flows at which they wait for each other. */
export interface Meeting {
  /** What each flow does meanwhile, as {@linkcode expectEcho} takes it. */
  readonly meanwhile: (arrivals: Arrivals) => Promise<void>;
  /** Resolves when all are under way, and go on. */
  readonly met: Promise<void>;
}

/** Lets `count` flows meet in their middle. */
export function meetingOf(count: number): Meeting {
  const { promise: met, resolve } = Promise.withResolvers<void>();
  let underWay = 0;
  const meanwhile = async (arrivals: Arrivals): Promise<void> => {
    await arrivals.reached(UNDER_WAY_BYTES);
    if (++underWay === count) resolve();
    await met;
  };
  return { meanwhile, met };
}

/** One round trip of a few bytes on an echoing connection; the time it took, in ms. */
export async function roundTrip(conn: Deno.Conn): Promise<number> {
  const started = performance.now();
  const text = new TextEncoder().encode("ping");
  await writeAll(conn, text);
  assert.deepEqual(await readExactly(conn, text.length), text);
  return performance.now() - started;
}

/** Expects that a connection to `client`, whose target echoes, gets a tunnel that works. */
export async function expectTunnel({ endpoint }: ClientRole): Promise<void> {
  using conn = await dial(endpoint);
  await soon("a new tunnel works", roundTrip(conn));
}

/**
 * The line of `client` that tells why a new connection at `endpoint` gets no
 * tunnel; the connection ends within `limit` ms, without a byte.
 */
export async function failedOpen(
  client: Role,
  { endpoint, limit }: {
    readonly endpoint: Endpoint;
    readonly limit?: number;
  },
): Promise<LogEntry> {
  const since = client.process.mark();
  using conn = await dial(endpoint);
  const bytes = await soon("the connection ends", readToEnd(conn), limit);
  assert.equal(bytes.length, 0);
  return await client.entry(({ msg }) => msg === "open failed", { since });
}

/** The middle one of `count` round trips, in ms. */
export async function medianRoundTrip(
  conn: Deno.Conn,
  count: number,
): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) times.push(await roundTrip(conn));
  times.sort((a, b) => a - b);
  return times[count >> 1] ?? 0;
}

/** Random numbers in [0, 1) that follow from a seed (mulberry32), so that a failure can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** From how few and up to how many bytes until the next cut. */
export interface CutRange {
  /** At least; less than a login cuts a reconnect too. */
  readonly from: number;
  /** At most. */
  readonly to: number;
}

/**
 * Cuts the connections of `relay` after random numbers of bytes, large and
 * small ones alike often, `times` times.
 */
export async function cutAtRandom(
  relay: FaultRelay,
  options: WaitOptions & {
    readonly times: number;
    readonly random: () => number;
    readonly range: CutRange;
  },
): Promise<void> {
  const { times, random, range: { from, to }, signal } = options;
  for (let i = 0; i < times; i++) {
    const cuts = relay.cuts;
    relay.cutAfter(Math.floor(from * (to / from) ** random()));
    await relay.whenCut(cuts + 1, { signal });
  }
}
