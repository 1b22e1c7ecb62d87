/**
 * All tunnels of one process: finding the one a message is for, timers, the
 * link to NATS, lost peers, and an orderly end.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { BufferPool } from "../base/buffer_pool.ts";
import type { Bus, BusMessage, LinkEvent } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import { type CodecName, codecOf, decodeFrame } from "../wire/codec.ts";
import { Counters } from "./counters.ts";
import { DriveQueue } from "./run_queue.ts";
import { type Reason, TunnelError } from "../base/errors.ts";
import type { Frame } from "../wire/frame.ts";
import type { TunnelHome } from "./machine_tunnel.ts";
import { MemoryBudget } from "../tunnel/memory_budget.ts";
import { NativeTunnel } from "./native_wire.ts";
import { Peers } from "./peers.ts";
import type { Peer } from "./tunnel.ts";
import type { PeerTimes } from "../tunnel/liveness.ts";
import { INITIAL_WINDOW_BYTES } from "../tunnel/receive_buffer.ts";
import type { Socket } from "../net/socket.ts";
import { Strays } from "./closed_tunnels.ts";
import {
  type ConnectionId,
  formatId,
  parseId,
  type Role,
  type Subjects,
} from "../wire/subjects.ts";
import type { Tunnel } from "./tunnel.ts";
import { TunnelTable } from "./table.ts";
import { TunnelTimers } from "./timers.ts";
import type { Outcome } from "../tunnel/types.ts";
import { V1Tunnel } from "./v1_wire.ts";

/** Turns of the sweep over peers, in ms. */
const SWEEP_MS = 500;

/** What a session is made of. */
export interface SessionOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** Token of this process in connection IDs. */
  readonly token: string;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** How long what may last. */
  readonly times: PeerTimes;
  /** Most bytes under way per tunnel and direction. */
  readonly maxWindow: number;
  /** Most bytes held per process and direction. */
  readonly memoryBudget: number;
  /** In ms; 0 = never. */
  readonly idleTimeout: number;
  /** In ms; 0 = never. */
  readonly halfCloseTimeout: number;
  /** Most tunnels open at once. */
  readonly maxTunnels: number;
  /** Most opens under way at once. */
  readonly maxOpening: number;
  /** Messages on this process's subjects that are for no tunnel and no peer. */
  readonly onOther?: (id: ConnectionId, message: BusMessage) => boolean;
}

/** A native tunnel to be added. */
export interface NativeSpec {
  /** Connection ID. */
  readonly id: ConnectionId;
  /** The local connection. */
  readonly socket: Socket;
  /** Target as it was asked for, `host:port`. */
  readonly target: string;
  /** The form of frames. */
  readonly codec: CodecName;
  /** Credit the peer gave, in bytes. */
  readonly peerWindow: number;
}

/** A tunnel with a version 1 peer to be added. */
export interface V1Spec {
  /** Connection ID. */
  readonly id: string;
  /** Number at the end of its connection ID. */
  readonly number: number;
  /** The local connection. */
  readonly socket: Socket;
  /** Target as it was asked for, `host:port`. */
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
  /** Running totals. */
  readonly counters: Counters = new Counters();
  /** Where large buffers come from and go back to. */
  readonly pool: BufferPool = new BufferPool();
  /** Memory of the process for bytes sent and not acknowledged. */
  readonly sendBudget: MemoryBudget;
  /** Memory of the process for bytes received and not written. */
  readonly receiveBudget: MemoryBudget;
  readonly #options: SessionOptions;
  readonly #home: TunnelHome;
  readonly #log = getLogger(["sproxy", "tunnel"]);
  readonly #table = new TunnelTable();
  readonly #peers: Peers;
  readonly #strays: Strays;
  readonly #timers: TunnelTimers;
  readonly #drives: DriveQueue;
  readonly #stop = new AbortController();
  #sweeper: Disposable;
  #sweptAt: number;
  #onEmpty: (() => void) | undefined;

