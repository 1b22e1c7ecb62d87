/** One end of a tunnel by itself, for tests that are the peer and the clock. */
import assert from "node:assert/strict";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import type { DataFrame, Frame } from "../../lib/wire/frame.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import { PathEstimate } from "../../lib/tunnel/rtt.ts";
import { TunnelState } from "../../lib/tunnel/machine.ts";
import type { TunnelOptions } from "../../lib/tunnel/types.ts";

/** Credit each way in the beginning, in bytes. */
export const WINDOW = 64 * 1024;
/** Most payload of a frame, in bytes. */
export const FRAME = 16 * 1024;
/** A reason for a cut. */
export const REASON = { code: "aborted", text: "for a test" } as const;
/** A RESET for it. */
export const RESET = { type: "reset", ...REASON } as const;

/** A tunnel with plenty of memory, or as `options` say. */
export function open(options?: Partial<TunnelOptions>): TunnelState {
  return new TunnelState({
    now: 0,
    pool: new BufferPool(),
    sendBudget: new MemoryBudget(1 << 26),
    receiveBudget: new MemoryBudget(1 << 26),
    path: new PathEstimate(),
    peerWindow: WINDOW,
    window: WINDOW,
    maxWindow: WINDOW,
    frameBytes: FRAME,
    idleTimeout: 0,
    halfCloseTimeout: 0,
    awaitPeer: false,
    ...options,
  });
}

/** All frames that are to go now. */
export function drain(
  state: TunnelState,
  now: number,
  answersOnly = false,
): Frame[] {
  const frames: Frame[] = [];
  let frame: Frame | undefined;
  while ((frame = state.pollFrame(now, answersOnly)) !== undefined) {
    frames.push(frame);
  }
  return frames;
}

/** Lets the next timeout come; returns its time and what is sent then. */
export function wake(
  state: TunnelState,
): { readonly at: number; frames: Frame[] } {
  const at = state.nextTimeout;
  state.tick(at);
  return { at, frames: drain(state, at) };
}

/** The types of frames, in order. */
export function types(frames: readonly Frame[]): string {
  return frames.map(({ type }) => type).join(" ");
}

/** A DATA frame. */
export function data(offset: number, length: number, ack = 0): DataFrame {
  const payload = new Uint8Array(length).fill(offset);
  return { type: "data", offset, ack, limit: WINDOW, payload };
}

/** A FIN frame. */
export function fin(offset: number): Frame {
  return { type: "fin", offset, ack: 0, limit: WINDOW };
}

/** An ACK frame. */
export function ack(
  to: number,
  options?: { limit?: number; gap?: boolean },
): Frame {
  return { type: "ack", ack: to, limit: WINDOW, gap: false, ...options };
}

/** A PING frame. */
export function ping(
  id: number,
  options?: { ack?: number; resumed?: boolean },
): Frame {
  const frame = { sent: 0, ack: 0, limit: WINDOW, resumed: false };
  return { type: "ping", id, ...frame, ...options };
}

/** A PONG frame. */
export function pong(
  id: number,
  options?: { sent?: number; ack?: number; hold?: boolean; limit?: number },
): Frame {
  const frame = { sent: 0, ack: 0, limit: WINDOW, hold: false };
  return { type: "pong", id, ...frame, ...options };
}

/** The id of the only PING among the frames. */
export function askedBy(frames: readonly Frame[]): number {
  const [asked, ...more] = frames.filter((frame) => frame.type === "ping");
  assert.ok(asked !== undefined && more.length === 0, types(frames));
  return asked.id;
}

/** Writes all that may be written; returns how many bytes. */
export function writeAll(state: TunnelState, now: number): number {
  let written = 0;
  let chunk: Uint8Array | undefined;
  while ((chunk = state.takeWritable()) !== undefined) {
    written += chunk.length;
    state.wrote(chunk, now);
  }
  return written;
}
