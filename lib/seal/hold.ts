/**
 * What processes with one key say of the client ID that they share, so that
 * nobody else can say it: who has the ID cuts its tunnels when another turns
 * out to have it.
 *
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import type { Encodable } from "../base/encodable.ts";
import { type KeyPair, privateBytesOf } from "./keys.ts";
import { hmac } from "./noise.ts";

/** Bytes of the code behind a frame. */
const HOLD_CODE_BYTES = 16;

const encoder = new TextEncoder();
const LABEL = encoder.encode("sproxy hold");

/** What is not in a frame, and yet must not be another's. */
export interface HoldContext {
  /** Where the frame goes. */
  readonly subject: string;
  /**
   * Of a question where it is answered, so that an answer cannot be had for
   * another; of an answer which question it is to, so that it cannot be an old one.
   */
  readonly about: string | number;
}

/** Marks frames with a code that takes the key to make. */
export class HoldSeal {
  readonly #key: Uint8Array;

  /** For processes that have this key pair. */
  constructor(pair: KeyPair) {
    this.#key = hmac(privateBytesOf(pair), LABEL);
  }

  /** `frame` with the code behind it. */
  seal(frame: Encodable, context: HoldContext): Encodable {
    const plain = new Uint8Array(frame.byteLength);
    frame.encodeInto(plain, 0);
    const code = this.#codeOf(plain, context);
    return {
      byteLength: plain.length + code.length,
      encodeInto: (target, at) => {
        target.set(plain, at);
        target.set(code, at + plain.length);
      },
    };
  }

  /** The frame in `message`; undefined where the code is not of this key. */
  open(message: Uint8Array, context: HoldContext): Uint8Array | undefined {
    const end = message.length - HOLD_CODE_BYTES;
    if (end <= 0) return undefined;
    const frame = message.subarray(0, end);
    const code = message.subarray(end);
    return timingSafeEqual(this.#codeOf(frame, context), code)
      ? frame
      : undefined;
  }

  #codeOf(frame: Uint8Array, { subject, about }: HoldContext): Uint8Array {
    const context = encoder.encode(`${subject} ${about} `);
    return hmac(this.#key, context, frame).subarray(0, HOLD_CODE_BYTES);
  }
}
