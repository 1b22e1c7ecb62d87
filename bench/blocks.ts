/**
 * Bytes to transfer: cheap to make, so that the sender costs little beside
 * what is measured, and different at every place, so that lost, repeated or
 * swapped pieces change the digest.
 *
 * @module
 */

import { ByteSource } from "../integration_tests/support/hash.ts";

/** Bytes of one block. */
export const BLOCK_BYTES = 256 * 1024;

/** Blocks that look random; each begins with its number. */
export class Blocks {
  readonly #bytes = new ByteSource(1, BLOCK_BYTES).rest();
  readonly #view = new DataView(this.#bytes.buffer);

  /** Block number `index`; valid until the next call. */
  at(index: number): Uint8Array<ArrayBuffer> {
    this.#view.setUint32(0, index, true);
    return this.#bytes;
  }
}
