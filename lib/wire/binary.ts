/**
 * Frames as bytes: a fixed header per type, numbers big-endian, and the rest
 * of the message is payload.
 *
 * ```text
 *          0      1       2
 * DATA   | 1 | flags | offset:8 | ack:8 | limit:8 | payload...
 * ACK    | 2 | flags | ack:8 | limit:8 |            flags: 1 = gap
 * FIN    | 3 | flags | offset:8 | ack:8 | limit:8 |
 * RESET  | 4 | flags | code:2 | text (UTF-8)...
 * PING   | 5 | flags | id:4 | sent:8 | ack:8 | limit:8 |   flags: 1 = resumed
 * PONG   | 6 | flags | id:4 | sent:8 | ack:8 | limit:8 |   flags: 1 = hold
 * ```
 *
 * A type of 7 to 31 is a frame of some later version and is skipped; flag
 * bits without a meaning are ignored. A first byte of `{` is the JSON form.
 *
 * @module
 */
import { readU32, readU64, writeU32, writeU64 } from "../base/big_endian.ts";
import type { Encodable } from "../base/encodable.ts";
import { codeFromWire, TunnelError, WIRE_CODES } from "../base/errors.ts";
import {
  checkFrame,
  type Frame,
  MAX_OFFSET,
  MAX_RESET_TEXT_BYTES,
  resetTextBytes,
} from "./frame.ts";

/** The first byte of each frame type. */
const FIRST_BYTES = { data: 1, ack: 2, fin: 3, reset: 4, ping: 5, pong: 6 };

/** The frame types by first byte. */
const TYPES = [
  undefined,
  "data",
  "ack",
  "fin",
  "reset",
  "ping",
  "pong",
] as const;

/** First type byte that is no frame type, now or later (below are controls of ASCII). */
const TYPE_LIMIT = 32;

/** Bytes before the payload of a DATA frame; also the size of a FIN. */
export const DATA_HEADER_BYTES = 26;

/** Bytes before what has no fixed length. All but RESET's end with ack and limit. */
const HEADER_BYTES = {
  data: DATA_HEADER_BYTES,
  ack: 18,
  fin: DATA_HEADER_BYTES,
  reset: 4,
  ping: 30,
  pong: 30,
};

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The compact form, for data between two native peers. */
export const binaryCodec = {
  /** Which codec this is. */
  name: "binary",
  /** The message of `frame`; the connection ID is in its subject. */
  encode(_id: string, frame: Frame): Encodable {
    return new BinaryMessage(frame);
  },
  decode,
  payloadCapacity(_id: string, messageBytes: number): number {
    return messageBytes - DATA_HEADER_BYTES;
  },
} as const;

class BinaryMessage implements Encodable {
  readonly byteLength: number;
  readonly #frame: Frame;
  readonly #rest: Uint8Array | undefined;

  constructor(frame: Frame) {
    this.#frame = frame;
    if (frame.type === "data") this.#rest = frame.payload;
    else if (frame.type === "reset") this.#rest = resetTextBytes(frame.text);
    this.byteLength = HEADER_BYTES[frame.type] + (this.#rest?.length ?? 0);
  }

  encodeInto(target: Uint8Array, at: number): void {
    const frame = this.#frame;
    const end = at + HEADER_BYTES[frame.type];
    target[at] = FIRST_BYTES[frame.type];
    target[at + 1] = flagOf(frame) ? 1 : 0;
    if (frame.type === "reset") {
      const code = WIRE_CODES[frame.code];
      target[at + 2] = code >>> 8;
      target[at + 3] = code;
    } else {
      if (frame.type === "data" || frame.type === "fin") {
        writeU64(target, at + 2, frame.offset);
      } else if (frame.type !== "ack") {
        writeU32(target, at + 2, frame.id);
        writeU64(target, at + 6, frame.sent);
      }
      writeU64(target, end - 16, frame.ack);
      writeU64(target, end - 8, frame.limit);
    }
    if (this.#rest !== undefined) target.set(this.#rest, end);
  }
}

function flagOf(frame: Frame): boolean {
  switch (frame.type) {
    case "ack":
      return frame.gap;
    case "ping":
      return frame.resumed;
    case "pong":
      return frame.hold;
    default:
      return false;
  }
}

function decode(data: Uint8Array): Frame | undefined {
  const first = data[0];
  if (first === undefined) throw new TunnelError("protocol", "empty message");
  const type = TYPES[first];
  if (type === undefined) {
    if (first > 0 && first < TYPE_LIMIT) return undefined;
    throw new TunnelError("protocol", `unknown first byte ${first}`);
  }
  const end = HEADER_BYTES[type];
  if (data.length < end) {
    throw new TunnelError(
      "protocol",
      `${type} frame has ${data.length} bytes, needs ${end}`,
    );
  }
  if (type === "reset") {
    return checkFrame({
      type,
      code: codeFromWire(byte(data, 2) * 256 + byte(data, 3)),
      text: decoder.decode(data.subarray(end, end + MAX_RESET_TEXT_BYTES)),
    });
  }
  const flag = (byte(data, 1) & 1) === 1;
  const ack = readOffset(data, end - 16);
  const limit = readOffset(data, end - 8);
  switch (type) {
    case "data": {
      const payload = data.subarray(end);
      return checkFrame({
        type,
        offset: readOffset(data, 2),
        ack,
        limit,
        payload,
      });
    }
    case "fin":
      return checkFrame({ type, offset: readOffset(data, 2), ack, limit });
    case "ack":
      return checkFrame({ type, ack, limit, gap: flag });
    case "ping":
    case "pong": {
      const probe = {
        id: readU32(data, 2),
        sent: readOffset(data, 6),
        ack,
        limit,
      };
      return checkFrame(
        type === "ping"
          ? { type, ...probe, resumed: flag }
          : { type, ...probe, hold: flag },
      );
    }
  }
}

function byte(data: Uint8Array, at: number): number {
  return data[at] ?? 0;
}

function readOffset(data: Uint8Array, at: number): number {
  const value = readU64(data, at);
  if (value > MAX_OFFSET) {
    throw new TunnelError("protocol", `number at byte ${at} is over 2^53`);
  }
  return value;
}