  /** A session on `bus`, subscribed to this process's subjects. */
  constructor(options: SessionOptions) {
    const { bus, clock, role, token, subjects, times } = options;
    this.#options = options;
    this.#strays = new Strays({
      bus,
      role,
      subjects,
      resumeTimeout: times.resumeTimeout,
    });
    this.#drives = new DriveQueue({ bus, clock });
    this.#timers = new TunnelTimers(clock);
    this.sendBudget = new MemoryBudget(options.memoryBudget);
    this.receiveBudget = new MemoryBudget(options.memoryBudget);
    this.#home = {
      bus,
      clock,
      pool: this.pool,
      sendBudget: this.sendBudget,
      receiveBudget: this.receiveBudget,
      maxWindow: options.maxWindow,
      idleTimeout: options.idleTimeout,
      halfCloseTimeout: options.halfCloseTimeout,
      onDriven: this.onDriven,
      onEnd: this.onEnd,
    };
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
    bus.onDrain(() => this.#drives.drained(), signal);
    this.#sweptAt = clock.now();
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

  /** The limit that forbids one more tunnel, beside `opening` that are to be; undefined if none does. */
  limitReached(opening: number): Reason | undefined {
    const { maxTunnels, maxOpening } = this.#options;
    const limit = (text: string): Reason => ({ code: "limit", text });
    if (this.#table.size + opening >= maxTunnels) {
      return limit(`${maxTunnels} tunnels are open (--max-tunnels)`);
    }
    if (opening >= maxOpening) {
      return limit(`${maxOpening} opens are under way (--max-opening)`);
    }
    return undefined;
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
      this.#strays.tombstones.find(text) !== undefined;
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
      home: this.#home,
      info: { id, remote: socket.remote, target, openedAt: now },
      number: spec.id.number,
      socket,
      codec,
      peer: this.#peers.get(spec.id[other], codec, now),
      outbound: subjects.data(other, id),
      inbound: subjects.data(role, id),
      peerWindow: spec.peerWindow,
      window: this.initialWindow,
      confirm: role === "server",
    });
    this.add(tunnel);
    if (!bus.connected) tunnel.linkDown(now);
    return tunnel;
  }

  /** Adds a tunnel with a version 1 peer and sets it going in this turn. */
  addV1(spec: V1Spec): Tunnel {
    const { bus, clock } = this.#options;
    const tunnel: Tunnel = new V1Tunnel({
      ...this.#home,
      ...spec,
      role: this.#options.role,
      info: {
        id: spec.id,
        remote: spec.socket.remote,
        target: spec.target,
        openedAt: clock.now(),
      },
      onTouched: (touched) => this.touch(touched),
      onEnd: (ended, outcome) => {
        spec.onEnd?.();
        this.onEnd(ended, outcome);
      },
    });
    this.add(tunnel);
    if (!bus.connected) tunnel.linkDown(clock.now());
    return tunnel;
  }

  /** Adds a tunnel of any kind, made with this session's `onDriven` and `onEnd`. */
  add(tunnel: Tunnel): void {
    this.#table.add(tunnel);
    tunnel.peer?.tunnels.add(tunnel);
    this.counters.opened++;
    const { id, remote: peer, target } = tunnel.info;
    this.#log.debug("tunnel open", { id, peer, target });
    this.touch(tunnel);
  }

  /** Carries out, at the end of this turn, what follows from an event of `tunnel`. */
  touch(tunnel: Tunnel): void {
    this.#drives.touch(tunnel);
  }

  /** Bookkeeping after a tunnel was driven. */
  readonly onDriven = (tunnel: Tunnel, now: number): void => {
    if (tunnel.outcome !== undefined) return;
    this.#drives.driven(tunnel);
    this.#timers.watch(tunnel, now);
  };

  /** Bookkeeping and the log line when a tunnel has ended. */
  readonly onEnd = (tunnel: Tunnel, outcome: Outcome): void => {
    if (!this.#table.remove(tunnel)) return;
    this.#timers.forget(tunnel);
    this.#drives.forget(tunnel);
    const { peer, info, stats } = tunnel;
    const now = this.#options.clock.now();
    if (peer !== undefined) {
      if (peer.tunnels.delete(tunnel)) this.#peers.releaseIfIdle(peer, now);
      this.#strays.tombstones.add(
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
    for (const tunnel of this.#table) {
      tunnel.abort(reason);
      tunnel.drive(now);
    }
    this.#peers.sayGoodbye(reason);
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
    this.#timers[Symbol.dispose]();
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
    if (onOther?.(id, message)) return;
    const peer = this.#peers.find(id[role === "client" ? "server" : "client"]);
    if (message.status !== 0) {
      if (id.number === 0) peer?.state.noResponders(now);
      return;
    }
    let frame: Frame | undefined;
    try {
      frame = decodeFrame(message.data);
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      this.#malformed(message, error.text);
      return;
    }
    if (frame === undefined) return;
    if (id.number !== 0) {
      if (this.#strays.answer(id, frame)) this.counters.unknownTunnel++;
    } else if (peer === undefined) this.#strays.answerStranger(id, frame);
    else {
      this.#peers.receive(peer, frame, now);
      if (frame.type !== "ping" || !frame.resumed) return;
      for (const tunnel of peer.tunnels) this.touch(tunnel);
    }
  }

  #malformed(message: BusMessage, why: string): void {
    this.counters.malformed++;
    const { subject, data } = message;
    this.#log.debug("message dropped", { subject, bytes: data.length, why });
  }

  #onLink(event: LinkEvent): void {
    const now = this.#options.clock.now();
    if (event.type === "up") {
      const { maxPayload } = this.#options.bus;
      this.#peers.linkUp(now);
      for (const tunnel of this.#table) {
        tunnel.setMaxPayload(maxPayload, now);
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
      process: peer.token,
      tunnels: peer.tunnels.size,
      reason: reason.code,
      why: reason.text,
    });
    const tunnels = [...peer.tunnels];
    peer.tunnels.clear();
    this.#peers.forget(peer);
    for (const tunnel of tunnels) {
      tunnel.peerLost(reason, now);
      tunnel.drive(now);
    }
  }

  readonly #sweep = (): void => {
    const now = this.#options.clock.now();
    this.#sweeper = this.#options.clock.after(SWEEP_MS, this.#sweep);
    // After a stop of this process its sockets have news that it has not read.
    const late = now - this.#sweptAt > 4 * SWEEP_MS;
    this.#sweptAt = now;
    this.#peers.sweep(now, { verdicts: !late });
    this.#strays.sweep(now);
    this.#timers.sweep(this.#table, now);
  };
}
