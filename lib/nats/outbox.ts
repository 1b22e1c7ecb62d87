/**
 * What waits for the broker's socket: two lanes of encoded protocol, gathered
 * in large buffers and written one buffer at a time.
 *
 * What is queued in one turn of the event loop goes out in one write. While a
 * write is under way more gathers, and goes out with the next. Control bytes
 * are put in front of the data that has not been written yet, always between
 * two operations.
 *
 * @module
 */

import type { BrokerSocket } from "./socket.ts";

/** Which of the two queues: `control` is written first. */
export type Lane = "control" | "data";

/** What an outbox calls. */
export interface OutboxEvents {
  /** The pending bytes have fallen to the low-water mark after they had reached the high one. */
  readonly drained: () => void;
  /** Nothing more can be written, because of `error`. */
  readonly failed: (error: unknown) => void;
}

/** What an outbox counts. */
export interface SentCounts {
  /** Bytes that the operating system took. */
  bytesOut: number;
  /** Times that producers had to stop. */
  congestions: number;
  /** How long they had to in all, in ms, but for a time that is not over. */
  congestedMs: number;
}

/** A buffer with bytes to write from `start` to `end`, and room behind. */
export interface Batch {
  /** The buffer. */
  readonly bytes: Uint8Array;
  /** Where the first byte to write lies. */
  start: number;
  /** Where the next operation goes. */
  end: number;
}

/**
 * Size of a batch in bytes: what one write takes at most, and how much data a
 * control frame may have to wait for.
 */
export const BATCH_BYTES = 128 * 1024;

/**
 * Pending bytes at which producers must stop. Half a megabyte keeps a gigabit
 * link busy for 4 ms, longer than it takes to wake the producers.
 */
export const HIGH_WATER_BYTES = 512 * 1024;

/** Pending bytes at which producers may go on. */
export const LOW_WATER_BYTES = 256 * 1024;

/**
 * Pending bytes at which the connection is given up: as many as a broker
 * itself keeps for a slow reader. Only producers that ignore the high-water
 * mark get here.
 */
export const MAX_PENDING_BYTES = 64 * 1024 * 1024;

/** Room in front of a data batch for control bytes queued later: a hundred acknowledgements. */
const HEADROOM_BYTES = 8 * 1024;

/** Empty buffers kept: what fills and goes out below the high-water mark. */
const MAX_IDLE_BUFFERS = 4;

/** The queue of one connection. */
export class Outbox {
  readonly #socket: Pick<BrokerSocket, "write">;
  readonly #events: OutboxEvents;
  readonly #counts: SentCounts;
  readonly #control = new LaneQueue(0);
  readonly #data = new LaneQueue(HEADROOM_BYTES);
  readonly #idle: Uint8Array[] = [];
  readonly #kick = (): void => this.#start();
  #waiters: FlushWaiter[] = [];
  #pending = 0;
  #congested = false;
  #congestedAt = 0;
  #scheduled = false;
  #writing = false;
  #closed = false;
  #dataQueued = 0;
  #dataWritten = 0;

  /** Makes an empty outbox in front of `socket`. */
  constructor(
    socket: Pick<BrokerSocket, "write">,
    events: OutboxEvents,
    counts: SentCounts = { bytesOut: 0, congestions: 0, congestedMs: 0 },
  ) {
    this.#socket = socket;
    this.#events = events;
    this.#counts = counts;
  }

  /** Bytes queued and not yet taken by the operating system. */
  get pendingBytes(): number {
    return this.#pending;
  }

  /** Whether producers must stop until `drained`; after `close`, whether they had to. */
  get congested(): boolean {
    return this.#congested;
  }

  /**
   * The same for small messages in front of the data: they have as much room
   * again, or what waits of the data would keep them from being read.
   */
  get expressCongested(): boolean {
    return this.#congested && this.#pending >= 2 * HIGH_WATER_BYTES;
  }

  /** A batch with room for `size` bytes at its `end`; `commit` must follow before anything else. */
  reserve(lane: Lane, size: number): Batch {
    const queue = lane === "data" ? this.#data : this.#control;
    const { open } = queue;
    if (open !== undefined && open.end + size <= open.bytes.length) return open;
    return this.#openBatch(queue, size);
  }

