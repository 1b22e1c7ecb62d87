/**
 * One open tunnel with its relay loop, which moves bytes between the local
 * socket and the tunnel's machine, and frames between the machine and the wire.
 *
 * The loop waits for its own socket only, so that no tunnel holds up another:
 * it reads when the machine allows it, writes one chunk at a time, and sends
 * frames in the turn in which they arise. A fault of ours ends the tunnel it
 * befell, and no other.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { BufferPool } from "../base/buffer_pool.ts";
import type { Bus, BusMessage } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import {
  type Decider,
  messageOf,
  type Reason,
  TunnelError,
} from "../base/errors.ts";
import type { Frame } from "../wire/frame.ts";
import type { FrameTraffic } from "./frame_counts.ts";
import type { Peer } from "./peers.ts";
import { directOf, type DirectSocket, type Socket } from "../net/socket.ts";
import type { TunnelSeal } from "../seal/frames.ts";
import type { TunnelState } from "../tunnel/machine.ts";
import type { Stall } from "../tunnel/stall.ts";
import type { Outcome, Pause, TunnelStats } from "../tunnel/types.ts";
import { localEnd, type Role } from "../wire/subjects.ts";
import { named, type TunnelInfo } from "./tunnel_info.ts";
import type { TunnelView } from "./view.ts";

/** What a process sets for all its tunnels. */
export interface TunnelSettings {
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Most bytes under way per tunnel and direction. */
  readonly maxWindow: number;
  /** Longest time without a byte, in ms; 0 = for ever. */
  readonly idleTimeout: number;
  /** The same once one direction has ended, in ms; 0 = for ever. */
  readonly halfCloseTimeout: number;
}

/** What all tunnels of a session share, and the callbacks of their session. */
export interface TunnelHome extends TunnelSettings {
  /** How long even the smallest frame may be lost each time, in ms; for ever by default. */
  readonly lossTimeout?: number;
  /** How long the peer of a sealed tunnel may be in doubt, in ms. */
  readonly doubtTimeout: number;
  /** Where large buffers come from and go back to. */
  readonly pool: BufferPool;
  /** Sees to it that the tunnel's `step` is called at the end of this turn. */
  readonly schedule: (tunnel: Tunnel) => void;
  /** Called after each step of a tunnel that goes on. */
  readonly onStepped: (tunnel: Tunnel, now: number) => void;
  /** Where its frames are counted. */
  readonly frames: FrameTraffic;
  /** Frames come from a peer, and a ping is due by that. */
  readonly onBusy: (peer: Peer<Tunnel>, now: number) => void;
  /** A frame about the two processes came, by way of one of their sealed tunnels. */
  readonly onPairFrame: (peer: Peer<Tunnel>, frame: Frame, now: number) => void;
  /** A message came for a sealed tunnel that the other end did not seal, or not for now. */
  readonly onRejected: () => void;
  /** Called once when the tunnel has ended and its socket is closed. */
  readonly onEnd: (tunnel: Tunnel, outcome: Outcome) => void;
}

/**
 * What decides for a tunnel, `TunnelState` or `V1State` for version 1, as the
 * relay loop knows it: what is left out here is between the machine and its
 * wire, or for tests.
 */
export type Machine = Omit<
  TunnelState,
  | "doubt"
  | "frameBytes"
  | "inFlight"
  | "peerLost"
  | "peerResumed"
  | "pollFrame"
  | "receive"
  | "receiveHalf"
  | "replays"
  | "sendHalf"
  | "setFrameBytes"
  | "settled"
  | "unanswered"
>;

