/**
 * All tunnels of one process: finding the one a message is for, timers, the
 * link to NATS, lost peers, and an orderly end.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { binaryCodec } from "./binary_codec.ts";
import { BufferPool } from "./buffer_pool.ts";
import type { Bus, BusMessage, LinkEvent } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Codec, CodecName } from "./codec.ts";
import { Counters } from "./counters.ts";
import { type Reason, TunnelError } from "./errors.ts";
import type { Frame } from "./frame.ts";
import { jsonCodec } from "./json_codec.ts";
import { MemoryBudget } from "./memory_budget.ts";
import { NativeTunnel } from "./native_tunnel.ts";
import { type Peer, Peers } from "./peers.ts";
import type { PeerTimes } from "./peer_state.ts";
import { INITIAL_WINDOW_BYTES } from "./receive_buffer.ts";
import type { Socket } from "./socket.ts";
import {
  type ConnectionId,
  formatId,
  parseId,
  type Role,
  type Subjects,
} from "./subjects.ts";
import { Tombstones } from "./tombstones.ts";
import type { Tunnel } from "./tunnel.ts";
import { TunnelTable } from "./tunnel_table.ts";
import type { Outcome } from "./tunnel_types.ts";
import { V1Tunnel } from "./v1_tunnel.ts";

/** Turns of the timer for acks and probes, in ms: that of the delayed ack. */
const TICK_MS = 25;

/** Tunnels whose next timeout is further off than this are left to the sweep, in ms. */
const TICK_HORIZON_MS = 10_000;

/** Turns of the sweep over peers and far timeouts, in ms. */
const SWEEP_MS = 500;

/**
 * Answers to frames for unknown tunnels in one sweep: enough for a process
 * that restarts with many tunnels, too few to amplify a flood.
 */
const MAX_STRAY_ANSWERS = 4096;

/** What a session is made of. */
export interface SessionOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly role: Role;
  /** Token of this process in connection IDs. */
  readonly token: string;
  readonly subjects: Subjects;
  readonly times: PeerTimes;
  /** Most bytes under way per tunnel and direction. */
  readonly maxWindow: number;
  /** Most bytes held per process and direction. */
  readonly memoryBudget: number;
  /** In ms; 0 = never. */
  readonly idleTimeout: number;
  /** In ms; 0 = never. */
  readonly halfCloseTimeout: number;
  readonly maxTunnels: number;
  /** Messages on this process's subjects that are for no tunnel and no peer. */
  readonly onOther?: (
    id: ConnectionId,
    message: BusMessage,
    now: number,
  ) => boolean;
  /** A turn of the tick timer while `keepTicking` says so. */
  readonly onTick?: (now: number) => void;
  readonly keepTicking?: () => boolean;
}

/** A native tunnel to be added. */
export interface NativeSpec {
  readonly id: ConnectionId;
  readonly socket: Socket;
  readonly target: string;
  readonly codec: CodecName;
  /** Credit the peer gave, in bytes. */
  readonly peerWindow: number;
}

/** A tunnel with a version 1 peer to be added. */
export interface V1Spec {
  /** Connection ID. */
  readonly id: string;
  readonly number: number;
  readonly socket: Socket;
  readonly target: string;
  /** Subject its messages go to. */
  readonly outbound: string;
  /** Subject its messages arrive on. */
  readonly inbound: string;
  /** Bytes a second sent to the peer. */
  readonly rate: number;
  /** How long the peer may take to listen, in ms. */
  readonly listenTimeout: number;
  /** Called when the tunnel has ended. */
  readonly onEnd?: () => void;
}

/** The tunnels of a process and what they share. */
export class Session implements Disposable {
  readonly counters: Counters = new Counters();
  readonly pool: BufferPool = new BufferPool();
  readonly sendBudget: MemoryBudget;
  readonly receiveBudget: MemoryBudget;
  readonly #options: SessionOptions;
  readonly #log = getLogger(["sproxy", "tunnel"]);
  readonly #table = new TunnelTable();
  readonly #peers: Peers;
  readonly #tombstones = new Tombstones();
  readonly #stop = new AbortController();
  /** Tunnels with events whose consequences are not carried out yet. */
  #dirty: Tunnel[] = [];
  #driving = false;
  /** Tunnels that wait for the way to NATS to be free. */
  #blocked = new Set<Tunnel>();
  /** Tunnels with a timeout in the near future. */
  readonly #timed = new Set<Tunnel>();
  #ticker: Disposable | undefined;
  #sweeper: Disposable;
  #strayAnswers = 0;
  #onEmpty: (() => void) | undefined;

