/**
 * Times the parts without a network (`deno bench bench/micro_bench.ts`): frames
 * encoded and decoded, and bytes that go through two state machines.
 *
 * @module
 */

import { binaryCodec } from "../lib/wire/binary.ts";
import { BufferPool } from "../lib/base/buffer_pool.ts";
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
    path.sample(0.1, 0);
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

for (const size of SIZES) {
  for (const codec of [binaryCodec, jsonCodec]) {
    const frame = {
      type: "data",
      offset: 123_456_789,
      ack: 987_654,
      limit: 1_987_654,
      payload: new Uint8Array(size).fill(0x61),
    } as const;
    const encoded = codec.encode(ID, frame);
    const target = new Uint8Array(encoded.byteLength);
    encoded.encodeInto(target, 0);
    Deno.bench(
      `${codec.name} encode ${size}`,
      () => codec.encode(ID, frame).encodeInto(target, 0),
    );
    Deno.bench(
      `${codec.name} decode ${size}`,
      () => void codec.decode(target),
    );
  }
  const pair = new Pair();
  Deno.bench(`state round-trip ${size}`, () => pair.roundTrip(size));
}
