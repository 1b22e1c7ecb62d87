/**
 * The wire of a tunnel between two version 2 processes: frames in either codec.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Encodable } from "../base/encodable.ts";
import type { BusMessage, PublishOptions } from "../nats/bus.ts";
import { type Codec, decodeFrame } from "../wire/codec.ts";
import { type Decider, type Reason, TunnelError } from "../base/errors.ts";
import {
  type Frame,
  FRAME_PAYLOAD_BYTES,
  MAX_RESET_TEXT_BYTES,
} from "../wire/frame.ts";
import { expressOf, isExpressBytes } from "../wire/subjects.ts";
import { SEAL_OVERHEAD_BYTES, type TunnelSeal } from "../seal/frames.ts";
import { restProbeOf } from "../tunnel/probe_timer.ts";
import { EXPRESS_BYTES, ExpressWay } from "./express.ts";
import type { Peer } from "./peers.ts";
import type { Budgets } from "./payers.ts";
import type { Tunnel, TunnelHome, Wire } from "./tunnel.ts";
import { TunnelState } from "../tunnel/machine.ts";

/** Options of a native wire. */
export interface NativeWireOptions extends Budgets {
  /** Shared by all tunnels of the session. */
  readonly home: TunnelHome;
  /** Connection ID. */
  readonly id: string;
  /** Number at its end. */
  readonly number: number;
  /** The process at the other end. */
  readonly peer: Peer<Tunnel>;
  /** The form of frames. */
  readonly codec: Codec;
  /** Subject its frames come on. */
  readonly inbound: string;
  /** Subject its frames go to. */
  readonly outbound: string;
  /** Credit the peer gave in the open, in bytes. */
  readonly peerWindow: number;
  /** Credit given in the open, in bytes. */
  readonly window: number;
  /** Whether the peer hears what is express. */
  readonly express: boolean;
  /** What seals its frames; undefined for none. */
  readonly seal?: TunnelSeal | undefined;
  /** Whether this end waits for a first sign of the other: the one that answered the open. */
  readonly awaitPeer: boolean;
}

/** Whatever speaks about what was sent keeps its place among the data. */
const DATA_LANE: PublishOptions = { lane: "data" };
/** An ACK is credit, and credit never waits behind data. */
const CONTROL_LANE: PublishOptions = { lane: "control" };
const EXPRESS_LANE: PublishOptions = { lane: "express" };

const log = getLogger(["sproxy", "tunnel"]);

/** Frames to and from a version 2 peer. */
export class NativeWire implements Wire {
  /** The machine that decides. */
  readonly machine: TunnelState;
  /** The process at the other end. */
  readonly peer: Peer<Tunnel>;
  /** What seals its frames; undefined for none. */
  readonly seal: TunnelSeal | undefined;
  readonly #options: NativeWireOptions;
  readonly #express: ExpressWay;
  /** Subject its frames go to that are express. */
  readonly #expressTo: string;
  /** What the machine was told last. */
  #frameBytes: number;

  /** The wire of a tunnel that both ends have agreed on. */
  constructor(options: NativeWireOptions) {
    const { home, peer } = options;
    this.#options = options;
    this.peer = peer;
    this.seal = options.seal;
    this.#frameBytes = this.#fitting(home.bus.maxPayload);
    this.machine = new TunnelState({
      ...home,
      ...options,
      now: home.clock.now(),
      path: peer.state.path,
      frameBytes: this.#frameBytes,
      restProbe: restProbeOf(options.number),
    });
    this.#express = new ExpressWay(this.machine, options.express);
    this.#expressTo = expressOf(options.outbound);
  }

  /** Whether the way to NATS is full for what comes next. */
  get congested(): boolean {
    const { bus } = this.#options.home;
    return this.#express.open ? bus.expressCongested : bus.congested;
  }

  /** Whether small messages of others wait behind what it has under way. */
  get isBulk(): boolean {
    return this.machine.inFlight > EXPRESS_BYTES ||
      this.machine.window > this.#options.window;
  }

  /** Sends every frame that is due; only answers while the way to NATS is full. */
  send(now: number): void {
    const { home: { frames: { sent } }, id, codec } = this.#options;
    this.#express.look(now);
    let frame: Frame | undefined;
    while (
      (frame = this.machine.pollFrame(now, this.congested)) !== undefined
    ) {
      sent.count(frame.type);
      const lane = this.#express.take(frame)
        ? EXPRESS_LANE
        : frame.type === "ack"
        ? CONTROL_LANE
        : DATA_LANE;
      this.#publish(codec.encode(id, frame), lane, now);
    }
  }

