/**
 * The handshake `Noise_IKpsk2_25519_ChaChaPoly_SHA256` of the Noise Protocol
 * Framework, revision 34 (noiseprotocol.org): two messages, after which both
 * sides know each other's static keys and share two keys that nobody else has.
 *
 * ```text
 *   <- s
 *   ...
 *   -> e, es, s, ss
 *   <- e, ee, se, psk
 * ```
 *
 * The words are the framework's, so that the code can be read beside it.
 *
 * @module
 */
import { createHash, createHmac, hkdfSync } from "node:crypto";
import { nodeAead, TAG_BYTES } from "./aead.ts";
import { agree, KEY_BYTES, type KeyPair } from "./keys.ts";

/** The one suite there is. */
export const SUITE = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";

/** Bytes of a nonce (RFC 8439, 2.3). */
const NONCE_BYTES = 12;

/** Where a nonce is put together: a new buffer for each costs half as much as sealing a small message. */
const nonce = new Uint8Array(NONCE_BYTES);

/** That of message 2^64 - 1, which is never sent (4.2). */
const LAST_NONCE = new Uint8Array(NONCE_BYTES).fill(0xff, 4);

/** Bytes of one output of HKDF. */
const HASH_BYTES = 32;

const TWO_32 = 0x1_0000_0000;
const NOTHING: Uint8Array = new Uint8Array(0);

/** What both sides of a handshake bring. */
export interface HandshakeOptions {
  /** What both must agree on without it being sent. */
  readonly prologue: Uint8Array;
  /** Our static key. */
  readonly local: KeyPair;
  /** A key pair made for this one handshake. */
  readonly ephemeral: KeyPair;
  /** A secret of 32 bytes that both have; zeros where there is none. */
  readonly psk: Uint8Array;
}

/** What a handshake ends in: the keys of 32 bytes for each direction. */
export interface TransportKeys {
  /** Of what the initiator sends. */
  readonly fromInitiator: Uint8Array;
  /** Of what the responder sends. */
  readonly fromResponder: Uint8Array;
}

/** The side that begins, and knows the other's static key. */
export class Initiator {
  readonly #options: HandshakeOptions;
  readonly #state: SymmetricState;
  readonly #remote: Uint8Array;

  /** A handshake with the holder of the static key `remote`. */
  constructor(options: HandshakeOptions & { readonly remote: Uint8Array }) {
    this.#options = options;
    this.#remote = options.remote;
    this.#state = SymmetricState.begin(options.prologue, options.remote);
  }

