/**
 * The parts without a network: frames encoded and decoded, and events of the
 * state machine. `deno bench -A bench/micro_bench.ts`, or the bench's `micro`
 * group, which reads the names below.
 *
 * @module
 */

import { binaryCodec } from "../lib/wire/binary.ts";
import { BufferPool } from "../lib/base/buffer_pool.ts";
import type { Codec } from "../lib/wire/codec.ts";
import type { Frame } from "../lib/wire/frame.ts";
import { jsonCodec } from "../lib/wire/json.ts";
import { MemoryBudget } from "../lib/tunnel/memory_budget.ts";
import { PathEstimate } from "../lib/tunnel/rtt.ts";
import { TunnelState } from "../lib/tunnel/machine.ts";

/** Payload bytes of a small message and of a full frame. */
const SIZES = [64, 16 * 1024] as const;

/** A connection ID of the usual length. */
const ID = "abcdefghijklmnop.abcdefghijklmnop.12345";

/** Window and budget of the state machines, in bytes: never the limit here. */
const WINDOW = 1024 * 1024;

/** Reads below this are copied out of the slab they were read into. */
const SMALL_BYTES = 16 * 1024;

/** Something to be called again and again. */
export interface Micro {
  /** What the report looks for. */
  readonly name: string;
  /** Does it once. */
  readonly once: () => void;
}

function dataFrame(size: number): Frame {
  return {
    type: "data",
    offset: 123_456_789,
    ack: 987_654,
    limit: 1_987_654,
    payload: new Uint8Array(size).fill(0x61),
  };
}

function codecMicros(codec: Codec): Micro[] {
  return SIZES.flatMap((size) => {
    const frame = dataFrame(size);
    const { byteLength } = codec.encode(ID, frame);
    const target = new Uint8Array(byteLength);
    codec.encode(ID, frame).encodeInto(target, 0);
    return [
      {
        name: `${codec.name} encode ${size}`,
        once: () => codec.encode(ID, frame).encodeInto(target, 0),
      },
      {
        name: `${codec.name} decode ${size}`,
        once: () => void codec.decode(target),
      },
    ];
  });
}

/** Two machines that talk to each other without anything in between. */
class Pair {
  readonly #pool = new BufferPool();
  readonly #near = this.#machine();
  readonly #far = this.#machine();
  #now = 0;
  /** `size` bytes are read, carried over and written, and as many come back. */
  roundTrip(size: number): void {
    this.#carry(this.#near, this.#far, size);
    this.#carry(this.#far, this.#near, size);
  }

  #carry(from: TunnelState, to: TunnelState, size: number): void {
    const now = this.#now += 0.01;
    // As the socket does: a small read is copied out of its slab.
    const chunk = size < SMALL_BYTES
      ? new Uint8Array(size)
      : this.#pool.acquire().subarray(0, size);
    from.read(chunk, now);
    // Acknowledgements may lead to more frames: until both are silent.
    for (let moved = 1; moved > 0;) {
      moved = this.#move(from, to) + this.#move(to, from);
    }
    if (from.nextTimeout <= now) from.tick(now);
    if (to.nextTimeout <= now) to.tick(now);
  }

  #move(from: TunnelState, to: TunnelState): number {
    let count = 0;
    for (;;) {
      const frame = from.pollFrame(this.#now);
      if (frame === undefined) break;
      count++;
      to.receive(frame, this.#now);
      for (;;) {
        const bytes = to.takeWritable();
        if (bytes === undefined) break;
        to.wrote(bytes, this.#now);
      }
    }
    return count;
  }

  #machine(): TunnelState {
    const path = new PathEstimate();
    path.sample(0.1);
    return new TunnelState({
      now: 0,
      pool: this.#pool,
      sendBudget: new MemoryBudget(16 * WINDOW),
      receiveBudget: new MemoryBudget(16 * WINDOW),
      path,
      peerWindow: WINDOW,
      window: WINDOW,
      maxWindow: WINDOW,
      frameBytes: 16 * 1024,
      idleTimeout: 0,
      halfCloseTimeout: 0,
      awaitPeer: false,
    });
  }
}

function stateMicros(): Micro[] {
  return SIZES.map((size) => {
    const pair = new Pair();
    return {
      name: `state round-trip ${size}`,
      once: () => pair.roundTrip(size),
    };
  });
}

/** All of them. */
export function micros(): Micro[] {
  return [
    ...codecMicros(binaryCodec),
    ...codecMicros(jsonCodec),
    ...stateMicros(),
  ];
}

for (const { name, once } of micros()) Deno.bench(name, once);
