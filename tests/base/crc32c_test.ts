/** CRC32c by the examples of its standards. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { crc32c } from "../../lib/base/crc32c.ts";

Deno.test("crc32c: the examples of RFC 3720, B.4, and the usual check", () => {
  const ascending = Uint8Array.from({ length: 32 }, (_, at) => at);
  for (
    const [bytes, crc] of [
      [new Uint8Array(0), 0],
      [new TextEncoder().encode("123456789"), 0xe306_9283],
      [new Uint8Array(32), 0x8a91_36aa],
      [new Uint8Array(32).fill(0xff), 0x62a8_ab43],
      [ascending, 0x46dd_794e],
      [ascending.toReversed(), 0x113f_db5c],
    ] as const
  ) assert.equal(crc32c(bytes), crc);
});

Deno.test("crc32c: parts are as good as the whole", () => {
  fc.assert(fc.property(
    fc.uint8Array(),
    fc.uint8Array(),
    (a, b) => assert.equal(crc32c(a, b), crc32c(Uint8Array.of(...a, ...b))),
  ));
});