  /** Queues what was written into the reserved batch, up to `end`. */
  commit(lane: Lane, end: number): void {
    const open = lane === "data" ? this.#data.open : this.#control.open;
    if (open === undefined || this.#closed) return;
    const size = end - open.end;
    open.end = end;
    this.#pending += size;
    if (lane === "data") this.#dataQueued += size;
    if (this.#pending >= HIGH_WATER_BYTES) {
      if (!this.#congested) this.#congest();
      if (this.#pending > MAX_PENDING_BYTES) {
        this.#events.failed(
          new Error(`${this.#pending} bytes wait for it to read`),
        );
        return;
      }
    }
    if (!this.#scheduled && !this.#writing) {
      this.#scheduled = true;
      queueMicrotask(this.#kick);
    }
  }

  /** Queues a copy of `bytes`, which must be whole operations. */
  push(lane: Lane, bytes: Uint8Array): void {
    const batch = this.reserve(lane, bytes.length);
    batch.bytes.set(bytes, batch.end);
    this.commit(lane, batch.end + bytes.length);
  }

  /**
   * Resolves when all data queued so far has been taken by the operating
   * system.
   *
   * @throws {Error} when the outbox is closed before that.
   */
  written(): Promise<void> {
    if (this.#dataWritten === this.#dataQueued) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiters.push({ position: this.#dataQueued, resolve, reject });
    return promise;
  }

  /** Forgets what is queued and writes no more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending = 0;
    if (this.#congested) this.#countCongestion();
    this.#control.clear();
    this.#data.clear();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiters) {
      reject(new Error("The connection to NATS ended before all was sent"));
    }
  }

  #openBatch(queue: LaneQueue, size: number): Batch {
    const needed = queue.headroom + size;
    const bytes = needed > BATCH_BYTES
      ? new Uint8Array(needed)
      : this.#idle.pop() ?? new Uint8Array(BATCH_BYTES);
    const old = queue.open;
    const batch = queue.openNext(bytes);
    if (old !== undefined && old.end > old.start) {
      // A full batch need not wait for the end of the turn.
      if (!this.#writing) this.#start();
    } else if (old !== undefined) this.#recycle(old);
    return batch;
  }

  #start(): void {
    this.#scheduled = false;
    if (this.#writing || this.#closed) return;
    this.#writing = true;
    void this.#run();
  }

  /** Writes until nothing is queued. */
  async #run(): Promise<void> {
    try {
      for (;;) {
        const data = this.#data.first();
        const dataBytes = data === undefined ? 0 : data.end - data.start;
        const batch = this.#next(data);
        if (batch === undefined) break;
        let rest = batch.bytes.subarray(batch.start, batch.end);
        for (;;) {
          const count = await this.#socket.write(rest);
          if (this.#closed) return;
          if (count < 1) throw new Error("nothing could be written");
          this.#settle(count);
          if (count === rest.length) break;
          rest = rest.subarray(count);
        }
        this.#recycle(batch);
        if (batch === data) this.#dataIsWritten(dataBytes);
      }
      this.#writing = false;
    } catch (error) {
      if (!this.#closed) this.#events.failed(error);
    }
  }

  /** Takes the batch to write next out of its lane. */
  #next(data: Batch | undefined): Batch | undefined {
    const control = this.#control.first();
    if (control === undefined) {
      return data === undefined ? undefined : this.#data.take(data);
    }
    const size = control.end - control.start;
    if (
      data === undefined || size > data.start || control !== this.#control.open
    ) {
      return this.#control.take(control);
    }
    // Both lanes in one write.
    data.start -= size;
    data.bytes.set(
      control.bytes.subarray(control.start, control.end),
      data.start,
    );
    control.end = control.start;
    return this.#data.take(data);
  }

  #settle(count: number): void {
    this.#pending -= count;
    this.#counts.bytesOut += count;
    if (this.#congested && this.#pending <= LOW_WATER_BYTES) {
      this.#congested = false;
      this.#countCongestion();
      this.#events.drained();
    }
  }

  #congest(): void {
    this.#congested = true;
    this.#congestedAt = performance.now();
    this.#counts.congestions++;
  }

  #countCongestion(): void {
    this.#counts.congestedMs += performance.now() - this.#congestedAt;
  }

  #dataIsWritten(count: number): void {
    this.#dataWritten += count;
    while (
      this.#waiters[0] !== undefined &&
      this.#waiters[0].position <= this.#dataWritten
    ) {
      this.#waiters.shift()?.resolve();
    }
  }

  #recycle({ bytes }: Batch): void {
    if (bytes.length === BATCH_BYTES && this.#idle.length < MAX_IDLE_BUFFERS) {
      this.#idle.push(bytes);
    }
  }
}

/** Somebody who waits until data up to `position` is written. */
interface FlushWaiter {
  readonly position: number;
  resolve(): void;
  reject(error: Error): void;
}

/** The batches of one lane: full ones in order, then the one that fills. */
class LaneQueue {
  /** Bytes left free in front of each batch. */
  readonly headroom: number;
  /** The batch that fills, if there is one. */
  open: Batch | undefined;
  #full: Batch[] = [];

  constructor(headroom: number) {
    this.headroom = headroom;
  }

  /** Starts a batch in `bytes`, behind the one that has filled so far. */
  openNext(bytes: Uint8Array): Batch {
    if (this.open !== undefined && this.open.end > this.open.start) {
      this.#full.push(this.open);
    }
    this.open = { bytes, start: this.headroom, end: this.headroom };
    return this.open;
  }

  /** The batch to write first; undefined when there is nothing to write. */
  first(): Batch | undefined {
    const full = this.#full[0];
    if (full !== undefined) return full;
    const { open } = this;
    return open !== undefined && open.end > open.start ? open : undefined;
  }

  /** Takes out `batch`, which is the first. */
  take(batch: Batch): Batch {
    if (batch === this.open) this.open = undefined;
    else this.#full.shift();
    return batch;
  }

  clear(): void {
    this.open = undefined;
    this.#full = [];
  }
}