  /** The first message; undefined if the other's static key is none to agree with. */
  write(payload: Uint8Array): Uint8Array | undefined {
    const { local, ephemeral } = this.#options;
    const state = this.#state;
    state.mixEphemeral(ephemeral.publicKey);
    if (!state.mixAgreed(ephemeral, this.#remote)) return undefined;
    const sealedStatic = state.encryptAndHash(local.publicKey);
    if (!state.mixAgreed(local, this.#remote)) return undefined;
    const sealedPayload = state.encryptAndHash(payload);
    return concat(ephemeral.publicKey, sealedStatic, sealedPayload);
  }

  /** Takes the second message; undefined if it is not from the other side, whose message may come yet. */
  read(
    message: Uint8Array,
  ): TransportKeys & { readonly payload: Uint8Array } | undefined {
    const { local, ephemeral, psk } = this.#options;
    const state = this.#state.copy();
    if (message.length < KEY_BYTES + TAG_BYTES) return undefined;
    const remote = message.subarray(0, KEY_BYTES);
    state.mixEphemeral(remote);
    if (
      !state.mixAgreed(ephemeral, remote) || !state.mixAgreed(local, remote)
    ) return undefined;
    state.mixKeyAndHash(psk);
    const payload = state.decryptAndHash(message.subarray(KEY_BYTES));
    return payload && { payload, ...state.split() };
  }
}

/** What the first message says. */
export interface FirstMessage {
  /** The initiator's static key: who it is. */
  readonly remote: Uint8Array;
  /** What it sent beside. */
  readonly payload: Uint8Array;
}

/** The side that answers. */
export class Responder {
  readonly #options: HandshakeOptions;
  readonly #state: SymmetricState;
  #remoteStatic = NOTHING;
  #remoteEphemeral = NOTHING;

  /** A handshake with whoever begins it. */
  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#state = SymmetricState.begin(
      options.prologue,
      options.local.publicKey,
    );
  }

  /** Takes the first message; undefined if it is not for our static key. */
  read(message: Uint8Array): FirstMessage | undefined {
    const { local } = this.#options;
    const state = this.#state;
    const sealedBytes = KEY_BYTES + TAG_BYTES;
    if (message.length < KEY_BYTES + sealedBytes + TAG_BYTES) return undefined;
    const ephemeral = message.slice(0, KEY_BYTES);
    state.mixEphemeral(ephemeral);
    if (!state.mixAgreed(local, ephemeral)) return undefined;
    const rest = message.subarray(KEY_BYTES);
    const remote = state.decryptAndHash(rest.subarray(0, sealedBytes));
    if (remote === undefined || !state.mixAgreed(local, remote)) {
      return undefined;
    }
    const payload = state.decryptAndHash(rest.subarray(sealedBytes));
    if (payload === undefined) return undefined;
    this.#remoteStatic = remote;
    this.#remoteEphemeral = ephemeral;
    return { remote, payload };
  }

  /** The second message; undefined if the other's keys are none to agree with. */
  write(
    payload: Uint8Array,
  ): TransportKeys & { readonly message: Uint8Array } | undefined {
    const { ephemeral, psk } = this.#options;
    const state = this.#state;
    state.mixEphemeral(ephemeral.publicKey);
    if (
      !state.mixAgreed(ephemeral, this.#remoteEphemeral) ||
      !state.mixAgreed(ephemeral, this.#remoteStatic)
    ) return undefined;
    state.mixKeyAndHash(psk);
    const message = concat(
      ephemeral.publicKey,
      state.encryptAndHash(payload),
    );
    return { message, ...state.split() };
  }
}

/** The framework's SymmetricState (5.2), with the CipherState (5.1) inside it. */
class SymmetricState {
  #chainingKey: Uint8Array;
  #hash: Uint8Array;
  #key = NOTHING;
  #nonce = 0;

  private constructor(chainingKey: Uint8Array, hash: Uint8Array) {
    this.#chainingKey = chainingKey;
    this.#hash = hash;
  }

  static begin(
    prologue: Uint8Array,
    responderStatic: Uint8Array,
  ): SymmetricState {
    const name = sha256(new TextEncoder().encode(SUITE));
    const state = new SymmetricState(name, name);
    state.#mixHash(prologue);
    state.#mixHash(responderStatic);
    return state;
  }

  copy(): SymmetricState {
    const copy = new SymmetricState(this.#chainingKey, this.#hash);
    copy.#key = this.#key;
    copy.#nonce = this.#nonce;
    return copy;
  }

  /** A token `e`; with a psk in the pattern it is a key, too (9.2). */
  mixEphemeral(publicKey: Uint8Array): void {
    this.#mixHash(publicKey);
    this.#mixKey(publicKey);
  }

  /** One of the tokens of two letters; whether the two keys agree at all. */
  mixAgreed(pair: KeyPair, publicKey: Uint8Array): boolean {
    const shared = agree(pair.privateKey, publicKey);
    if (shared === undefined) return false;
    this.#mixKey(shared);
    return true;
  }

  mixKeyAndHash(psk: Uint8Array): void {
    const [chainingKey, hash, key] = hkdf(this.#chainingKey, psk);
    this.#chainingKey = chainingKey;
    this.#mixHash(hash);
    this.#setKey(key);
  }

  encryptAndHash(plain: Uint8Array): Uint8Array {
    const sealed = seal(
      this.#key,
      nonceOf(this.#nonce++),
      this.#hash,
      plain,
    );
    this.#mixHash(sealed);
    return sealed;
  }

  decryptAndHash(sealed: Uint8Array): Uint8Array | undefined {
    const plain = nodeAead.open(
      this.#key,
      nonceOf(this.#nonce++),
      this.#hash,
      sealed,
    );
    this.#mixHash(sealed);
    return plain;
  }

  split(): TransportKeys {
    const [fromInitiator, fromResponder] = hkdf(this.#chainingKey, NOTHING);
    return { fromInitiator, fromResponder };
  }

  #mixHash(data: Uint8Array): void {
    this.#hash = sha256(this.#hash, data);
  }

  #mixKey(input: Uint8Array): void {
    const [chainingKey, key] = hkdf(this.#chainingKey, input);
    this.#chainingKey = chainingKey;
    this.#setKey(key);
  }

  #setKey(key: Uint8Array): void {
    this.#key = key;
    this.#nonce = 0;
  }
}

/** Seals `plain`: the same bytes encrypted, and a tag. */
export function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  plain: Uint8Array,
): Uint8Array {
  const sealed = new Uint8Array(plain.length + TAG_BYTES);
  sealed.set(plain);
  nodeAead.sealInPlace(key, nonce, associated, sealed);
  return sealed;
}

/**
 * The nonce of message `count`, below 2^53: 32 bits of zero, then 64 bits,
 * little-endian (12.3). It stands until the next one is asked for.
 */
export function nonceOf(count: number): Uint8Array {
  const high = Math.floor(count / TWO_32);
  for (let i = 0; i < 4; i++) {
    nonce[4 + i] = count >>> (8 * i);
    nonce[8 + i] = high >>> (8 * i);
  }
  return nonce;
}

/** The next key after `key`, from which there is no way back (4.2, 11.3). */
export function rekey(key: Uint8Array): Uint8Array {
  return seal(key, LAST_NONCE, NOTHING, new Uint8Array(KEY_BYTES))
    .subarray(0, KEY_BYTES);
}

/** The framework's HKDF (4.3), with three outputs: RFC 5869 without any info. */
function hkdf(
  chainingKey: Uint8Array,
  input: Uint8Array,
): readonly [Uint8Array, Uint8Array, Uint8Array] {
  const made = hkdfSync("sha256", input, chainingKey, NOTHING, 3 * HASH_BYTES);
  const output = (at: number) =>
    new Uint8Array(made, at * HASH_BYTES, HASH_BYTES);
  return [output(0), output(1), output(2)];
}

/** HMAC-SHA256 of `parts` one after the other. */
export function hmac(key: Uint8Array, ...parts: Uint8Array[]): Uint8Array {
  const made = createHmac("sha256", key);
  for (const part of parts) made.update(part);
  return made.digest();
}

/** SHA-256 of `parts` one after the other. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const made = createHash("sha256");
  for (const part of parts) made.update(part);
  return made.digest();
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