/** What differs between the versions: how the machine's frames travel. */
export interface Wire {
  /** The machine that decides. */
  readonly machine: Machine;
  /** The process at the other end; undefined for version 1, which cannot ask for it. */
  readonly peer: Peer<Tunnel> | undefined;
  /** Whether the way to NATS is full for what comes next. */
  readonly congested: boolean;
  /** Whether so much is under way that small messages of others wait behind it. */
  readonly isBulk?: boolean;
  /** Sends every frame that is due; only answers while the way to NATS is full. */
  send(now: number): void;
  /**
   * Takes apart a message and tells the machine.
   *
   * @throws {TunnelError} when the message is malformed.
   */
  receive(message: BusMessage, now: number): void;
  /** The peer is gone: what has come from it is still handed over. */
  peerLost?(reason: Reason, by: Decider, now: number): void;
  /** The peer's link was away. */
  peerResumed?(now: number): void;
  /** What was express may be lost. */
  expressLost?(now: number): void;
  /** The broker does not take what is express. */
  expressDenied?(now: number): void;
  /** Sends a frame about the two processes, which no other tunnel is to read. */
  sendPairFrame?(frame: Frame, now: number): void;
  /** What seals its frames; undefined if nothing does. */
  readonly seal?: TunnelSeal | undefined;
  /** The broker now takes messages of at most `bytes`. */
  setMaxPayload?(bytes: number): void;
}

/** Options of a tunnel. */
export interface TunnelOptions {
  /** Its description in logs. */
  readonly info: TunnelInfo;
  /** Number at the end of its connection ID. */
  readonly number: number;
  /** Subject its messages arrive on. */
  readonly inbound: string;
  /** Its own subscription, which ends with it. */
  readonly subscription?: Disposable | undefined;
  /** The local connection. */
  readonly socket: Socket;
  /** Its wire, with the machine. */
  readonly wire: Wire;
  /** Shared with the other tunnels. */
  readonly home: TunnelHome;
}

/** Stands for the end of stream where there is a chunk otherwise. */
const END = new Uint8Array(0);

const log = getLogger(["sproxy", "tunnel"]);

/** One open tunnel; after each event that it is told it schedules its own step. */
export class Tunnel {
  /** Its description in logs. */
  readonly info: TunnelInfo;
  /** Number at the end of its inbound subject; what tables are keyed by. */
  readonly number: number;
  /** The subject its messages arrive on. */
  readonly inbound: string;
  readonly #home: TunnelHome;
  readonly #wire: Wire;
  readonly #machine: Machine;
  readonly #socket: DirectSocket;
  readonly #subscription: Disposable | undefined;
  #reading = false;
  /** What is being written; `END` for the end of stream, and for ever after it. */
  #writing: Uint8Array | undefined = undefined;
  #ended = false;

  /** A tunnel that does nothing before its first step. */
  constructor(options: TunnelOptions) {
    this.info = options.info;
    this.number = options.number;
    this.inbound = options.inbound;
    this.#home = options.home;
    this.#wire = options.wire;
    this.#machine = options.wire.machine;
    this.#socket = directOf(options.socket);
    this.#subscription = options.subscription;
  }

  /** The process at the other end; undefined for version 1. */
  get peer(): Peer<Tunnel> | undefined {
    return this.#wire.peer;
  }

  /** What seals its frames; undefined if nothing does. */
  get seal(): TunnelSeal | undefined {
    return this.#wire.seal;
  }

  /** Counters. */
  get stats(): TunnelStats {
    return this.#machine.stats;
  }

  /** Cumulative acknowledgement, for questions after the end. */
  get ack(): number {
    return this.#machine.ack;
  }

  /** The side that takes nothing, if one has not for too long. */
  get stall(): Stall | undefined {
    return this.#machine.stall;
  }

  /** Bytes held for the other end and for the local socket. */
  get held(): TunnelView["held"] {
    return this.#machine.held;
  }

