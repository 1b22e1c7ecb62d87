/**
 * How many frames of each type went out or came in.
 *
 * @module
 */
import type { Frame } from "../wire/frame.ts";

/** Frames of both ways. */
export interface FrameTraffic {
  /** To other processes. */
  readonly sent: FrameCounts;
  /** From other processes. */
  readonly received: FrameCounts;
}

/**
 * Counts frames: a comparison or two and an addition for each, as most are data
 * or acknowledgements.
 */
export class FrameCounts implements Readonly<Record<Frame["type"], number>> {
  /** Bytes of a stream. */
  data = 0;
  /** Acknowledgements alone. */
  ack = 0;
  /** Ends of a stream. */
  fin = 0;
  /** Tunnels that were cut. */
  reset = 0;
  /** Questions. */
  ping = 0;
  /** Answers. */
  pong = 0;

  /** One more of this type. */
  count(type: Frame["type"]): void {
    if (type === "data") this.data++;
    else if (type === "ack") this.ack++;
    else this[type]++;
  }
}
