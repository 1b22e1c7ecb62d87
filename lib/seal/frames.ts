/**
 * Frames of a tunnel as nobody between its two ends can read or make them.
 *
 * ```text
 *            0      1       2           10
 * SEALED   | 16 | flags | counter:8 | ciphertext of a frame | tag:16 |
 *            flags: 1 = control lane, 2 = about the pair of processes,
 *                   4 = express lane
 * ```
 *
 * Each direction has three lanes, which overtake each other, and each lane its
 * own counter and chain of keys. A frame that is sent again gets a new
 * counter, so no key meets a nonce twice, however frames are cut or repeated.
 * A receiver takes only what counts further than what it has taken: in a lane
 * NATS keeps the order, and what comes late counts as lost.
 *
 * @module
 */
import { readU64, writeU64 } from "../base/big_endian.ts";
import type { Encodable } from "../base/encodable.ts";
import { type Aead, nodeAead, TAG_BYTES } from "./aead.ts";
import { hmac, nonceOf, rekey } from "./noise.ts";

/** The first byte of a sealed frame. */
export const SEALED_TYPE = 16;

/** Bytes that sealing adds to a frame. */
export const SEAL_OVERHEAD_BYTES: number = 10 + TAG_BYTES;

/**
 * Frames of a lane under one key: far below what the cipher stands (2^48
 * messages of 16 KiB, RFC 8439 with the bounds of RFC 9001, B), and at full
 * speed some minutes.
 */
export const FRAMES_PER_KEY = 2 ** 20;

/** Longest time that a lane which is used keeps a key, in ms: what is taken later opens no more than this. */
export const KEY_LIFETIME_MS = 60 * 60 * 1000;

/**
 * Most keys that a receiver goes forward for one frame: a lane loses no eight
 * million frames in a row, nor those of eight hours, without the tunnel's end;
 * and what was never sealed costs no more than eight keys.
 */
const MAX_KEYS_AHEAD = 8;

/** Longest subject, in bytes: three times the longest of a tunnel, which has a prefix and an ID. */
const MAX_SUBJECT_BYTES = 1024;

const HEADER_BYTES = SEAL_OVERHEAD_BYTES - TAG_BYTES;
const CONTROL_FLAG = 1;
const PAIR_FLAG = 2;
const EXPRESS_FLAG = 4;

const FLAGS: Readonly<Record<SealLane, number>> = {
  data: 0,
  control: CONTROL_FLAG,
  express: EXPRESS_FLAG,
};

const encoder = new TextEncoder();

/**
 * The associated data of a frame while it is sealed or opened: its header, then
 * the subject. One for all, since a buffer made for each frame costs as much
 * as sealing a small one.
 */
const associated = new Uint8Array(HEADER_BYTES + MAX_SUBJECT_BYTES);
const associatedHeader = associated.subarray(0, HEADER_BYTES);
const associatedSubject = associated.subarray(HEADER_BYTES);
let associatedPart = associated;

/** The associated data of a frame whose subject has so many bytes. */
function associatedWith(subjectBytes: number): Uint8Array {
  const length = HEADER_BYTES + subjectBytes;
  // Most subjects of a process are of one length.
  if (associatedPart.length !== length) {
    associatedPart = associated.subarray(0, length);
  }
  return associatedPart;
}

/** Which queue a frame goes by. */
export type SealLane = "control" | "data" | "express";

/** The keys of a tunnel, as one end has them. */
export interface SealKeys {
  /** For what is sent, 32 bytes. */
  readonly send: Uint8Array;
  /** For what is received, 32 bytes. */
  readonly receive: Uint8Array;
}

/** A frame that was sealed by the other end. */
export interface OpenedFrame {
  /** The frame within; the bytes stay as they are until the next frame is opened. */
  readonly frame: Uint8Array;
  /** Whether it speaks of the pair of processes and not of the tunnel. */
  readonly pair: boolean;
}

/** Seals and opens the frames of one tunnel at one end. */
export class TunnelSeal {
  readonly #sending: Readonly<Record<SealLane, SendingLane>>;
  readonly #receiving: Readonly<Record<SealLane, ReceivingLane>>;

  readonly #aead: Aead;

