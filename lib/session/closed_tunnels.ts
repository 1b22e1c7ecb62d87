/**
 * Answers to frames for tunnels that do not exist (any more): their sender
 * must know.
 *
 * @module
 */
import { binaryCodec } from "../wire/binary.ts";
import type { Bus } from "../nats/bus.ts";
import type { Reason } from "../base/errors.ts";
import type { Frame } from "../wire/frame.ts";
import {
  type ConnectionId,
  formatId,
  type Role,
  type Subjects,
} from "../wire/subjects.ts";
import { Tombstones } from "./tombstones.ts";

/**
 * Answers between two sweeps: enough for a process that restarts with many
 * tunnels, too few to amplify a flood.
 */
const MAX_ANSWERS = 4096;

/** What is said of a tunnel never heard of, or forgotten. */
const UNKNOWN: Reason = {
  code: "unknown-tunnel",
  text: "the process at the other end knows no such tunnel",
};

/** Where strays are answered. */
export interface StraysOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** How long a link may be away, in ms. */
  readonly resumeTimeout: number;
}

/** What a process says of tunnels it no longer has, or never had. */
export class Strays {
  /** How tunnels ended lately. */
  readonly tombstones: Tombstones;
  readonly #options: StraysOptions;
  #answers = 0;

  /** Nothing has ended yet. */
  constructor(options: StraysOptions) {
    this.#options = options;
    this.tombstones = new Tombstones(options.resumeTimeout);
  }

  /**
   * A frame came for tunnel `id`, which is not open.
   *
   * @returns whether it was one to wonder about.
   */
  answer(id: ConnectionId, frame: Frame): boolean {
    if (frame.type === "reset") return false;
    const text = formatId(id);
    const epitaph = this.tombstones.find(text);
    const clean = epitaph !== undefined && "ack" in epitaph;
    // An answer answered: two that remember a clean end would never stop.
    if (clean && (frame.type === "ack" || frame.type === "pong")) return false;
    if (clean) {
      const { ack } = epitaph;
      this.#send(text, { type: "ack", ack, limit: ack, gap: false });
    } else {
      const { code, text: why } = epitaph?.reason ?? UNKNOWN;
      this.#send(text, { type: "reset", code, text: why });
    }
    return true;
  }

  /**
   * A process pings with which we share no tunnel (any more): we may have been
   * restarted under the same token. It is to ask after each that it has.
   */
  answerStranger(id: ConnectionId, frame: Frame): void {
    // Two that share none would answer each other's `resumed` for ever.
    if (frame.type !== "ping" || frame.resumed) return;
    const ask = { id: 0, sent: 0, ack: 0, limit: 0, resumed: true };
    this.#send(formatId(id), { type: "ping", ...ask });
  }

  /** A new turn of answers; forgets what is too old. */
  sweep(now: number): void {
    this.#answers = 0;
    this.tombstones.sweep(now);
  }

  #send(id: string, frame: Frame): void {
    if (this.#answers++ >= MAX_ANSWERS) return;
    const { bus, role, subjects } = this.#options;
    const other: Role = role === "client" ? "server" : "client";
    bus.publish(subjects.data(other, id), binaryCodec.encode(id, frame), {
      lane: "control",
    });
  }
}
