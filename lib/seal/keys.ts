/**
 * X25519 keys, and how they are written: as curve keys of NATS (ADR-14), so
 * that `nsc` and `nk` make and know them. A seed begins with `SX`, a public
 * key with `X`.
 *
 * @module
 */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from "node:crypto";
import { Secret } from "../base/credentials.ts";

/** Bytes of a key, public or private (RFC 7748, 5). */
export const KEY_BYTES = 32;

/** What stands before the bytes of a private key in PKCS #8 (RFC 8410, 7). */
const PKCS8_PREFIX = Uint8Array.fromHex("302e020100300506032b656e04220420");

/** What stands before the bytes of a public key in SPKI (RFC 8410, 4). */
const SPKI_PREFIX = Uint8Array.fromHex("302a300506032b656e032100");

/** The first bytes of a written key: what makes it begin with `X` and `SX`. */
const PUBLIC_TYPE = [23 << 3] as const;
const SEED_TYPE = [(18 << 3) | (23 >> 2), (23 & 3) << 6] as const;

/** The alphabet of RFC 4648, 6. */
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** A key pair. */
export interface KeyPair {
  /** The public half, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The private half; printed, it shows nothing of itself. */
  readonly privateKey: KeyObject;
}

/** The key pair whose private half has these 32 bytes. */
export function keyPairOf(privateBytes: Uint8Array): KeyPair {
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, privateBytes]),
    format: "der",
    type: "pkcs8",
  });
  const spki = createPublicKey(privateKey)
    .export({ format: "der", type: "spki" });
  return { privateKey, publicKey: spki.subarray(SPKI_PREFIX.length) };
}

/** The 32 bytes of the private half. */
export function privateBytesOf({ privateKey }: KeyPair): Uint8Array {
  return privateKey.export({ format: "der", type: "pkcs8" })
    .subarray(PKCS8_PREFIX.length);
}

/**
 * What both holders of a private key compute from it and the other's public
 * key; undefined for a public key with which it would be no secret (RFC 7748,
 * 6.1).
 */
export function agree(
  privateKey: KeyObject,
  publicBytes: Uint8Array,
): Uint8Array | undefined {
  const publicKey = createPublicKey({
    key: Buffer.concat([SPKI_PREFIX, publicBytes]),
    format: "der",
    type: "spki",
  });
  try {
    return diffieHellman({ privateKey, publicKey });
  } catch {
    return undefined; // of two keys of one curve nothing else can fail
  }
}

/** The seed of a key pair from 32 random bytes, to be kept as it is. */
export function formatSeed(privateBytes: Uint8Array): Secret {
  return new Secret(write(SEED_TYPE, privateBytes));
}

/** The key pair of a seed; undefined if `text` is none. */
export function parseSeed(text: string): KeyPair | undefined {
  const bytes = read(SEED_TYPE, text);
  return bytes === undefined ? undefined : keyPairOf(bytes);
}

/** A public key as it is shown to others. */
export function formatPublicKey(bytes: Uint8Array): string {
  return write(PUBLIC_TYPE, bytes);
}

/** The bytes of a public key; undefined if `text` is none. */
export function parsePublicKey(text: string): Uint8Array | undefined {
  return read(PUBLIC_TYPE, text);
}

/** Base 32 of the type, the key and their checksum, least significant byte first. */
function write(type: readonly number[], key: Uint8Array): string {
  const checked = [...type, ...key];
  const sum = crc16(checked);
  let text = "";
  let value = 0;
  let bits = 0;
  for (const byte of [...checked, sum & 0xff, sum >> 8]) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) {
      text += BASE32.charAt((value >> (bits - 5)) & 31);
    }
    value &= 31;
  }
  return bits === 0 ? text : text + BASE32.charAt((value << (5 - bits)) & 31);
}

function read(type: readonly number[], text: string): Uint8Array | undefined {
  const key: number[] = [];
  let value = 0;
  let bits = 0;
  for (const letter of text) {
    const digit = BASE32.indexOf(letter);
    if (digit < 0) return undefined;
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    key.push((value >> bits) & 0xff);
  }
  const bytes = Uint8Array.from(key.slice(type.length, -2));
  // Written anew it must be the same: the type and the checksum, too.
  return bytes.length === KEY_BYTES && write(type, bytes) === text
    ? bytes
    : undefined;
}

/** CRC-16/XMODEM, as nkeys have it. */
function crc16(bytes: readonly number[]): number {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      sum = sum & 0x8000 ? (sum << 1) ^ 0x1021 : sum << 1;
    }
  }
  return sum & 0xffff;
}
