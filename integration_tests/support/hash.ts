/**
 * Makes test data: bytes that follow from a seed, and their SHA-256.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** Bytes generated at once; a multiple of 4. */
const BLOCK = 64 * 1024;

/**
 * A stream of `length` bytes that looks random and depends on `seed` alone
 * (the generator is sfc32), however it is cut into pieces.
 */
export class ByteSource {
  /** How many bytes it gives in all. */
  readonly length: number;
  readonly #words = new Uint32Array(BLOCK / 4);
  readonly #block = new Uint8Array(this.#words.buffer);
  #state: [number, number, number, number];
  #used = BLOCK;
  #given = 0;

  /** The bytes of `seed` (a 32-bit number). */
  constructor(seed: number, length: number) {
    this.length = length;
    this.#state = [0x9e3779b9, 0x243f6a88, seed | 0, 1];
    this.#fill(); // The first outputs hardly depend on the seed.
    this.#used = BLOCK;
  }

  /** How many bytes were given so far. */
  get offset(): number {
    return this.#given;
  }

  /**
   * The next bytes, at most `max`; empty at the end. They are valid until the
   * next call.
   */
  next(max: number = BLOCK): Uint8Array<ArrayBuffer> {
    if (this.#used === BLOCK) this.#fill();
    const size = Math.min(
      max,
      BLOCK - this.#used,
      this.length - this.#given,
    );
    const bytes = this.#block.subarray(this.#used, this.#used + size);
    this.#used += size;
    this.#given += size;
    return bytes;
  }

  /** All that is left, in one array. */
  rest(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.length - this.#given);
    for (let at = 0; at < all.length;) {
      const piece = this.next();
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }

  #fill(): void {
    let [a, b, c, d] = this.#state;
    const words = this.#words;
    for (let i = 0; i < words.length; i++) {
      const t = (((a + b) | 0) + d) | 0;
      d = (d + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (c << 21) | (c >>> 11);
      c = (c + t) | 0;
      words[i] = t;
    }
    this.#state = [a, b, c, d];
    this.#used = 0;
  }
}

/** What went by: how many bytes, and their SHA-256 in hex. */
export interface Digest {
  /** Number of bytes. */
  readonly bytes: number;
  /** SHA-256 of them, lower-case hex. */
  readonly sha256: string;
}

/** SHA-256, a piece at a time. */
export class Sha256 {
  readonly #hash = createHash("sha256");
  #bytes = 0;

  /** How many bytes went in so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds `data`. */
  update(data: Uint8Array): void {
    this.#hash.update(data);
    this.#bytes += data.length;
  }

  /** The digest of all that went in; nothing can be added afterwards. */
  digest(): Digest {
    return { bytes: this.#bytes, sha256: this.#hash.digest("hex") };
  }
}

/** The digest of the `length` bytes of `seed`. */
export function digestOf(seed: number, length: number): Digest {
  const source = new ByteSource(seed, length);
  const hash = new Sha256();
  while (source.offset < length) hash.update(source.next());
  return hash.digest();
}

/** SHA-256 of `data`, in lower-case hex. */
export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
