/**
 * A tunnel between two version 2 processes.
 *
 * @module
 */
import type { BufferPool } from "./buffer_pool.ts";
import type { Bus, BusMessage, PublishOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Codec } from "./codec.ts";
import { decodeFrame } from "./codecs.ts";
import { type Reason, TunnelError } from "./errors.ts";
import { type Frame, FRAME_PAYLOAD_BYTES } from "./frame.ts";
import type { MemoryBudget } from "./memory_budget.ts";
import type { Peer } from "./peers.ts";
import { Relay, type RelayHost } from "./relay.ts";
import type { Socket } from "./socket.ts";
import type { Tunnel, TunnelInfo } from "./tunnel.ts";
import { TunnelState } from "./tunnel_state.ts";
import type { Outcome, TunnelStats } from "./tunnel_types.ts";

/** What all native tunnels of a session have in common. */
export interface SharedByTunnels {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Where large buffers come from and go back to. */
  readonly pool: BufferPool;
  /** Memory of the process for bytes sent and not acknowledged. */
  readonly sendBudget: MemoryBudget;
  /** Memory of the process for bytes received and not written. */
  readonly receiveBudget: MemoryBudget;
  /** Most bytes under way in one direction. */
  readonly maxWindow: number;
  /** Longest quiet, in ms; 0 = for ever. */
  readonly idleTimeout: number;
  /** Longest quiet once one direction has ended, in ms; 0 = for ever. */
  readonly halfCloseTimeout: number;
  /** Called after each drive. */
  readonly onDriven: (tunnel: Tunnel, now: number) => void;
  /** Called once when the tunnel has ended. */
  readonly onEnd: (tunnel: Tunnel, outcome: Outcome) => void;
}

/** What a native tunnel is made of. */
export interface NativeTunnelOptions {
  /** What it has in common with others. */
  readonly shared: SharedByTunnels;
  /** What logs and tables say of it. */
  readonly info: TunnelInfo;
  /** Number at the end of its connection ID. */
  readonly number: number;
  /** The local connection. */
  readonly socket: Socket;
  /** The process at the other end. */
  readonly peer: Peer;
  /** The form of frames. */
  readonly codec: Codec;
  /** Subject its frames go to. */
  readonly outbound: string;
  /** Subject its frames arrive on. */
  readonly inbound: string;
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
export class NativeTunnel implements Tunnel, RelayHost<Frame> {
  /** What logs and tables say of it. */
  readonly info: TunnelInfo;
  readonly number: number;
  readonly inbound: string;
  readonly peer: Peer;
  readonly #shared: SharedByTunnels;
  readonly #codec: Codec;
  readonly #outbound: string;
  readonly #state: TunnelState;
  readonly #relay: Relay<Frame>;

  /** A tunnel that both ends have agreed on; it moves once driven. */
  constructor(options: NativeTunnelOptions) {
    const { shared, codec, info, peer } = options;
    this.#shared = shared;
    this.#codec = codec;
    this.#outbound = options.outbound;
    this.info = info;
    this.number = options.number;
    this.peer = peer;
    this.inbound = options.inbound;
    this.#state = new TunnelState({
      now: info.openedAt,
      pool: shared.pool,
      sendBudget: shared.sendBudget,
      receiveBudget: shared.receiveBudget,
      path: peer.state.path,
      peerWindow: options.peerWindow,
      window: options.window,
      maxWindow: shared.maxWindow,
      frameBytes: frameBytes(codec, info.id, shared.bus.maxPayload),
      idleTimeout: shared.idleTimeout,
      halfCloseTimeout: shared.halfCloseTimeout,
      confirm: options.confirm,
    });
    this.#relay = new Relay<Frame>({
      socket: options.socket,
      machine: this.#state,
      clock: shared.clock,
      host: this,
    });
  }

  /** How the tunnel ended; undefined while it has not. */
  get outcome(): Outcome | undefined {
    return this.#state.outcome;
  }

  /** Counters. */
  get stats(): TunnelStats {
    return this.#state.stats;
  }

  get ack(): number {
    return this.#state.ack;
  }

  /** Bytes held for sending and for writing. */
  get held(): { readonly send: number; readonly receive: number } {
    return this.#state.held;
  }

  /** When `tick` is to be called at the latest. */
  get nextTimeout(): number {
    return this.#state.nextTimeout;
  }

  receive(message: BusMessage, now: number): boolean {
    this.peer.state.heard(now);
    try {
      const frame = decodeFrame(message.data);
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

  /** Time has passed. */
  tick(now: number): void {
    this.#state.tick(now);
  }

  /** Cuts the tunnel at once; the peer is told. */
  abort(reason: Reason): void {
    this.#state.abort(reason);
  }

  /** The link to NATS is down. */
  linkDown(): void {
    this.#state.linkDown();
  }

  /** The link to NATS is back. */
  linkUp(now: number): void {
    this.#state.linkUp(now);
  }

  peerLost({ code, text }: Reason, now: number): void {
    this.#state.receive({ type: "reset", code, text }, now);
  }

  peerResumed(now: number): void {
    this.#state.peerResumed(now);
  }

  setMaxPayload(bytes: number): void {
    this.#state.setFrameBytes(frameBytes(this.#codec, this.info.id, bytes));
  }

  /** See {@linkcode RelayHost}. */
  get congested(): boolean {
    return this.#shared.bus.congested;
  }

  send(frame: Frame): void {
    const lane = frame.type === "ack" ? CONTROL_LANE : DATA_LANE;
    const message = this.#codec.encode(this.info.id, frame);
    this.#shared.bus.publish(this.#outbound, message, lane);
  }

  driven(now: number): void {
    this.#shared.onDriven(this, now);
  }

  ended(outcome: Outcome): void {
    this.#shared.onEnd(this, outcome);
  }
}

/** Payload of a DATA frame: as measured best, or what the broker takes if that is less. */
function frameBytes(codec: Codec, id: string, maxPayload: number): number {
  return Math.max(
    1,
    Math.min(FRAME_PAYLOAD_BYTES, codec.payloadCapacity(id, maxPayload)),
  );
}
