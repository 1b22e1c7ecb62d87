/**
 * ChaCha20-Poly1305 (RFC 8439): by node:crypto for all there is, and by
 * libsodium for what is small.
 *
 * node:crypto needs an object with a stream and six buffers for each message,
 * whatever its size: in a busy process 8 µs with what the garbage collector has
 * to do later. libsodium needs nothing (1 µs for 90 bytes), but three times as
 * long for each byte. They are even at about 4 KiB.
 *
 * @module
 */
import { createCipheriv, createDecipheriv } from "node:crypto";

/** Bytes that sealing adds (RFC 8439, 2.8). */
export const TAG_BYTES = 16;

/** Longest message, sealed, that libsodium is better at. */
export const SMALL_BYTES = 4096;

/** Longest associated data of a small message: more than a frame has. */
const MAX_ASSOCIATED_BYTES = 2048;

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const CIPHER = "chacha20-poly1305";

/** An implementation of the cipher. */
export interface Aead {
  /** Seals all but the last 16 bytes of `message` where they are; those take the tag. */
  sealInPlace(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    message: Uint8Array,
  ): void;

  /**
   * Opens what was sealed; undefined if one bit of it is another's. The bytes
   * stay as they are until the next call.
   */
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    sealed: Uint8Array,
  ): Uint8Array | undefined;
}

/** For messages of any size. */
export const nodeAead: Aead = {
  sealInPlace(key, nonce, associated, message): void {
    const end = message.length - TAG_BYTES;
    const cipher = createCipheriv(CIPHER, key, nonce, {
      authTagLength: TAG_BYTES,
    });
    cipher.setAAD(associated, { plaintextLength: end });
    message.set(cipher.update(message.subarray(0, end)));
    cipher.final();
    message.set(cipher.getAuthTag(), end);
  },

  open(key, nonce, associated, sealed): Uint8Array | undefined {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) return undefined;
    const decipher = createDecipheriv(CIPHER, key, nonce, {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(associated, { plaintextLength: end });
    decipher.setAuthTag(sealed.subarray(end));
    const plain = decipher.update(sealed.subarray(0, end));
    try {
      decipher.final();
      return plain;
    } catch {
      return undefined; // the only thing it checks is the tag
    }
  },
};

/** What of libsodium is used, as its package `libsodium` has it. Numbers are addresses, and lengths in two halves. */
export interface Sodium {
  /** Its memory. */
  readonly HEAPU8: Uint8Array;
  /** Takes memory. */
  _malloc(bytes: number): number;
  /** Seals. */
  _crypto_aead_chacha20poly1305_ietf_encrypt_detached(
    ciphertext: number,
    tag: number,
    tagLength: number,
    plain: number,
    plainLength: number,
    plainLengthHigh: number,
    associated: number,
    associatedLength: number,
    associatedLengthHigh: number,
    secretNonce: number,
    nonce: number,
    key: number,
  ): number;
  /** Opens; 0 if nothing was changed. */
  _crypto_aead_chacha20poly1305_ietf_decrypt_detached(
    plain: number,
    secretNonce: number,
    ciphertext: number,
    length: number,
    lengthHigh: number,
    tag: number,
    associated: number,
    associatedLength: number,
    associatedLengthHigh: number,
    nonce: number,
    key: number,
  ): number;
}

/** Leaves to libsodium what is small, and the rest to node:crypto. */
export class SodiumAead implements Aead {
  readonly #sodium: Sodium;
  readonly #memory: Uint8Array;
  readonly #key: number;
  readonly #nonce: number;
  readonly #associated: number;
  readonly #message: number;

  /** Takes memory of `sodium` for one message, once: with no more it does not move. */
  constructor(sodium: Sodium) {
    this.#sodium = sodium;
    this.#key = sodium._malloc(
      KEY_BYTES + NONCE_BYTES + MAX_ASSOCIATED_BYTES + SMALL_BYTES,
    );
    this.#nonce = this.#key + KEY_BYTES;
    this.#associated = this.#nonce + NONCE_BYTES;
    this.#message = this.#associated + MAX_ASSOCIATED_BYTES;
    this.#memory = sodium.HEAPU8;
  }

  /** Seals, as {@linkcode Aead.sealInPlace} says. */
  sealInPlace(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    message: Uint8Array,
  ): void {
    if (!this.#put(key, nonce, associated, message)) {
      nodeAead.sealInPlace(key, nonce, associated, message);
      return;
    }
    const at = this.#message;
    const end = message.length - TAG_BYTES;
    // deno-fmt-ignore
    this.#sodium._crypto_aead_chacha20poly1305_ietf_encrypt_detached(
      at, at + end, 0, at, end, 0,
      this.#associated, associated.length, 0, 0, this.#nonce, this.#key,
    );
    message.set(this.#memory.subarray(at, at + message.length));
  }

  /** Opens, as {@linkcode Aead.open} says. */
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    sealed: Uint8Array,
  ): Uint8Array | undefined {
    if (!this.#put(key, nonce, associated, sealed)) {
      return nodeAead.open(key, nonce, associated, sealed);
    }
    const at = this.#message;
    const end = sealed.length - TAG_BYTES;
    // deno-fmt-ignore
    const differs = this.#sodium._crypto_aead_chacha20poly1305_ietf_decrypt_detached(
      at, 0, at, end, 0, at + end,
      this.#associated, associated.length, 0, this.#nonce, this.#key,
    );
    return differs === 0 ? this.#memory.subarray(at, at + end) : undefined;
  }

  /** Puts all into the memory of libsodium; false if it is not for that. */
  #put(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    message: Uint8Array,
  ): boolean {
    if (
      message.length > SMALL_BYTES || message.length < TAG_BYTES ||
      associated.length > MAX_ASSOCIATED_BYTES
    ) return false;
    const memory = this.#memory;
    memory.set(key, this.#key);
    memory.set(nonce, this.#nonce);
    memory.set(associated, this.#associated);
    memory.set(message, this.#message);
    return true;
  }
}
