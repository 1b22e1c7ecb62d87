/**
 * A tunnel between two version 2 processes.
 *
 * @module
 */
import type { Bus, BusMessage, PublishOptions } from "../nats/bus.ts";
import { type Codec, decodeFrame } from "../wire/codec.ts";
import type { Reason } from "../base/errors.ts";
import { type Frame, FRAME_PAYLOAD_BYTES } from "../wire/frame.ts";
import {
  MachineTunnel,
  type MachineTunnelOptions,
  type TunnelHome,
} from "./machine_tunnel.ts";
import type { Peer } from "./tunnel.ts";
import { restProbeOf } from "../tunnel/probe_timer.ts";
import { TunnelState } from "../tunnel/machine.ts";

/** What a native tunnel is made of. */
export interface NativeTunnelOptions extends MachineTunnelOptions {
  /** Where it lives. */
  readonly home: TunnelHome;
  /** The process at the other end. */
  readonly peer: Peer;
  /** The form of frames. */
  readonly codec: Codec;
  /** Subject its frames go to. */
  readonly outbound: string;
  /** Credit the peer gave in the open, in bytes. */
  readonly peerWindow: number;
  /** Credit given in the open, in bytes. */
  readonly window: number;
  /** Whether this end waits for a first sign of the other: the one that answered the open. */
  readonly confirm: boolean;
}

/** Order is kept with data by all that speaks about what was sent. */
const DATA_LANE: PublishOptions = { lane: "data" };
/** An ACK is credit, and credit never waits behind data. */
const CONTROL_LANE: PublishOptions = { lane: "control" };

/** The native tunnel. */
export class NativeTunnel extends MachineTunnel<Frame> {
  /** The process at the other end. */
  readonly peer: Peer;
  readonly #bus: Bus;
  readonly #codec: Codec;
  readonly #outbound: string;
  readonly #state: TunnelState;

  /** A tunnel that both ends have agreed on; it moves once driven. */
  constructor(options: NativeTunnelOptions) {
    const { home, codec, info, peer } = options;
    const state = new TunnelState({
      now: info.openedAt,
      pool: home.pool,
      sendBudget: home.sendBudget,
      receiveBudget: home.receiveBudget,
      path: peer.state.path,
      peerWindow: options.peerWindow,
      window: options.window,
      maxWindow: home.maxWindow,
      frameBytes: frameBytes(codec, info.id, home.bus.maxPayload),
      idleTimeout: home.idleTimeout,
      halfCloseTimeout: home.halfCloseTimeout,
      confirm: options.confirm,
      restProbe: restProbeOf(options.number),
    });
    super(options, home, state);
    this.peer = peer;
    this.#bus = home.bus;
    this.#codec = codec;
    this.#outbound = options.outbound;
    this.#state = state;
  }

  /** Cumulative acknowledgement, for questions after the end. */
  get ack(): number {
    return this.#state.ack;
  }

  /** The peer is gone: what has come from it is still handed over. */
  peerLost({ code, text }: Reason, now: number): void {
    this.guarded(
      now,
      () => this.#state.receive({ type: "reset", code, text }, now),
    );
  }

  /** The peer's link was away. */
  peerResumed(now: number): void {
    this.guarded(now, () => this.#state.peerResumed(now));
  }

  /** The broker takes messages of at most so many bytes now. */
  setMaxPayload(bytes: number, now: number): void {
    const most = frameBytes(this.#codec, this.info.id, bytes);
    this.guarded(now, () => this.#state.setFrameBytes(most));
  }

  /** See {@linkcode MachineTunnel}. */
  send(frame: Frame): void {
    const lane = frame.type === "ack" ? CONTROL_LANE : DATA_LANE;
    const message = this.#codec.encode(this.info.id, frame);
    this.#bus.publish(this.#outbound, message, lane);
  }

  /** Takes apart a message and tells the machine. */
  protected take(message: BusMessage, now: number): void {
    this.peer.state.heard(now);
    const frame = decodeFrame(message.data);
    if (frame !== undefined) this.#state.receive(frame, now);
  }
}

/** Payload of a DATA frame: as measured best, or what the broker takes if that is less. */
function frameBytes(codec: Codec, id: string, maxPayload: number): number {
  return Math.max(
    1,
    Math.min(FRAME_PAYLOAD_BYTES, codec.payloadCapacity(id, maxPayload)),
  );
}
