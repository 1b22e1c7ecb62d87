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
import type { Encodable } from "../base/encodable.ts";
import type { Codec } from "./codec.ts";
import { codeFromWire, TunnelError, WIRE_CODES } from "../base/errors.ts";
import {
  checkFrame,
  type Frame,
  MAX_OFFSET,
  MAX_RESET_TEXT_BYTES,
  resetTextBytes,
} from "./frame.ts";

const DATA = 1;
const ACK = 2;
const FIN = 3;
const RESET = 4;
const PING = 5;
const PONG = 6;
/** First type byte that is no frame type, now or later (below are controls of ASCII). */
const TYPE_LIMIT = 32;

/** Bytes before the payload of a DATA frame; also the size of a FIN. */
export const DATA_HEADER_BYTES = 26;
const ACK_BYTES = 18;
const RESET_HEADER_BYTES = 4;
const PING_BYTES = 30;

const TWO_32 = 0x1_0000_0000;
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The compact form, for data between two native peers. */
export const binaryCodec: Codec = {
  name: "binary",
  encode(_id: string, frame: Frame): Encodable {
    return new BinaryMessage(frame);
  },
  decode,
  payloadCapacity(_id: string, messageBytes: number): number {
    return messageBytes - DATA_HEADER_BYTES;
  },
};

class BinaryMessage implements Encodable {
  readonly byteLength: number;
  readonly #frame: Frame;
  readonly #text: Uint8Array | undefined;

  constructor(frame: Frame) {
    this.#frame = frame;
    switch (frame.type) {
      case "data":
        this.byteLength = DATA_HEADER_BYTES + frame.payload.length;
        break;
      case "ack":
        this.byteLength = ACK_BYTES;
        break;
      case "fin":
        this.byteLength = DATA_HEADER_BYTES;
        break;
      case "reset":
        this.#text = resetTextBytes(frame.text);
        this.byteLength = RESET_HEADER_BYTES + this.#text.length;
        break;
      case "ping":
      case "pong":
        this.byteLength = PING_BYTES;
    }
  }

  encodeInto(target: Uint8Array, at: number): void {
    const frame = this.#frame;
    switch (frame.type) {
      case "data":
        target[at] = DATA;
        target[at + 1] = 0;
        writeU64(target, at + 2, frame.offset);
        writeU64(target, at + 10, frame.ack);
        writeU64(target, at + 18, frame.limit);
        target.set(frame.payload, at + DATA_HEADER_BYTES);
        break;
      case "ack":
        target[at] = ACK;
        target[at + 1] = frame.gap ? 1 : 0;
        writeU64(target, at + 2, frame.ack);
        writeU64(target, at + 10, frame.limit);
        break;
      case "fin":
        target[at] = FIN;
        target[at + 1] = 0;
        writeU64(target, at + 2, frame.offset);
        writeU64(target, at + 10, frame.ack);
        writeU64(target, at + 18, frame.limit);
        break;
      case "reset": {
        const code = WIRE_CODES[frame.code];
        target[at] = RESET;
        target[at + 1] = 0;
        target[at + 2] = code >>> 8;
        target[at + 3] = code & 0xff;
        if (this.#text) target.set(this.#text, at + RESET_HEADER_BYTES);
        break;
      }
      case "ping":
      case "pong":
        target[at] = frame.type === "ping" ? PING : PONG;
        target[at + 1] = (frame.type === "ping" ? frame.resumed : frame.hold)
          ? 1
          : 0;
        writeU32(target, at + 2, frame.id);
        writeU64(target, at + 6, frame.sent);
        writeU64(target, at + 14, frame.ack);
        writeU64(target, at + 22, frame.limit);
    }
  }
}

function decode(data: Uint8Array): Frame | undefined {
  const type = data[0];
  if (type === undefined) throw new TunnelError("protocol", "empty message");
  switch (type) {
    case DATA:
      atLeast(data, DATA_HEADER_BYTES, "data");
      return checkFrame({
        type: "data",
        offset: readU64(data, 2),
        ack: readU64(data, 10),
        limit: readU64(data, 18),
        payload: data.subarray(DATA_HEADER_BYTES),
      });
    case ACK:
      atLeast(data, ACK_BYTES, "ack");
      return checkFrame({
        type: "ack",
        ack: readU64(data, 2),
        limit: readU64(data, 10),
        gap: flag(data),
      });
    case FIN:
      atLeast(data, DATA_HEADER_BYTES, "fin");
      return checkFrame({
        type: "fin",
        offset: readU64(data, 2),
        ack: readU64(data, 10),
        limit: readU64(data, 18),
      });
    case RESET: {
      atLeast(data, RESET_HEADER_BYTES, "reset");
      const text = data.subarray(
        RESET_HEADER_BYTES,
        RESET_HEADER_BYTES + MAX_RESET_TEXT_BYTES,
      );
      return {
        type: "reset",
        code: codeFromWire(byte(data, 2) * 256 + byte(data, 3)),
        text: decoder.decode(text),
      };
    }
    case PING:
      atLeast(data, PING_BYTES, "ping");
      return checkFrame({
        type: "ping",
        id: readU32(data, 2),
        sent: readU64(data, 6),
        ack: readU64(data, 14),
        limit: readU64(data, 22),
        resumed: flag(data),
      });
    case PONG:
      atLeast(data, PING_BYTES, "pong");
      return checkFrame({
        type: "pong",
        id: readU32(data, 2),
        sent: readU64(data, 6),
        ack: readU64(data, 14),
        limit: readU64(data, 22),
        hold: flag(data),
      });
    default:
      if (type > 0 && type < TYPE_LIMIT) return undefined;
      throw new TunnelError("protocol", `unknown first byte ${type}`);
  }
}

function atLeast(data: Uint8Array, length: number, name: string): void {
  if (data.length < length) {
    throw new TunnelError(
      "protocol",
      `${name} frame has ${data.length} bytes, needs ${length}`,
    );
  }
}

function byte(data: Uint8Array, at: number): number {
  return data[at] ?? 0;
}

function flag(data: Uint8Array): boolean {
  return (byte(data, 1) & 1) === 1;
}

function readU32(data: Uint8Array, at: number): number {
  return (byte(data, at) * 0x100_0000) + (byte(data, at + 1) << 16) +
    (byte(data, at + 2) << 8) + byte(data, at + 3);
}

function readU64(data: Uint8Array, at: number): number {
  const value = readU32(data, at) * TWO_32 + readU32(data, at + 4);
  if (value > MAX_OFFSET) {
    throw new TunnelError("protocol", `number at byte ${at} is over 2^53`);
  }
  return value;
}

function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

function writeU64(target: Uint8Array, at: number, value: number): void {
  writeU32(target, at, Math.floor(value / TWO_32));
  writeU32(target, at + 4, value >>> 0);
}
