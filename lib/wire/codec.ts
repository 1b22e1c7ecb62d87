/**
 * The two forms a frame takes on the wire, behind one interface.
 *
 * @module
 */
import type { Encodable } from "../base/encodable.ts";
import { TunnelError } from "../base/errors.ts";
import { binaryCodec } from "./binary.ts";
import type { Frame } from "./frame.ts";
import { jsonCodec } from "./json.ts";

/** The first byte of a message in JSON: no frame type is `{`. */
const JSON_START = 0x7b;

/**
 * Longest frame in JSON that is read, in bytes: ours are a third of that, and to
 * read one takes ten times as long as to receive it.
 */
const MAX_JSON_BYTES = 64 * 1024;

/** Names of the codecs, as written in flags and open headers. */
export const CODEC_NAMES = ["binary", "json"] as const;

/** The name of a codec. */
export type CodecName = (typeof CODEC_NAMES)[number];

/** Turns frames into messages and back. */
export interface Codec {
  /** Which codec this is. */
  readonly name: CodecName;
  /** The message of `frame` for the tunnel whose connection ID is `id`. */
  encode(id: string, frame: Frame): Encodable;
  /**
   * Reads a message. A DATA payload is a view into `data` where the form
   * allows it: copy it before `data` is used again.
   *
   * @returns undefined for a frame of a type this version does not know.
   * @throws {TunnelError} `protocol` when the message is malformed.
   */
  decode(data: Uint8Array): Frame | undefined;
  /**
   * The most payload bytes that one DATA frame of tunnel `id` may carry, so
   * that its message is at most `messageBytes` long.
   */
  payloadCapacity(id: string, messageBytes: number): number;
}

/** The codec of this name. */
export function codecOf(name: CodecName): Codec {
  return name === "json" ? jsonCodec : binaryCodec;
}

/**
 * Reads a frame in whichever form it comes; undefined for a type of a later
 * version.
 *
 * @throws {TunnelError} `protocol` when the message is malformed, or too long for its form.
 */
export function decodeFrame(data: Uint8Array): Frame | undefined {
  if (data[0] !== JSON_START) return binaryCodec.decode(data);
  if (data.length <= MAX_JSON_BYTES) return jsonCodec.decode(data);
  throw new TunnelError(
    "protocol",
    `a frame in JSON has ${data.length} bytes, at most ${MAX_JSON_BYTES} are read`,
  );
}
