/**
 * The frames of the native wire (version 2): what two processes say to each
 * other about one tunnel. `docs/protocol.md` is the contract in prose.
 *
 * **Offsets** count bytes of one direction from 0 and never wrap. A FIN takes
 * up one offset after the last byte, as in TCP (RFC 9293, 3.4), so that it is
 * acknowledged like a byte: an `ack` of `final + 1` acknowledges the FIN.
 *
 * **`ack`** is cumulative: every byte below it has arrived. **`limit`** is the
 * absolute offset up to which the other side may send, as QUIC's
 * MAX_STREAM_DATA (RFC 9000, 4.1). Both only ever grow at the one who gives
 * them, so a frame that is lost, late or repeated does no harm; a receiver
 * keeps the largest it has seen.
 *
 * @module
 */
import { type ErrorCode, TunnelError } from "../base/errors.ts";

/** Largest offset: the largest integer a JavaScript number holds exactly (2^53 - 1). */
export const MAX_OFFSET: number = Number.MAX_SAFE_INTEGER;

/** Largest `id` of a PING (32 bits on the wire). */
export const MAX_PING_ID = 0xffff_ffff;

/** Longest text of a RESET, in bytes of UTF-8: a sentence, not a payload. */
export const MAX_RESET_TEXT_BYTES = 512;

/**
 * Bytes of payload in one DATA frame: 16 KiB went through nats-server 2.9
 * fastest (64 KiB hit its 64 KiB read buffer: 3.6 against 6.5 Gbit/s), and
 * lets tunnels interleave.
 */
export const FRAME_PAYLOAD_BYTES = 16 * 1024;

/** The tunnel number whose frames speak of the whole pair of processes. */
export const PEER_NUMBER = 0;

/** What rides on every frame but RESET. */
export interface Credit {
  /** Offset below which everything has arrived at the sender of this frame. */
  readonly ack: number;
  /** Offset up to which the receiver of this frame may send. */
  readonly limit: number;
}

/** Bytes of the stream. */
export interface DataFrame extends Credit {
  /** Which frame it is. */
  readonly type: "data";
  /** Offset of the first byte of `payload`. */
  readonly offset: number;
  /** At least one byte. */
  readonly payload: Uint8Array;
}

/** Acknowledgement and credit alone. */
export interface AckFrame extends Credit {
  /** Which frame it is. */
  readonly type: "ack";
  /** Bytes from `ack` on are missing: send again from there. */
  readonly gap: boolean;
}

/** End of stream: no byte at or beyond `offset` will follow. */
export interface FinFrame extends Credit {
  /** Which frame it is. */
  readonly type: "fin";
  /** Offset after the last byte. */
  readonly offset: number;
}

/** The tunnel is cut, both directions. For tunnel 0: the process leaves. */
export interface ResetFrame {
  /** Which frame it is. */
  readonly type: "reset";
  /** What kind of end it is. */
  readonly code: ErrorCode;
  /** One sentence for people. */
  readonly text: string;
}

/** Where the sender of a PING or PONG stands. */
export interface Probe extends Credit {
  /** Number of the question, which its answer repeats. */
  readonly id: number;
  /** Offset the sender has sent up to, its FIN included. */
  readonly sent: number;
}

/**
 * A question that must be answered with a PONG of the same `id`; it carries
 * where the sender stands, so that a lost tail is noticed.
 */
export interface PingFrame extends Probe {
  /** Which frame it is. */
  readonly type: "ping";
  /** The sender was cut off and is back: what was sent to it may be lost. */
  readonly resumed: boolean;
}

/** The answer to a PING. */
export interface PongFrame extends Probe {
  /** Which frame it is. */
  readonly type: "pong";
  /** Bytes were dropped for want of memory: do not resend, a gap ACK will ask. */
  readonly hold: boolean;
}

/** Any frame of version 2. */
export type Frame =
  | DataFrame
  | AckFrame
  | FinFrame
  | ResetFrame
  | PingFrame
  | PongFrame;

const encoder = new TextEncoder();

/** UTF-8 of the text of a RESET, cut to what one may carry, never inside a character. */
export function resetTextBytes(text: string): Uint8Array {
  const room = new Uint8Array(MAX_RESET_TEXT_BYTES);
  const { written } = encoder.encodeInto(text, room);
  return room.subarray(0, written);
}

/**
 * Checks what no codec can express: that what a frame says fits together.
 *
 * @throws {TunnelError} `protocol`, naming the field and its value.
 */
export function checkFrame(frame: Frame): Frame {
  if (frame.type === "reset") {
    if (frame.code !== "ok") return frame;
    throw new TunnelError(
      "protocol",
      "reset frame with the code of a clean end",
    );
  }
  if (frame.limit < frame.ack - 1) {
    // limit >= every byte acknowledged; the FIN's own offset needs no credit
    throw new TunnelError(
      "protocol",
      `${frame.type} frame has limit ${frame.limit} below its ack ${frame.ack}`,
    );
  }
  if (frame.type === "data") {
    if (frame.payload.length === 0) {
      throw new TunnelError("protocol", "data frame has no payload");
    }
    if (frame.offset > MAX_OFFSET - 1 - frame.payload.length) {
      throw new TunnelError(
        "protocol",
        `data frame at offset ${frame.offset} ends beyond ${MAX_OFFSET}`,
      );
    }
  }
  if (frame.type === "fin" && frame.offset >= MAX_OFFSET) {
    throw new TunnelError("protocol", `fin frame at offset ${frame.offset}`);
  }
  return frame;
}