  /**
   * Sends a frame about the two processes, sealed as those of this tunnel are.
   * If nobody listens there, the broker itself says so, on this tunnel's subject.
   */
  sendPairFrame(frame: Frame, now: number): void {
    const { codec, id, inbound } = this.#options;
    const options = { ...CONTROL_LANE, reply: inbound };
    this.#publish(codec.encode(id, frame), options, now, true);
  }

  /** Takes apart a message and tells the machine. */
  receive(message: BusMessage, now: number): void {
    const { seal } = this;
    const { home } = this.#options;
    this.#express.came(isExpressBytes(message.subjectBytes));
    if (seal === undefined) this.#onFrame(message.data, now);
    else {
      if (message.status !== 0) {
        this.peer.state.noResponders(now);
        return;
      }
      const opened = seal.open(message.data, message.subjectBytes);
      if (opened === undefined) this.#onRejected(message.data, now);
      else if (!opened.pair) this.#onFrame(opened.frame, now);
      else {
        const frame = decodeFrame(opened.frame);
        if (frame !== undefined) home.onPairFrame(this.peer, frame, now);
      }
    }
  }

  /** The peer is gone, as `by` says. */
  peerLost(reason: Reason, by: Decider, now: number): void {
    this.machine.peerLost(reason, by, now);
  }

  /** The peer's link was away. */
  peerResumed(now: number): void {
    this.machine.peerResumed(now);
  }

  /** What was express may be lost, either way: both ends say where they stand. */
  expressLost(now: number): void {
    if (!this.#express.isUsed) return;
    this.#express.lost();
    this.machine.peerResumed(now);
  }

  /** The broker does not take what is express. */
  expressDenied(now: number): void {
    this.#express.denied(now);
    this.machine.peerResumed(now);
  }

  /** The broker now takes messages of at most `bytes`. */
  setMaxPayload(bytes: number): void {
    this.#frameBytes = this.#fitting(bytes);
    this.machine.setFrameBytes(this.#frameBytes);
  }

  #onFrame(data: Uint8Array, now: number): void {
    const { peer } = this;
    peer.state.heard(now);
    const frame = decodeFrame(data);
    if (frame === undefined) return;
    this.#options.home.frames.received.count(frame.type);
    this.machine.receive(frame, now);
    // Not before: to seal the ping takes the buffer that the frame was opened in.
    if (peer.state.pollBusy(now)) this.#options.home.onBusy(peer, now);
    const { frameBytes } = this.machine;
    if (frameBytes < this.#frameBytes) this.#remember(frameBytes, now);
  }

  /** Nothing unsealed is believed; but if the peer has lost its tunnels, it can say so in no other way. */
  #onRejected(data: Uint8Array, now: number): void {
    const { home, peer } = this.#options;
    home.onRejected();
    if (!saysUnknown(data)) return;
    const until = now + home.doubtTimeout;
    this.machine.doubt(until, now);
    if (now < peer.doubtedUntil) return;
    // It may have been restarted: then it knows none of them.
    peer.doubtedUntil = until;
    for (const tunnel of peer.tunnels) tunnel.peerResumed(now);
  }

  #publish(
    message: Encodable,
    options: PublishOptions,
    now: number,
    pair = false,
  ): void {
    const { home: { bus }, outbound } = this.#options;
    const { lane = "data" } = options;
    const subject = lane === "express" ? this.#expressTo : outbound;
    const sealed = this.seal?.seal(message, { lane, pair, subject }, now);
    bus.publish(subject, sealed ?? message, options);
  }

  /** Payload of a DATA frame: as measured best, or what the brokers take if that is less. */
  #fitting(maxPayload: number): number {
    const { codec, id, peer } = this.#options;
    const room = maxPayload -
      (this.seal === undefined ? 0 : SEAL_OVERHEAD_BYTES);
    const capacity = codec.payloadCapacity(id, room);
    return Math.max(
      1,
      Math.min(FRAME_PAYLOAD_BYTES, capacity, peer.largestFrame),
    );
  }

  /** The machine made its frames smaller: so must all tunnels with the peer. */
  #remember(bytes: number, now: number): void {
    const { home, peer, id } = this.#options;
    if (peer.largestFrame === Infinity) {
      log.warn(
        "the same bytes were lost again and again: their frames are made smaller, as for a broker on the way with a lower max_payload",
        { process: peer.token, id, bytes },
      );
    }
    peer.largestFrame = bytes;
    for (const tunnel of peer.tunnels) {
      tunnel.setMaxPayload(home.bus.maxPayload, now);
    }
  }
}

/** Whether an unsealed message says that its sender knows no tunnel of that ID. */
function saysUnknown(data: Uint8Array): boolean {
  if (data.length > 2 * MAX_RESET_TEXT_BYTES) return false;
  try {
    const frame = decodeFrame(data);
    return frame?.type === "reset" && frame.code === "unknown-tunnel";
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error;
    return false;
  }
}
