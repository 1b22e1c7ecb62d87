/**
 * The codecs there are.
 *
 * @module
 */
import { binaryCodec } from "./binary.ts";
import type { Codec, CodecName } from "./codec.ts";
import type { Frame } from "./frame.ts";
import { jsonCodec } from "./json.ts";

/** The first byte of a message in JSON: no frame type is `{`. */
const JSON_START = 0x7b;

/** The codec of this name. */
export function codecOf(name: CodecName): Codec {
  return name === "json" ? jsonCodec : binaryCodec;
}

/**
 * Reads a frame in whichever form it comes; undefined for a type of a later
 * version.
 *
 * @throws {TunnelError} `protocol` when the message is malformed.
 */
export function decodeFrame(data: Uint8Array): Frame | undefined {
  return (data[0] === JSON_START ? jsonCodec : binaryCodec).decode(data);
}
