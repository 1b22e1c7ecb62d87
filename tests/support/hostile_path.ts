/**
 * A way between two processes that belongs to an enemy: it changes messages,
 * repeats old ones, leads them astray and makes up its own, but has no key.
 */
import assert from "node:assert/strict";
import { binaryCodec } from "../../lib/wire/binary.ts";
import { WIRE_CODES } from "../../lib/base/errors.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { SEALED_TYPE } from "../../lib/seal/frames.ts";

/** Messages kept to be repeated: the last ones and some of the first. */
const MAX_KEPT = 300;

/** A message as it stands on the bus. */
export interface SealedMessage {
  readonly subject: string;
  readonly data: Uint8Array;
}

/** What the enemy sees, and does. */
export class HostilePath<M extends SealedMessage> {
  readonly #random: () => number;
  readonly #kept: M[] = [];
  readonly #subjects: string[] = [];
  /** Counters seen last, by subject and lane. */
  readonly #counters = new Map<string, bigint>();
  /** Chance that a message meets mischief. */
  mischief: number;

  constructor(random: () => number, mischief: number) {
    this.#random = random;
    this.mischief = mischief;
  }

  /**
   * Sees a message, and gives what arrives of it and with it. No lane of a
   * tunnel may use one counter twice: it is the cipher's nonce.
   */
  pass(message: M): readonly M[] {
    this.#checkCounter(message);
    this.#keep(message);
    if (this.#random() >= this.mischief) return [message];
    switch (Math.floor(this.#random() * 6)) {
      case 0:
        return [this.#changed(message)];
      case 1:
        return [message, this.#old() ?? message];
      case 2:
        return [this.#old() ?? message, message];
      case 3:
        // To another tunnel, or back to its sender.
        return [
          { ...message, subject: this.#pick(this.#subjects) ?? "" },
          message,
        ];
      case 4:
        return [this.#madeUp(message), message];
      default:
        return [
          message,
          { ...message, data: this.#noise(message.data.length) },
        ];
    }
  }

  #checkCounter({ subject, data }: SealedMessage): void {
    if (data[0] !== SEALED_TYPE) return;
    const lane = `${subject} ${(data[1] ?? 0) & 1}`;
    const counter = new DataView(data.buffer, data.byteOffset).getBigUint64(2);
    const last = this.#counters.get(lane);
    if (last === undefined) this.#subjects.push(subject);
    else assert.ok(counter > last, `${counter} of ${lane} after ${last}`);
    this.#counters.set(lane, counter);
  }

  #pick<T>(all: readonly T[]): T | undefined {
    return all[Math.floor(this.#random() * all.length)];
  }

  #keep(message: M): void {
    const kept = { ...message, data: message.data.slice() };
    if (this.#kept.length < MAX_KEPT) this.#kept.push(kept);
    else this.#kept[Math.floor(this.#random() * MAX_KEPT)] = kept;
  }

  #old(): M | undefined {
    const found = this.#pick(this.#kept);
    return found && { ...found, data: found.data.slice() };
  }

  #changed(message: M): M {
    const data = message.data.slice();
    const bit = Math.floor(this.#random() * data.length * 8);
    data[bit >> 3] = (data[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const length = this.#random() < 0.2
      ? Math.floor(this.#random() * data.length)
      : data.length;
    return { ...message, data: data.subarray(0, length) };
  }

  /** A frame in the clear, of any kind. */
  #madeUp(message: M): M {
    const offset = Math.floor(this.#random() * 100_000);
    const position = { ack: offset, limit: offset + 1_000 };
    const codes = Object.keys(WIRE_CODES) as (keyof typeof WIRE_CODES)[];
    const code = this.#pick(codes) ?? "ok";
    const frames: readonly Frame[] = [
      { type: "reset", code, text: "made up" },
      { type: "reset", code: "unknown-tunnel", text: "made up" },
      { type: "fin", offset, ...position },
      { type: "ack", gap: true, ...position },
      { type: "data", offset, payload: this.#noise(20), ...position },
      { type: "ping", id: 1, sent: offset, resumed: true, ...position },
      { type: "pong", id: 1, sent: offset, hold: false, ...position },
    ];
    const frame = this.#pick(frames);
    assert.ok(frame);
    const encoded = binaryCodec.encode("", frame);
    const data = new Uint8Array(encoded.byteLength);
    encoded.encodeInto(data, 0);
    return { ...message, data };
  }

  /** Bytes that look like a sealed frame at their beginning, now and then. */
  #noise(length: number): Uint8Array {
    const bytes = new Uint8Array(length).map(() => this.#random() * 256);
    if (this.#random() < 0.8) bytes[0] = SEALED_TYPE;
    if (this.#random() < 0.8) bytes.fill(0, 1, 8);
    return bytes;
  }
}
