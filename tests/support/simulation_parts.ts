/**
 * What the simulated bus is put together from: an event queue, numbers and
 * bytes that follow from a seed, and a pool that spoils what is given back.
 */
import assert from "node:assert/strict";
import { BufferPool, SLAB_BYTES } from "../../lib/base/buffer_pool.ts";

/** What a slab is filled with when it is given back. */
export const POISON = 0xdd;

/** Length of the pattern that applications send: prime, so that no power of two hides a shift. */
const PATTERN_LENGTH = 65_521;
const PATTERN = makePattern();

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Events by time, and in the order in which they were added. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #order = 0;

  /** When the next event is due. */
  get nextAt(): number | undefined {
    return this.#heap[0]?.at;
  }

  /** Adds an event. */
  add(at: number, run: () => void): void {
    const event = { at, order: this.#order++, run };
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = event;
  }

  /** Removes and returns the next event. */
  take(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || first === last) {
      return first;
    }
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let least = left;
      if (right !== undefined && isBefore(right, left)) {
        least = right;
        child++;
      }
      if (!isBefore(least, last)) break;
      heap[place] = least;
      place = child;
    }
    heap[place] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** A pool that spoils what is given back and knows what is not. */
export class PoisoningPool extends BufferPool {
  /** Slabs that were not given back. */
  readonly lent = new Set<ArrayBufferLike>();

  override acquire(): Uint8Array {
    const slab = super.acquire();
    this.lent.add(slab.buffer);
    return slab;
  }

  override release(view: Uint8Array): void {
    const { buffer } = view;
    if (!this.lent.delete(buffer)) {
      assert.notEqual(buffer.byteLength, SLAB_BYTES, "a slab given back twice");
    }
    new Uint8Array(buffer).fill(POISON);
    super.release(view);
  }
}

/** Numbers from 0 to below 1 that follow from `seed` (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

function makePattern(): Uint8Array {
  const random = randomFrom(1);
  const bytes = new Uint8Array(PATTERN_LENGTH + SLAB_BYTES);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = at < PATTERN_LENGTH
      ? Math.floor(random() * 256)
      : bytes[at - PATTERN_LENGTH] ?? 0;
  }
  return bytes;
}

/** What the stream of this key holds from `offset` on. */
export function patternAt(
  key: number,
  offset: number,
  length: number,
): Uint8Array {
  const start = (key + offset) % PATTERN_LENGTH;
  return PATTERN.subarray(start, start + length);
}

/** Fails unless `bytes` are those of the stream of this key at `offset`. */
export function assertPattern(
  key: number,
  offset: number,
  bytes: Uint8Array,
): void {
  assertEqual(
    bytes,
    patternAt(key, offset, bytes.length),
    `bytes at offset ${offset} are not those sent`,
  );
}

/** Fails with `message` unless the arrays hold the same bytes. */
export function assertEqual(
  actual: Uint8Array,
  expected: Uint8Array,
  message: string,
): void {
  let at = actual.length === expected.length ? 0 : -1;
  while (at >= 0 && at < actual.length && actual[at] === expected[at]) at++;
  assert.equal(at, expected.length, message);
}
