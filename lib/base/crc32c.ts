/**
 * CRC32c, the checksum of Castagnoli (RFC 3720, B.4; RFC 4960, B).
 *
 * @module
 */

/** The polynomial, its bits reversed. */
const POLYNOMIAL = 0x82f63b78;

let table: Uint32Array | undefined;

/** What each byte adds; made when it is needed first. */
function makeTable(): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 1 ? crc >>> 1 ^ POLYNOMIAL : crc >>> 1;
    }
    return crc;
  });
}

/** The checksum of `parts`, one after the other: 32 bits, without a sign. */
export function crc32c(...parts: readonly Uint8Array[]): number {
  const each = table ??= makeTable();
  let crc = 0xffff_ffff;
  for (const part of parts) {
    for (const byte of part) {
      crc = crc >>> 8 ^ (each[(crc ^ byte) & 0xff] ?? 0);
    }
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}