  /** A session on `bus`, subscribed to this process's subjects. */
  constructor(options: SessionOptions) {
    const { bus, clock, role, token, subjects, times } = options;
    this.#options = options;
    this.sendBudget = new MemoryBudget(options.memoryBudget);
    this.receiveBudget = new MemoryBudget(options.memoryBudget);
    this.#peers = new Peers({
      bus,
      subjects,
      role,
      token,
      times,
      onLost: (peer, reason) => this.#endPeer(peer, reason),
    });
    const { signal } = this.#stop;
    const subscription = bus.subscribe(
      subjects.pattern(role, token),
      (message) => this.#onMessage(message),
    );
    signal.addEventListener("abort", () => subscription[Symbol.dispose]());
    bus.onLink((event) => this.#onLink(event), signal);
    bus.onDrain(() => this.#onDrain(), signal);
    this.#sweeper = clock.after(SWEEP_MS, this.#sweep);
  }

  /** Tunnels open now. */
  get size(): number {
    return this.#table.size;
  }

  /** Peers with which tunnels are open. */
  get peerCount(): number {
    return this.#peers.size;
  }

  /** Whether the limit on tunnels is reached. */
  get full(): boolean {
    return this.#table.size >= this.#options.maxTunnels;
  }

  /** Credit that this process gives with an open, in bytes. */
  get initialWindow(): number {
    return Math.min(INITIAL_WINDOW_BYTES, this.#options.maxWindow);
  }

  /** Tunnels shared with the peer of this token. */
  tunnelsWith(token: string): number {
    return this.#peers.find(token)?.tunnels.size ?? 0;
  }

  /** Whether a tunnel of this ID is open, or has been lately. */
  knows(id: ConnectionId): boolean {
    const { subjects, role } = this.#options;
    const text = formatId(id);
    const subject = new TextEncoder().encode(subjects.data(role, text));
    return this.#table.find(subject) !== undefined ||
      this.#tombstones.find(text) !== undefined;
  }

  /** Adds a native tunnel and sets it going in this turn. */
  addNative(spec: NativeSpec): Tunnel {
    const { bus, clock, role, subjects } = this.#options;
    const { socket, target } = spec;
    const other: Role = role === "client" ? "server" : "client";
    const now = clock.now();
    const id = formatId(spec.id);
    const codec = codecOf(spec.codec);
    const tunnel: Tunnel = new NativeTunnel({
      ...this.#options,
      info: { id, remote: socket.remote, target, openedAt: now },
      number: spec.id.number,
      socket,
      codec,
      peer: this.#peers.get(spec.id[other], codec, now),
      pool: this.pool,
      sendBudget: this.sendBudget,
      receiveBudget: this.receiveBudget,
      outbound: subjects.data(other, id),
      inbound: subjects.data(role, id),
      peerWindow: spec.peerWindow,
      window: this.initialWindow,
      confirm: role === "server",
      onDriven: this.onDriven,
      onEnd: this.onEnd,
    });
    this.add(tunnel);
    if (!bus.connected) tunnel.linkDown(now);
    return tunnel;
  }

  /** Adds a tunnel with a version 1 peer and sets it going in this turn. */
  addV1(spec: V1Spec): Tunnel {
    const { clock } = this.#options;
    const tunnel: Tunnel = new V1Tunnel({
      ...this.#options,
      ...spec,
      info: {
        id: spec.id,
        remote: spec.socket.remote,
        target: spec.target,
        openedAt: clock.now(),
      },
      pool: this.pool,
      sendBudget: this.sendBudget,
      receiveBudget: this.receiveBudget,
      onTouched: (touched) => this.touch(touched),
      onDriven: this.onDriven,
      onEnd: (ended, outcome) => {
        spec.onEnd?.();
        this.onEnd(ended, outcome);
      },
    });
    this.add(tunnel);
    return tunnel;
  }

  /** Adds a tunnel of any kind, made with this session's `onDriven` and `onEnd`. */
  add(tunnel: Tunnel): void {
    this.#table.add(tunnel);
    tunnel.peer?.tunnels.add(tunnel);
    this.counters.opened++;
    const { id, remote, target } = tunnel.info;
    this.#log.debug("tunnel open", { id, remote, target });
    this.touch(tunnel);
  }

  /** Carries out, at the end of this turn, what follows from an event of `tunnel`. */
  touch(tunnel: Tunnel): void {
    this.#dirty.push(tunnel);
    if (this.#driving) return;
    this.#driving = true;
    queueMicrotask(() => this.#driveDirty());
  }

  /** Bookkeeping after a tunnel was driven. */
  readonly onDriven = (tunnel: Tunnel): void => {
    if (tunnel.outcome !== undefined) return;
    if (this.#options.bus.congested) this.#blocked.add(tunnel);
    if (tunnel.nextTimeout < this.#options.clock.now() + TICK_HORIZON_MS) {
      this.#timed.add(tunnel);
      this.startTicking();
    }
  };

  /** Bookkeeping and the log line when a tunnel has ended. */
  readonly onEnd = (tunnel: Tunnel, outcome: Outcome): void => {
    if (!this.#table.remove(tunnel)) return;
    this.#timed.delete(tunnel);
    this.#blocked.delete(tunnel);
    const { peer, info, stats } = tunnel;
    const now = this.#options.clock.now();
    if (peer !== undefined) {
      peer.tunnels.delete(tunnel);
      this.#peers.releaseIfIdle(peer);
      this.#tombstones.add(
        info.id,
        outcome.clean ? { ack: tunnel.ack } : { reason: outcome.reason },
        now,
      );
    }
    this.counters.closed(outcome.clean ? "ok" : outcome.reason.code);
    this.counters.bytesSent += stats.bytesSent;
    this.counters.bytesReceived += stats.bytesReceived;
    this.counters.replays += stats.replays;
    this.counters.gaps += stats.gaps;
    this.#log.info("tunnel closed", {
      id: info.id,
      peer: info.remote,
      target: info.target,
      sent: stats.bytesSent,
      received: stats.bytesReceived,
      ms: Math.round(now - info.openedAt),
      ...(stats.replays > 0 ? { replays: stats.replays } : {}),
      ...(outcome.clean ? { reason: "ok" } : {
        reason: outcome.reason.code,
        by: outcome.by,
        why: outcome.reason.text,
      }),
    });
    if (this.#table.size === 0) this.#onEmpty?.();
  };

  /** Calls the tick timer to life; it stops by itself when nothing needs it. */
  startTicking(): void {
    this.#ticker ??= this.#options.clock.after(TICK_MS, this.#tick);
  }

  /** Resolves when no tunnel is open; rejects with the signal's reason when it aborts first. */
  async empty(signal: AbortSignal): Promise<void> {
    if (this.#table.size === 0) return;
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#onEmpty = resolve;
    try {
      await promise;
    } finally {
      this.#onEmpty = undefined;
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Cuts every tunnel and tells the peers that this process leaves. */
  shutDown(reason: Reason): void {
    const now = this.#options.clock.now();
    this.#peers.sayGoodbye(reason);
    for (const tunnel of this.#table) {
      tunnel.abort(reason);
      tunnel.drive(now);
    }
  }

  /** Bytes held by all tunnels, and unsent in the bus. */
  get held(): { send: number; receive: number; unsent: number } {
    return {
      send: this.sendBudget.used,
      receive: this.receiveBudget.used,
      unsent: this.#options.bus.pendingBytes,
    };
  }

  /** Bytes of all tunnels, ended and open. */
  get traffic(): { sent: number; received: number } {
    let { bytesSent: sent, bytesReceived: received } = this.counters;
    for (const { stats } of this.#table) {
      sent += stats.bytesSent;
      received += stats.bytesReceived;
    }
    return { sent, received };
  }

  /** Stops timers and subscriptions; the tunnels should be gone. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#ticker?.[Symbol.dispose]();
    this.#sweeper[Symbol.dispose]();
  }

  #onMessage(message: BusMessage): void {
    const now = this.#options.clock.now();
    const tunnel = this.#table.find(message.subjectBytes);
    if (tunnel === undefined) {
      this.#onOther(message, now);
      return;
    }
    if (!tunnel.receive(message, now)) this.counters.malformed++;
    this.touch(tunnel);
  }

  #onOther(message: BusMessage, now: number): void {
    const { role, subjects, onOther } = this.#options;
    const text = subjects.idOf(role, message.subject);
    const id = text === undefined ? undefined : parseId(text);
    if (id === undefined) {
      this.#malformed(message, "no connection ID in the subject");
      return;
    }
    if (onOther?.(id, message, now)) return;
    const peer = this.#peers.find(id[role === "client" ? "server" : "client"]);
    if (message.status !== 0) {
      if (id.number === 0) peer?.state.noResponders(now);
      return;
    }
    let frame: Frame | undefined;
    try {
      frame = decode(message.data);
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      this.#malformed(message, error.text);
      return;
    }
    if (frame === undefined) return;
    if (id.number !== 0) this.#answerStray(id, frame);
    else if (peer !== undefined) {
      this.#peers.receive(peer, frame, now);
      for (const tunnel of peer.tunnels) this.touch(tunnel);
    }
  }

  /** A frame for a tunnel that does not exist (any more): its sender must know. */
  #answerStray(id: ConnectionId, frame: Frame): void {
    if (frame.type === "reset") return;
    this.counters.unknownTunnel++;
    if (this.#strayAnswers++ >= MAX_STRAY_ANSWERS) return;
    const { bus, role, subjects } = this.#options;
    const text = formatId(id);
    const epitaph = this.#tombstones.find(text);
    const answer: Frame = epitaph !== undefined && "ack" in epitaph
      ? { type: "ack", ack: epitaph.ack, limit: epitaph.ack, gap: false }
      : {
        type: "reset",
        ...(epitaph?.reason ??
          {
            code: "unknown-tunnel",
            text: "the process at the other end knows no such tunnel",
          }),
      };
    const other: Role = role === "client" ? "server" : "client";
    bus.publish(
      subjects.data(other, text),
      binaryCodec.encode(text, answer),
      { lane: "control" },
    );
  }

  #malformed(message: BusMessage, why: string): void {
    this.counters.malformed++;
    const { subject, data } = message;
    this.#log.debug("message dropped", { subject, bytes: data.length, why });
  }

  #driveDirty(): void {
    const now = this.#options.clock.now();
    // Driving may touch others; they are driven in the same turn.
    for (let at = 0; at < this.#dirty.length; at++) {
      this.#dirty[at]?.drive(now);
    }
    this.#dirty = [];
    this.#driving = false;
  }

  #onDrain(): void {
    const now = this.#options.clock.now();
    const blocked = this.#blocked;
    this.#blocked = new Set();
    for (const tunnel of blocked) {
      // Those not reached come first next time; each gets its turn.
      if (this.#options.bus.congested) this.#blocked.add(tunnel);
      else tunnel.drive(now);
    }
  }

  #onLink(event: LinkEvent): void {
    const now = this.#options.clock.now();
    if (event.type === "up") {
      const { maxPayload } = this.#options.bus;
      this.#peers.linkUp(now);
      for (const tunnel of this.#table) {
        tunnel.setMaxPayload(maxPayload);
        tunnel.linkUp(now);
        this.touch(tunnel);
      }
    } else {
      this.#peers.linkDown(now);
      for (const tunnel of this.#table) {
        tunnel.linkDown(now);
        this.touch(tunnel);
      }
    }
  }

  #endPeer(peer: Peer, reason: Reason): void {
    const now = this.#options.clock.now();
    this.#log.warn("peer lost", {
      peer: peer.token,
      tunnels: peer.tunnels.size,
      reason: reason.code,
      why: reason.text,
    });
    for (const tunnel of [...peer.tunnels]) {
      tunnel.abort(reason);
      tunnel.drive(now);
    }
    this.#peers.releaseIfIdle(peer);
  }

  readonly #tick = (): void => {
    this.#ticker = undefined;
    const { clock, onTick, keepTicking } = this.#options;
    const now = clock.now();
    for (const tunnel of this.#timed) {
      const due = tunnel.nextTimeout;
      if (due <= now) {
        tunnel.tick(now);
        tunnel.drive(now);
      } else if (due > now + TICK_HORIZON_MS) this.#timed.delete(tunnel);
    }
    onTick?.(now);
    if (this.#timed.size > 0 || keepTicking?.()) this.startTicking();
  };

  readonly #sweep = (): void => {
    const now = this.#options.clock.now();
    this.#sweeper = this.#options.clock.after(SWEEP_MS, this.#sweep);
    this.#strayAnswers = 0;
    this.#peers.sweep(now);
    this.#tombstones.sweep(now);
    for (const tunnel of this.#table) {
      if (tunnel.nextTimeout < now + TICK_HORIZON_MS) {
        this.#timed.add(tunnel);
        this.startTicking();
      }
    }
  };
}

/** The codec of this name. */
export function codecOf(name: CodecName): Codec {
  return name === "json" ? jsonCodec : binaryCodec;
}

/** Reads a frame in whichever form it comes. */
function decode(data: Uint8Array): Frame | undefined {
  return (data[0] === 0x7b ? jsonCodec : binaryCodec).decode(data);
}
