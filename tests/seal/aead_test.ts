/** The cipher, by whichever implementation: what one seals the other opens. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Aead,
  nodeAead,
  SMALL_BYTES,
  SodiumAead,
  TAG_BYTES,
} from "../../lib/seal/aead.ts";
import { loadAead } from "../../lib/process/sodium.ts";

const sodium = await loadAead();
const ALL: readonly Aead[] = [nodeAead, sodium];

const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);

/** A sealed copy. */
function sealed(
  aead: Aead,
  { key, nonce, associated, plain }: {
    readonly key: Uint8Array;
    readonly nonce: Uint8Array;
    readonly associated: Uint8Array;
    readonly plain: Uint8Array;
  },
): Uint8Array {
  const message = new Uint8Array(plain.length + TAG_BYTES);
  message.set(plain);
  aead.sealInPlace(key, nonce, associated, message);
  return message;
}

Deno.test("the cipher is that of RFC 8439 (2.8.2)", () => {
  const plain = new TextEncoder().encode(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
  );
  for (const aead of ALL) {
    const bytes = sealed(aead, {
      key: hex(
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
      ),
      nonce: hex("070000004041424344454647"),
      associated: hex("50515253c0c1c2c3c4c5c6c7"),
      plain,
    });
    assert.equal(
      bytes.subarray(0, 16).toHex(),
      "d31a8d34648e60db7b86afbc53ef7ec2",
    );
    assert.equal(
      bytes.subarray(-TAG_BYTES).toHex(),
      "1ae10b594f09e26a7e902ecbd0600691",
    );
  }
});

Deno.test("libsodium and node:crypto seal the same, and open nothing of which a bit is another", () => {
  const bytes = (length: number) =>
    fc.uint8Array({ minLength: length, maxLength: length });
  const plain = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: -2, max: 2 }).map((more) =>
      new Uint8Array(SMALL_BYTES - TAG_BYTES + more).fill(7)
    ),
  );
  fc.assert(fc.property(
    bytes(32),
    bytes(12),
    fc.uint8Array({ maxLength: 100 }),
    plain,
    fc.nat(),
    (key, nonce, associated, plain, at) => {
      const message = { key, nonce, associated, plain };
      const made = sealed(sodium, message);
      assert.deepEqual(made, sealed(nodeAead, message));
      const changed = made.slice();
      const byte = Math.floor(at / 8) % changed.length;
      changed[byte] = (changed[byte] ?? 0) ^ (1 << at % 8);
      for (const aead of ALL) {
        const opened = aead.open(key, nonce, associated, made);
        assert.deepEqual(opened && new Uint8Array(opened), plain);
        assert.equal(aead.open(key, nonce, associated, changed), undefined);
        assert.equal(
          aead.open(key, nonce, Uint8Array.of(1, ...associated), made),
          undefined,
        );
      }
    },
  ));
});

Deno.test("less than a tag is opened by nobody, and long associated data by both", () => {
  const key = new Uint8Array(32);
  const nonce = new Uint8Array(12);
  for (const aead of ALL) {
    assert.equal(
      aead.open(key, nonce, key, new Uint8Array(TAG_BYTES - 1)),
      undefined,
    );
    const associated = new Uint8Array(5000).fill(1);
    const made = sealed(aead, { key, nonce, associated, plain: key });
    assert.deepEqual(
      [...nodeAead.open(key, nonce, associated, made) ?? []],
      [...key],
    );
  }
});

Deno.test("what is small goes to libsodium, the rest does not", () => {
  let calls = 0;
  const memory = new Uint8Array(64 * 1024);
  const aead = new SodiumAead({
    HEAPU8: memory,
    _malloc: () => 16,
    _crypto_aead_chacha20poly1305_ietf_encrypt_detached: () => ++calls,
    _crypto_aead_chacha20poly1305_ietf_decrypt_detached: () => ++calls,
  });
  const key = new Uint8Array(32);
  const nonce = new Uint8Array(12);
  const nothing = new Uint8Array(0);
  for (const [bytes, expected] of [[SMALL_BYTES, 2], [SMALL_BYTES + 1, 0]]) {
    calls = 0;
    const message = new Uint8Array(bytes ?? 0);
    aead.sealInPlace(key, nonce, nothing, message);
    aead.open(key, nonce, nothing, message);
    assert.equal(calls, expected);
  }
});
