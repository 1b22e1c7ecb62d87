/**
 * A tunnel between two version 2 processes.
 *
 * @module
 */
import type { BufferPool } from "./buffer_pool.ts";
import type { Bus, BusMessage, PublishOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Codec } from "./codec.ts";
import { type Reason, TunnelError } from "./errors.ts";
import { type Frame, FRAME_PAYLOAD_BYTES } from "./frame.ts";
import type { MemoryBudget } from "./memory_budget.ts";
import type { Peer } from "./peers.ts";
import { Relay } from "./relay.ts";
import type { Socket } from "./socket.ts";
import type { Tunnel, TunnelInfo } from "./tunnel.ts";
import { TunnelState } from "./tunnel_state.ts";
import type { Outcome, TunnelStats } from "./tunnel_types.ts";

/** What a native tunnel is made of. */
export interface NativeTunnelOptions {
  readonly info: TunnelInfo;
  readonly number: number;
  readonly socket: Socket;
  readonly peer: Peer;
  readonly codec: Codec;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly pool: BufferPool;
  readonly sendBudget: MemoryBudget;
  readonly receiveBudget: MemoryBudget;
  /** Subject its frames go to. */
  readonly outbound: string;
  /** Subject its frames arrive on. */
  readonly inbound: string;
  readonly peerWindow: number;
  readonly window: number;
  readonly maxWindow: number;
  readonly idleTimeout: number;
  readonly halfCloseTimeout: number;
  /** Whether this end waits for a first sign of the other: the one that answered the open. */
  readonly confirm: boolean;
  readonly onDriven: (tunnel: Tunnel) => void;
  readonly onEnd: (tunnel: Tunnel, outcome: Outcome) => void;
}

/** Order is kept with data by all that speaks about what was sent. */
const DATA_LANE: PublishOptions = { lane: "data" };
/** An ACK is credit, and credit never waits behind data. */
const CONTROL_LANE: PublishOptions = { lane: "control" };

/** The native tunnel. */
export class NativeTunnel implements Tunnel {
  readonly info: TunnelInfo;
  readonly number: number;
  readonly inbound: Uint8Array;
  readonly peer: Peer;
  readonly #options: NativeTunnelOptions;
  readonly #state: TunnelState;
  readonly #relay: Relay<Frame>;

  /** A tunnel that both ends have agreed on; it moves once driven. */
  constructor(options: NativeTunnelOptions) {
    const { bus, codec, info } = options;
    this.#options = options;
    this.info = info;
    this.number = options.number;
    this.peer = options.peer;
    this.inbound = new TextEncoder().encode(options.inbound);
    this.#state = new TunnelState({
      ...options,
      now: info.openedAt,
      path: options.peer.state.path,
      frameBytes: frameBytes(codec, info.id, bus.maxPayload),
    });
    this.#relay = new Relay<Frame>({
      socket: options.socket,
      machine: this.#state,
      clock: options.clock,
      congested: () => bus.congested,
      send: (frame) => this.#send(frame),
      onDriven: () => options.onDriven(this),
      onEnd: (outcome) => options.onEnd(this, outcome),
    });
  }

  get outcome(): Outcome | undefined {
    return this.#state.outcome;
  }

  get stats(): TunnelStats {
    return this.#state.stats;
  }

  get ack(): number {
    return this.#state.ack;
  }

  get held(): { readonly send: number; readonly receive: number } {
    return this.#state.held;
  }

  get nextTimeout(): number {
    return this.#state.nextTimeout;
  }

  receive(message: BusMessage, now: number): boolean {
    this.peer.state.heard(now);
    try {
      const frame = this.#options.codec.decode(message.data);
      if (frame !== undefined) this.#state.receive(frame, now);
      return true;
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      this.#state.abort(error);
      return false;
    }
  }

  drive(now: number): void {
    this.#relay.drive(now);
  }

  tick(now: number): void {
    this.#state.tick(now);
  }

  abort(reason: Reason, options?: { readonly tell?: boolean }): void {
    this.#state.abort(reason, options);
  }

  linkDown(): void {
    this.#state.linkDown();
  }

  linkUp(now: number): void {
    this.#state.linkUp(now);
  }

  peerResumed(now: number): void {
    this.#state.peerResumed(now);
  }

  setMaxPayload(bytes: number): void {
    const { codec, info } = this.#options;
    this.#state.setFrameBytes(frameBytes(codec, info.id, bytes));
  }

  #send(frame: Frame): void {
    const { bus, codec, info, outbound } = this.#options;
    const lane = frame.type === "ack" ? CONTROL_LANE : DATA_LANE;
    bus.publish(outbound, codec.encode(info.id, frame), lane);
  }
}

/** Payload of a DATA frame: as measured best, or what the broker takes if that is less. */
function frameBytes(codec: Codec, id: string, maxPayload: number): number {
  return Math.max(
    1,
    Math.min(FRAME_PAYLOAD_BYTES, codec.payloadCapacity(id, maxPayload)),
  );
}
