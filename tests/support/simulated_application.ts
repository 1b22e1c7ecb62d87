/**
 * An application and its connection, in one: it sends a pattern, checks what
 * it reads, and takes its time as the history says.
 */
import assert from "node:assert/strict";
import { type BufferPool, SLAB_BYTES } from "../../lib/base/buffer_pool.ts";
import type { Clock } from "../../lib/base/clock.ts";
import {
  type DirectSocket,
  type Socket,
  type SocketReader,
  type SocketWriter,
  type StreamPair,
  streamsOf,
} from "../../lib/net/socket.ts";
import type { Pace } from "./simulated_bus.ts";
import { assertPattern, patternAt } from "./simulation_parts.ts";

/** Where applications live. */
export interface World {
  readonly clock: Clock;
  /** How long a write takes, in ms. */
  readonly writeTime: number;
  /** The application at the other end, once a tunnel is open. */
  farOf(application: SimulatedApplication): SimulatedApplication | undefined;
  /** Runs checks where an error would be taken for one of the socket's. */
  check(checks: () => void): void;
}

/** One application. */
export class SimulatedApplication implements Socket, DirectSocket {
  readonly remote: string;
  readonly connectedAt: number;
  readonly reader: SocketReader = { read: () => this.#read() };
  readonly writer: SocketWriter = {
    write: (chunk) => this.#write(chunk),
    close: () => this.#end(),
  };
  readLimit = SLAB_BYTES;
  /** Bytes taken from it, and whether its end of stream was. */
  sent = 0;
  ended = false;
  /** Bytes it has read, and whether it was told of the end. */
  received = 0;
  endReceived = false;
  /** Whether our side has closed the connection. */
  closed = false;
  /** Why it has cut the connection. */
  failure: Error | undefined;
  readonly #world: World;
  readonly #pool: BufferPool;
  readonly #key: number;
  #unsent = 0;
  #chunk = 1;
  #slab = false;
  #endWanted = false;
  #pace: Pace = "fast";
  #changed = Promise.withResolvers<void>();

  /** An application that says nothing yet; its reads borrow slabs of `pool`. */
  constructor(world: World, pool: BufferPool, key: number, remote: string) {
    this.#world = world;
    this.#pool = pool;
    this.#key = key;
    this.remote = remote;
    this.connectedAt = world.clock.now();
  }

  get direct(): DirectSocket {
    return this;
  }

  get readable(): StreamPair["readable"] {
    return streamsOf(this).readable;
  }

  get writable(): StreamPair["writable"] {
    return streamsOf(this).writable;
  }

  /** Whether it has nothing left to send. */
  get idle(): boolean {
    return this.#unsent === 0 && (this.ended || !this.#endWanted);
  }

  close(): void {
    this.closed = true;
    this.#wake();
  }

  // The application

  send(
    { bytes, chunk, slab }: { bytes: number; chunk: number; slab: boolean },
  ): void {
    if (this.#endWanted) return;
    this.#unsent += bytes;
    this.#chunk = Math.min(chunk, SLAB_BYTES);
    this.#slab = slab;
    this.#wake();
  }

  end(): void {
    this.#endWanted = true;
    this.#wake();
  }

  setPace(pace: Pace): void {
    this.#pace = pace;
    this.#wake();
  }

  fail(): void {
    this.failure ??= new Error(`${this.remote} has failed`);
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #throwIfCut(): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.closed) throw new Error("Bad resource ID");
  }

  async #read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    for (;;) {
      this.#throwIfCut();
      if (this.#unsent > 0) break;
      if (this.#endWanted) {
        this.ended = true;
        return { done: true };
      }
      await this.#changed.promise;
    }
    const length = Math.min(this.readLimit, this.#unsent, this.#chunk);
    const value = this.#slab || length === SLAB_BYTES
      ? this.#pool.acquire().subarray(0, length)
      : new Uint8Array(length);
    value.set(patternAt(this.#key, this.sent, length));
    this.#unsent -= length;
    this.sent += length;
    return { done: false, value };
  }

  async #write(chunk: Uint8Array | undefined): Promise<void> {
    await this.#take();
    this.#world.check(() => {
      const far = this.#world.farOf(this);
      assert.ok(far && chunk, "bytes from nowhere");
      assert.ok(!this.endReceived, "bytes after the end");
      assertPattern(far.#key, this.received, chunk);
      this.received += chunk.length;
    });
  }

  async #end(): Promise<void> {
    await this.#take();
    this.#world.check(() => {
      const far = this.#world.farOf(this);
      assert.ok(!this.endReceived, "told of the end twice");
      assert.ok(far?.ended, "told of an end that nobody sent");
      assert.equal(this.received, far.sent, "short but clean");
      this.endReceived = true;
    });
  }

  /** Waits as long as a write takes at this pace. */
  async #take(): Promise<void> {
    this.#throwIfCut();
    while (this.#pace === "stalled") {
      await this.#changed.promise;
      this.#throwIfCut();
    }
    const { clock, writeTime } = this.#world;
    const time = this.#pace === "slow" ? 50 + 10 * writeTime : writeTime;
    if (time === 0) return;
    await new Promise<void>((resolve) => clock.after(time, resolve));
    this.#throwIfCut();
  }
}
