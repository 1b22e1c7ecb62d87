/**
 * Whole numbers as bytes, the most significant first.
 *
 * By hand, since a `DataView` for each message costs more than the bytes.
 *
 * @module
 */

const TWO_32 = 0x1_0000_0000;

/** The number in 4 bytes from `at` on; what is beyond the end counts as 0. */
export function readU32(data: Uint8Array, at: number): number {
  return (byte(data, at) * 0x100_0000) + (byte(data, at + 1) << 16) +
    (byte(data, at + 2) << 8) + byte(data, at + 3);
}

/** The number in 8 bytes from `at` on; over 2^53 one near it, which is over 2^53 too. */
export function readU64(data: Uint8Array, at: number): number {
  return readU32(data, at) * TWO_32 + readU32(data, at + 4);
}

/** Writes a number below 2^32 in 4 bytes. */
export function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

/** Writes a number of at most 2^53 in 8 bytes. */
export function writeU64(target: Uint8Array, at: number, value: number): void {
  writeU32(target, at, Math.floor(value / TWO_32));
  writeU32(target, at + 4, value >>> 0);
}

function byte(data: Uint8Array, at: number): number {
  return data[at] ?? 0;
}