  /** What people are shown of it at `now`. */
  view(now: number): TunnelView {
    const { id, target, remote, forward, service, source, openedAt } =
      this.info;
    const client = this.info.client ?? this.info.asker;
    const { stats, held, stall, silent, halfClosed } = this.#machine;
    const isStalled = stall?.certain === true;
    return {
      ...{ id, target, peer: remote, held },
      ...(source !== undefined && { source }),
      ...(forward !== undefined && { forward }),
      ...(service !== undefined && { service }),
      ...(client !== undefined && { client }),
      ms: Math.round(now - openedAt),
      sent: stats.bytesSent,
      received: stats.bytesReceived,
      condition: isStalled
        ? "stalled"
        : silent
        ? "silent"
        : halfClosed
        ? "half-closed"
        : "open",
      ...(isStalled && {
        stalled: { side: stall.side, ms: Math.round(now - stall.since) },
      }),
    };
  }

  /** Why the local socket is not read, if it is not because of what comes after it. */
  get pause(): Pause | undefined {
    if (this.#reading || this.#ended) return undefined;
    const { pause, readAllowance } = this.#machine;
    const waits = readAllowance > 0 && this.congested;
    return pause ?? (waits ? "nats" : undefined);
  }

  /** Whether the way to NATS is full for what it has to send. */
  get congested(): boolean {
    return this.#wire.congested;
  }

  /** Whether small messages of others wait behind what it has under way. */
  get isBulk(): boolean {
    return this.#wire.isBulk ?? false;
  }

  /** How much the other end may have under way, in bytes; 0 where it is not told. */
  get window(): number {
    return this.#machine.window;
  }

  /** When `tick` is to be called at the latest. */
  get nextTimeout(): number {
    return this.#machine.nextTimeout;
  }

  // Events

  /** A message arrived on its subject; returns false when it was malformed. */
  receive(message: BusMessage, now: number): boolean {
    let wellFormed = true;
    try {
      this.#wire.receive(message, now);
    } catch (error) {
      if (error instanceof TunnelError) {
        wellFormed = false;
        this.#machine.abort(error);
      } else this.#fault(error, now);
    }
    this.#home.schedule(this);
    return wellFormed;
  }

  /** Time has passed. */
  tick(now: number): void {
    this.#tell(now, () => this.#machine.tick(now));
  }

  /** Cuts the tunnel, in this turn; the peer is told. */
  abort(reason: Reason, now: number): void {
    this.#tell(now, () => this.#machine.abort(reason));
    this.step(now);
  }

  /** The link to NATS is down. */
  linkDown(now: number): void {
    this.#tell(now, () => this.#machine.linkDown());
  }

  /** The link to NATS is back; the broker takes messages of at most `maxPayload` bytes. */
  linkUp(maxPayload: number, now: number): void {
    this.#tell(now, () => {
      this.#wire.setMaxPayload?.(maxPayload);
      this.#machine.linkUp(now);
    });
  }

  /** The broker takes messages of at most so many bytes now. */
  setMaxPayload(maxPayload: number, now: number): void {
    this.#tell(now, () => this.#wire.setMaxPayload?.(maxPayload));
  }

  /** The peer is gone: what has come from it is still handed over. */
  peerLost(reason: Reason, by: Decider, now: number): void {
    this.#tell(now, () => this.#wire.peerLost?.(reason, by, now));
  }

  /** The peer's link was away. */
  peerResumed(now: number): void {
    this.#tell(now, () => this.#wire.peerResumed?.(now));
  }

  /** What was express may be lost, either way. */
  expressLost(now: number): void {
    this.#tell(now, () => this.#wire.expressLost?.(now));
  }

  /** The broker does not take what is express: it is sent again as the rest. */
  expressDenied(now: number): void {
    this.#tell(now, () => this.#wire.expressDenied?.(now));
  }

  /** Sends a frame about the two processes, sealed as those of this tunnel are. */
  sendPairFrame(frame: Frame, now: number): void {
    this.#wire.sendPairFrame?.(frame, now);
  }

  /** Tells the machine of an event, and schedules what follows from it. */
  #tell(now: number, event: () => void): void {
    try {
      event();
    } catch (error) {
      this.#fault(error, now);
    }
    this.#home.schedule(this);
  }

  // The relay loop

  /**
   * Carries out what follows from the events so far: frames, writes, reads,
   * the end. It never throws.
   */
  step(now: number): void {
    if (this.#ended) return;
    try {
      this.#wire.send(now);
      this.#write();
      this.#read();
      const { outcome } = this.#machine;
      if (outcome !== undefined) this.#end(outcome);
      else this.#home.onStepped(this, now);
    } catch (error) {
      this.#fault(error, now);
    }
  }

  #read(): void {
    if (this.#reading || this.congested) return;
    const allowance = this.#machine.readAllowance;
    if (allowance <= 0) return;
    this.#reading = true;
    this.#socket.readLimit = allowance;
    this.#socket.reader.read().then(this.#onRead, this.#onReadError);
  }

  #write(): void {
    if (this.#writing !== undefined) return;
    const { writer } = this.#socket;
    const chunk = this.#machine.takeWritable();
    if (chunk !== undefined) {
      this.#writing = chunk;
      writer.write(chunk).then(this.#onWrote, this.#onWriteError);
    } else if (this.#machine.endDue) {
      this.#writing = END;
      writer.close().then(this.#onWrote, this.#onWriteError);
    }
  }

  // Made once for each tunnel, not for each message.

  readonly #onRead = (result: ReadableStreamReadResult<Uint8Array>): void => {
    const now = this.#home.clock.now();
    this.#reading = false;
    try {
      if (result.done) this.#machine.readEnd(now);
      else this.#machine.read(result.value, now);
    } catch (error) {
      this.#fault(error, now);
    }
    this.step(now);
  };

  readonly #onReadError = (error: unknown): void => {
    const now = this.#home.clock.now();
    this.#socketFailed((end) => `reading from ${end}`, error, now);
    this.step(now);
  };

  readonly #onWrote = (): void => {
    const now = this.#home.clock.now();
    this.#wrote(now);
    this.step(now);
  };

  readonly #onWriteError = (error: unknown): void => {
    const now = this.#home.clock.now();
    if (this.#writing === END) {
      this.#socketFailed((end) => `ending the stream to ${end}`, error, now);
    } else {
      this.#socketFailed((end) => `writing to ${end}`, error, now);
      this.#wrote(now); // gives its memory back
      this.#writing = END; // and never writes again
    }
    this.step(now);
  };

  #wrote(now: number): void {
    const chunk = this.#writing ?? END;
    try {
      if (chunk === END) this.#machine.wroteEnd(now); // and never writes again
      else {
        this.#writing = undefined;
        this.#machine.wrote(chunk, now);
      }
    } catch (error) {
      this.#fault(error, now);
    }
  }

  #socketFailed(
    what: (end: string) => string,
    error: unknown,
    now: number,
  ): void {
    if (this.#ended) return; // closing our own socket ends what it was doing
    const end = localEnd(this.#home.role);
    const text = `${what(end)} failed: ${messageOf(error)}`;
    try {
      this.#machine.fail({ code: "aborted", text }, now);
    } catch (fault) {
      this.#fault(fault, now);
    }
  }

  /**
   * Something failed that never should: this tunnel ends of it. The peer is
   * told, if that still works.
   */
  #fault(error: unknown, now: number): void {
    this.#logFault(error);
    if (this.#ended) return;
    const reason: Reason = { code: "internal", text: messageOf(error) };
    try {
      this.#machine.abort(reason);
      this.#wire.send(now);
    } catch (again) {
      this.#logFault(again);
    }
    this.#end(this.#machine.outcome ?? { clean: false, by: "local", reason });
  }

  #end(outcome: Outcome): void {
    this.#ended = true;
    try {
      this.#socket.close();
      this.#home.onEnd(this, outcome);
      this.#subscription?.[Symbol.dispose]();
    } catch (error) {
      this.#logFault(error);
    }
  }

  #logFault(error: unknown): void {
    log.error("tunnel failed", {
      target: this.info.target,
      error,
      ...named(this.info),
    });
  }
}