  /** For a tunnel that both ends have agreed to open, at `now`. */
  constructor(
    { send, receive }: SealKeys,
    now: number,
    aead: Aead = nodeAead,
  ) {
    this.#aead = aead;
    this.#sending = {
      data: new SendingLane(laneKey(send, "data"), now),
      control: new SendingLane(laneKey(send, "control"), now),
      express: new SendingLane(laneKey(send, "express"), now),
    };
    this.#receiving = {
      data: new ReceivingLane(laneKey(receive, "data")),
      control: new ReceivingLane(laneKey(receive, "control")),
      express: new ReceivingLane(laneKey(receive, "express")),
    };
  }

  /**
   * The sealed form of `frame`, to be written once. `subject` is where it
   * goes, and `pair` whether it speaks of the pair of processes.
   */
  seal(
    frame: Encodable,
    options: {
      readonly lane: SealLane;
      readonly pair: boolean;
      readonly subject: string;
    },
    now: number,
  ): Encodable {
    const lane = this.#sending[options.lane];
    const byteLength = frame.byteLength + SEAL_OVERHEAD_BYTES;
    return {
      byteLength,
      encodeInto: (target, at) => {
        const start = at + HEADER_BYTES;
        frame.encodeInto(target, start);
        const counter = lane.next(now);
        writeHeader(associatedHeader, counter, options);
        target.set(associatedHeader, at);
        const { written } = encoder.encodeInto(
          options.subject,
          associatedSubject,
        );
        this.#aead.sealInPlace(
          lane.key,
          nonceOf(counter),
          associatedWith(written),
          target.subarray(start, at + byteLength),
        );
      },
    };
  }

  /**
   * Opens what came on `subject`; undefined for what the other end did not
   * seal for this tunnel, or what is late or repeated.
   */
  open(message: Uint8Array, subject: Uint8Array): OpenedFrame | undefined {
    if (
      message.length < SEAL_OVERHEAD_BYTES || message[0] !== SEALED_TYPE ||
      subject.length > MAX_SUBJECT_BYTES
    ) return undefined;
    const flags = message[1] ?? 0;
    const lane = this.#receiving[laneOf(flags)];
    associatedHeader.set(message.subarray(0, HEADER_BYTES));
    associatedSubject.set(subject);
    const frame = lane.open(
      readU64(message, 2), // at least 2^53 it is beyond any that is taken
      associatedWith(subject.length),
      message.subarray(HEADER_BYTES),
      this.#aead,
    );
    return frame && { frame, pair: (flags & PAIR_FLAG) !== 0 };
  }
}

/** Whether a message has the form of a sealed frame. */
export function isSealed(message: Uint8Array): boolean {
  return message[0] === SEALED_TYPE;
}

class SendingLane {
  key: Uint8Array;
  #since: number;
  #counter = 0;

  constructor(key: Uint8Array, now: number) {
    this.key = key;
    this.#since = now;
  }

  /** The counter of the next frame; the key is the one that belongs to it. */
  next(now: number): number {
    if (now >= this.#since + KEY_LIFETIME_MS) {
      // The first that counts under the next key.
      this.#counter = (keyNumber(this.#counter) + 1) * FRAMES_PER_KEY;
    }
    const counter = this.#counter++;
    if (counter > 0 && counter % FRAMES_PER_KEY === 0) {
      this.key = rekey(this.key);
      this.#since = now;
    }
    return counter;
  }
}

class ReceivingLane {
  #key: Uint8Array;
  #keyNumber = 0;
  /** What counts at least so far is new. */
  #next = 0;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  open(
    counter: number,
    associated: Uint8Array,
    sealed: Uint8Array,
    aead: Aead,
  ): Uint8Array | undefined {
    const ahead = keyNumber(counter) - this.#keyNumber;
    if (counter < this.#next || ahead > MAX_KEYS_AHEAD) return undefined;
    let key = this.#key;
    for (let i = 0; i < ahead; i++) key = rekey(key);
    const frame = aead.open(key, nonceOf(counter), associated, sealed);
    if (frame === undefined) return undefined;
    this.#key = key;
    this.#keyNumber += ahead;
    this.#next = counter + 1;
    return frame;
  }
}

/** How many keys came before that of the frame that counts so far. */
function keyNumber(counter: number): number {
  return Math.floor(counter / FRAMES_PER_KEY);
}

function laneOf(flags: number): SealLane {
  if ((flags & EXPRESS_FLAG) !== 0) return "express";
  return (flags & CONTROL_FLAG) !== 0 ? "control" : "data";
}

function laneKey(key: Uint8Array, lane: SealLane): Uint8Array {
  return hmac(key, encoder.encode(`sproxy ${lane} lane`));
}

function writeHeader(
  header: Uint8Array,
  counter: number,
  { lane, pair }: { readonly lane: SealLane; readonly pair: boolean },
): void {
  header[0] = SEALED_TYPE;
  header[1] = FLAGS[lane] | (pair ? PAIR_FLAG : 0);
  writeU64(header, 2, counter);
}
