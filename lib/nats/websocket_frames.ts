/**
 * Frames of a WebSocket (RFC 6455), as far as a stream of bytes within one
 * needs them: messages mean nothing, so that what has come of one is used at
 * once, however long it is.
 *
 * @module
 */

import { NatsProtocolError } from "./parser.ts";

/** What a frame is. */
export const OPCODE = {
  continuation: 0,
  binary: 2,
  close: 8,
  ping: 9,
  pong: 10,
} as const;

/** Most bytes of a header: of a frame of ours, with its mask. */
const MAX_HEADER = 14;

/** Most bytes that a control frame may carry. */
const MAX_CONTROL = 125;

/** Lengths from here on take two bytes more, and eight. */
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/** What is left of the frames of a server is payload. */
export class FrameDecoder {
  /** The server has said that nothing more comes. */
  closed = false;
  /** What the latest ping carried that nobody has answered yet. */
  ping: Uint8Array | undefined;

  /** The header that is read, and how much of it is there. */
  readonly #header = new Uint8Array(MAX_HEADER);
  #headerLength = 0;
  /** What is left of the frame's payload. */
  #left = 0;
  #opcode: number = OPCODE.binary;
  /** A message has begun that has not ended. */
  #inMessage = false;
  /** Payload of a control frame so far. */
  readonly #control: number[] = [];

  /**
   * Takes all that is no payload out of `bytes`.
   *
   * @returns how many bytes of payload there are now at their beginning.
   * @throws {NatsProtocolError} when they are no frames of a server.
   */
  decode(bytes: Uint8Array): number {
    let from = 0;
    let to = 0;
    while (from < bytes.length && !this.closed) {
      if (this.#left === 0) {
        this.#header[this.#headerLength++] = bytes[from++] ?? 0;
        if (this.#headerLength === this.#headerSize()) this.#begin();
        continue;
      }
      const size = Math.min(this.#left, bytes.length - from);
      if (this.#isControl()) {
        this.#control.push(...bytes.subarray(from, from + size));
      } else {
        bytes.copyWithin(to, from, from + size);
        to += size;
      }
      from += size;
      this.#left -= size;
      if (this.#left === 0) this.#end();
    }
    return to;
  }

  /** How long the header is, as far as is known. */
  #headerSize(): number {
    if (this.#headerLength < 2) return 2;
    const length = (this.#header[1] ?? 0) & 0x7f;
    return length === LENGTH_64 ? 10 : length === LENGTH_16 ? 4 : 2;
  }

  #isControl(): boolean {
    return this.#opcode >= OPCODE.close;
  }

  /** The header is whole. */
  #begin(): void {
    const [first = 0, second = 0] = this.#header;
    const view = new DataView(this.#header.buffer);
    const short = second & 0x7f;
    const length = short === LENGTH_64
      ? Number(view.getBigUint64(2))
      : short === LENGTH_16
      ? view.getUint16(2)
      : short;
    const last = (first & 0x80) !== 0;
    this.#headerLength = 0;
    this.#opcode = first & 0x0f;
    this.#left = length;
    const problem = (first & 0x70) !== 0
      ? "with extensions that nobody asked for"
      : (second & 0x80) !== 0
      ? "that is masked, as only a client's may be"
      : !Number.isSafeInteger(length)
      ? "of more bytes than can be counted"
      : this.#isControl()
      ? (!last || length > MAX_CONTROL
        ? "of control that is too long"
        : undefined)
      : this.#opcode === (this.#inMessage ? OPCODE.continuation : OPCODE.binary)
      ? undefined
      : "that is neither binary nor goes on with one";
    if (problem !== undefined || this.#opcode > OPCODE.pong) {
      throw new NatsProtocolError(
        `it sends a WebSocket frame ${problem ?? "of no known kind"}`,
      );
    }
    if (!this.#isControl()) this.#inMessage = !last;
    if (length === 0) this.#end();
  }

  /** The payload is whole. */
  #end(): void {
    if (this.#opcode === OPCODE.close) this.closed = true;
    if (this.#opcode === OPCODE.ping) {
      this.ping = Uint8Array.from(this.#control);
    }
    this.#control.length = 0;
  }
}

/** Where the payload begins in what {@linkcode FrameEncoder.encode} gives, at least: words of four bytes begin there. */
const PAYLOAD_AT = 16;

/** Makes frames of a client. */
export class FrameEncoder {
  readonly #random: (bytes: Uint8Array<ArrayBuffer>) => void;
  #buffer = new Uint8Array(0);
  #words = new Uint32Array(0);
  readonly #mask = new Uint8Array(4);
  readonly #maskWord = new Uint32Array(this.#mask.buffer);

  /** `random` fills bytes with what nobody can guess: the masks. */
  constructor(random: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.#random = random;
  }

  /** One whole frame with `payload`; valid until the next. */
  encode(opcode: number, payload: Uint8Array): Uint8Array {
    const { length } = payload;
    const end = PAYLOAD_AT + length;
    if (this.#buffer.length < end) {
      this.#buffer = new Uint8Array(Math.ceil(end / 4) * 4);
      this.#words = new Uint32Array(this.#buffer.buffer);
    }
    const buffer = this.#buffer;
    this.#random(this.#mask);
    buffer.set(payload, PAYLOAD_AT);
    const word = this.#maskWord[0] ?? 0;
    const words = this.#words;
    // Beyond its end are bytes that nobody sends.
    for (let at = PAYLOAD_AT / 4; at < end / 4; at++) {
      words[at] = (words[at] ?? 0) ^ word;
    }
    buffer.set(this.#mask, PAYLOAD_AT - 4);
    const view = new DataView(buffer.buffer);
    let start: number;
    if (length < LENGTH_16) {
      start = PAYLOAD_AT - 6;
      buffer[start + 1] = 0x80 | length;
    } else if (length < 0x10000) {
      start = PAYLOAD_AT - 8;
      buffer[start + 1] = 0x80 | LENGTH_16;
      view.setUint16(start + 2, length);
    } else {
      start = PAYLOAD_AT - MAX_HEADER;
      buffer[start + 1] = 0x80 | LENGTH_64;
      view.setBigUint64(start + 2, BigInt(length));
    }
    buffer[start] = 0x80 | opcode;
    return buffer.subarray(start, end);
  }
}
