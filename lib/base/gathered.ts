/**
 * Bytes that come in pieces of any size, for parsers that need some of them
 * together.
 *
 * @module
 */

/** Bytes that are put together until they are enough. */
export class Gathered {
  #room = new Uint8Array(512);
  #start = 0;
  #end = 0;

  /** What is there and was not taken. */
  get bytes(): Uint8Array {
    return this.#room.subarray(this.#start, this.#end);
  }

  /** Adds a copy of `bytes`. */
  add(bytes: Uint8Array): void {
    const end = this.#end + bytes.length;
    if (end > this.#room.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#room.length));
      larger.set(this.#room.subarray(0, this.#end));
      this.#room = larger;
    }
    this.#room.set(bytes, this.#end);
    this.#end = end;
  }

  /** Takes the next `count` bytes, which are there. */
  take(count: number): Uint8Array {
    this.#start += count;
    return this.#room.subarray(this.#start - count, this.#start);
  }

  /** A copy of what was not taken. */
  rest(): Uint8Array {
    return this.bytes.slice();
  }
}
