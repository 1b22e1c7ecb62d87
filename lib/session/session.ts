/**
 * All tunnels of one process: finding the one a message is for, timers, the
 * link to NATS, lost peers, and an orderly end.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { BufferPool } from "../base/buffer_pool.ts";
import type { BusMessage, LinkEvent } from "../nats/bus.ts";
import { type CodecName, codecOf, decodeFrame } from "../wire/codec.ts";
import { Counters } from "./counters.ts";
import {
  blame,
  type Decider,
  publishDenied,
  type Reason,
  subscribeDenied,
  TunnelError,
} from "../base/errors.ts";
import type { Frame } from "../wire/frame.ts";
import { LongTunnels } from "./long_tunnels.ts";
import { NativeWire } from "./native_wire.ts";
import { Payers } from "./payers.ts";
import { Recent } from "./recent.ts";
import { type Peer, Peers } from "./peers.ts";
import type { PeerTimes } from "../tunnel/liveness.ts";
import type { Aead } from "../seal/aead.ts";
import { isSealed, type SealKeys, TunnelSeal } from "../seal/frames.ts";
import { RunQueue } from "./run_queue.ts";
import { INITIAL_WINDOW_BYTES } from "../tunnel/receive_buffer.ts";
import type { Socket } from "../net/socket.ts";
import { ClosedTunnels } from "./closed_tunnels.ts";
import {
  type ConnectionId,
  formatId,
  isExpress,
  otherRole,
  parseId,
  type Role,
  type Subjects,
} from "../wire/subjects.ts";
import {
  Tunnel,
  type TunnelHome,
  type TunnelSettings,
  type Wire,
} from "./tunnel.ts";
import type { TunnelObserver } from "./observer.ts";
import { Stalls } from "./stalls.ts";
import { type Survey, TunnelSurvey } from "./survey.ts";
import { TunnelTable } from "./table.ts";
import { TunnelTimers } from "./timers.ts";
import type { TunnelInfo, TunnelOrigin } from "./tunnel_info.ts";
import { logEnd, logOpen } from "./tunnel_log.ts";
import type { Outcome, TunnelStats } from "../tunnel/types.ts";
import { V1Wire } from "./v1_wire.ts";
import { worthShowing } from "./worth_showing.ts";
import type { TunnelView } from "./view.ts";

/** How long a connection for what is express stays without any tunnel, in ms: the next are likely to be alike. */
const EXPRESS_LINGER_MS = 5_000;

/** Time between two sweeps over peers and closed tunnels, in ms. */
const PEER_SWEEP_MS = 500;

/**
 * Where tunnels are dialled each open may need a second descriptor, for the
 * lookup of its name or an address tried beside the first, but not more than
 * so many at once: the runtime looks up 32 names at a time.
 */
const MAX_SECOND_DESCRIPTORS = 32;

/** Options of a session. */
export interface SessionOptions extends TunnelSettings {
  /** Token of this process in connection IDs. */
  readonly token: string;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** Timeouts of a peer. */
  readonly times: PeerTimes;
  /** Most bytes held per process and direction. */
  readonly memoryBudget: number;
  /** Most tunnels open at once. */
  readonly maxTunnels: number;
  /** Most tunnels that the descriptors of the process allow; no limit by default. */
  readonly tunnelsByDescriptors?: number | undefined;
  /** Most opens under way at once. */
  readonly maxOpening: number;
  /** Whether all tunnels are sealed, and nothing unsealed is believed. */
  readonly sealed?: boolean;
  /** What frames are sealed with; node:crypto alone by default. */
  readonly aead?: Aead | undefined;
  /** Takes a message for no open tunnel; returns whether it knew what to do with it. */
  readonly onOther?: (id: ConnectionId, message: BusMessage) => boolean;
  /** A frame came for a tunnel, or from a peer, that is not known: when to `answer` it; default at once. */
  readonly onUnknown?: (id: ConnectionId, answer: () => void) => void;
  /** Whether a person hears of the ends of tunnels elsewhere, so that the log need not warn. */
  readonly endsAreTold?: boolean;
  /** Told of the end of each tunnel. */
  readonly onTunnelEnd?: (outcome: Outcome) => void;
  /** Who keeps a record of tunnels; nobody by default. */
  readonly observer?: TunnelObserver | undefined;
}

/** What the configuration limits. */
export type SessionLimits = Pick<
  SessionOptions,
  "maxTunnels" | "maxOpening" | "memoryBudget" | "maxWindow"
>;

/** A tunnel to be added. */
export interface TunnelSpec extends TunnelOrigin {
  /** The local connection. */
  readonly socket: Socket;
}

/** What the tunnel of an open that was sealed is sealed with. */
export interface SealSpec {
  /** The keys that both ends have agreed on. */
  readonly keys: SealKeys;
  /** The key that the peer has proved to have. */
  readonly peerKey: string;
}

/** A native tunnel to be added. */
export interface NativeSpec extends TunnelSpec {
  /** Connection ID. */
  readonly id: ConnectionId;
  /** The form of frames. */
  readonly codec: CodecName;
  /** Credit the peer gave, in bytes. */
  readonly peerWindow: number;
  /** Whether the peer hears what is express. */
  readonly express: boolean;
  /** What both ends seal with, and whose key the peer has; undefined where nothing is sealed. */
  readonly seal?: SealSpec | undefined;
}

/** A tunnel with a version 1 peer to be added. */
export interface V1Spec extends TunnelSpec {
  /** Connection ID, which a client takes from the server as it is. */
  readonly id: string;
  /** Number of the tunnel. */
  readonly number: number;
  /** Bytes a second sent to the peer. */
  readonly rate: number;
  /** How long the peer may take to listen, in ms. */
  readonly listenTimeout: number;
}

/** The tunnels of a process and what they share. */
export class Session implements Disposable {
  /** Running totals. */
  readonly counters: Counters = new Counters();
  /** What has ended lately. */
  readonly recent: Recent = new Recent();
  /** Where large buffers come from and go back to. */
  readonly pool: BufferPool = new BufferPool();
  readonly #options: SessionOptions;
  readonly #other: Role;
  readonly #home: TunnelHome;
  readonly #log = getLogger(["sproxy", "tunnel"]);
  readonly #table = new TunnelTable<Tunnel>();
  readonly #peers: Peers<Tunnel>;
  readonly #payers: Payers;
  readonly #closed: ClosedTunnels;
  readonly #timers: TunnelTimers<Tunnel>;
  readonly #queue: RunQueue<Tunnel>;
  readonly #stalls: Stalls;
  readonly #long: LongTunnels;
  readonly #stop = new AbortController();
  #tunnelsByDescriptors = Infinity;
  #sweeper: Disposable;
  #sweptAt: number;
  /** When there was a tunnel last. */
  #usedAt = 0;
  #onEmpty: (() => void) | undefined;

  /** A session on `bus`, subscribed to this process's subjects. */
  constructor(options: SessionOptions) {
    const { bus, clock, role, token, subjects, times } = options;
    this.#options = options;
    this.limitByDescriptors(options.tunnelsByDescriptors);
    this.#other = otherRole(role);
    const { resumeTimeout } = times;
    this.#closed = new ClosedTunnels({ bus, role, subjects, resumeTimeout });
    this.#queue = new RunQueue({ bus, clock });
    this.#timers = new TunnelTimers(clock);
    this.#stalls = new Stalls(role);
    this.#long = new LongTunnels(clock.now());
    this.#payers = new Payers(options.memoryBudget);
    this.#home = {
      ...options,
      lossTimeout: resumeTimeout,
      doubtTimeout: times.peerTimeout,
      pool: this.pool,
      schedule: (tunnel) => this.#queue.schedule(tunnel),
      onStepped: this.#onStepped,
      frames: this.counters.frames,
      onBusy: (peer, now) => this.#peers.busy(peer, now),
      onPairFrame: (peer, frame, now) => this.#peers.receive(peer, frame, now),
      onRejected: () => this.counters.rejected++,
      onEnd: this.#onEnd,
    };
    this.#peers = new Peers({
      bus,
      subjects,
      role,
      token,
      times,
      frames: this.counters.frames,
      onRoundTrip: (ms) => this.counters.roundTrips.observe(ms),
      onLost: (peer, reason, by) => this.#endPeer(peer, reason, by),
    });
    const { signal } = this.#stop;
    const subscription = bus.subscribe(
      subjects.pattern(role, token),
      (message) => this.#onMessage(message),
      { split: subjects.patterns(role, token) },
    );
    signal.addEventListener("abort", () => subscription[Symbol.dispose]());
    bus.onLink((event) => this.#onLink(event), signal);
    bus.onDrain(() => this.#queue.drained(), signal);
    this.#sweptAt = clock.now();
    this.#sweeper = clock.after(PEER_SWEEP_MS, this.#sweep);
  }

  /** Tunnels open now. */
  get size(): number {
    return this.#table.size;
  }

  /** Tunnels of which one side has taken nothing for too long. */
  get stalled(): number {
    return this.#stalls.size;
  }

  /** What is not on the record of tunnels that should be; undefined where none is kept. */
  get unrecorded(): number | undefined {
    return this.#options.observer?.lost;
  }

  /** Most tunnels that may be open. */
  get allowed(): number {
    return Math.min(this.#options.maxTunnels, this.#tunnelsByDescriptors);
  }

  /** What the configuration, and no descriptor, limits. */
  get limits(): SessionLimits {
    const { maxTunnels, maxOpening, memoryBudget, maxWindow } = this.#options;
    return { maxTunnels, maxOpening, memoryBudget, maxWindow };
  }

  /** Which side of the tunnels this process is. */
  get role(): Role {
    return this.#options.role;
  }

  /** Peers with which tunnels are open. */
  get peerCount(): number {
    return this.#peers.size;
  }

  /** The limit that forbids one more tunnel, beside `opening` that are to be; undefined if none does. */
  limitReached(opening: number): Reason | undefined {
    const { role, maxTunnels, maxOpening } = this.#options;
    const tunnelsByDescriptors = this.#tunnelsByDescriptors;
    const limit = (text: string): Reason => ({ code: "limit", text });
    if (this.#table.size + opening >= maxTunnels) {
      return limit(
        `${maxTunnels} tunnels are open or being opened (--max-tunnels, shared by all workers)`,
      );
    }
    const second = role === "server"
      ? Math.min(opening, MAX_SECOND_DESCRIPTORS)
      : 0;
    const descriptors = this.#table.size + opening + second;
    if (descriptors >= tunnelsByDescriptors) {
      return limit(
        `${tunnelsByDescriptors} tunnels are all that the open files of this ${role} allow (ulimit -n)`,
      );
    }
    if (opening >= maxOpening) {
      return limit(
        `${maxOpening} opens are under way (--max-opening, shared by all workers)`,
      );
    }
    return undefined;
  }

  /** Credit that this process gives with an open, in bytes. */
  get initialWindow(): number {
    return Math.min(INITIAL_WINDOW_BYTES, this.#options.maxWindow);
  }

  /** Tunnels for which this client pays. */
  tunnelsOf(payer: string): number {
    return this.#payers.tunnelsOf(payer);
  }

  /** Whether a tunnel of this ID is open. */
  has(id: string): boolean {
    return this.#find(id) !== undefined;
  }

  /** Whether a tunnel of this ID is open, or has been lately. */
  knows(id: string): boolean {
    return this.has(id) || this.#closed.find(id) !== undefined;
  }

  /** Cuts the tunnel of this ID, if it is open. */
  abort(id: string, reason: Reason): void {
    this.#find(id)?.abort(reason, this.#options.clock.now());
  }

  #find(id: string): Tunnel | undefined {
    const { subjects, role } = this.#options;
    return this.#table.get(subjects.data(role, id));
  }

  /** Adds a native tunnel and sets it going in this turn. */
  addNative(spec: NativeSpec): Tunnel {
    const { clock, role, subjects } = this.#options;
    const { id: { number }, seal } = spec;
    const id = formatId(spec.id);
    const codec = codecOf(spec.codec);
    const now = clock.now();
    const name = { token: spec.id[this.#other], key: seal?.peerKey };
    const wire = new NativeWire({
      home: this.#home,
      ...this.#payers.open(spec.payer),
      id,
      number,
      codec,
      peer: this.#peers.get(name, codec, now),
      seal: seal && new TunnelSeal(seal.keys, now, this.#options.aead),
      inbound: subjects.data(role, id),
      outbound: subjects.data(this.#other, id),
      peerWindow: spec.peerWindow,
      express: spec.express,
      window: this.initialWindow,
      awaitPeer: role === "server",
    });
    return this.#add({ ...spec, id, number }, wire);
  }

  /** Adds a tunnel with a version 1 peer and sets it going in this turn. */
  addV1(spec: V1Spec): Tunnel {
    const { bus, role, subjects } = this.#options;
    const { id } = spec;
    const inbound = subjects.data(role, id);
    const wire = new V1Wire({
      ...spec,
      home: this.#home,
      ...this.#payers.open(spec.payer),
      role,
      inbound,
      outbound: subjects.data(this.#other, id),
      onPassage: () => this.#queue.schedule(tunnel),
    });
    // Our pattern does not match a server's ID. Subscribe in this very turn: its
    // first bytes may be on their way already.
    const subscription = role === "client"
      ? bus.subscribe(inbound, (message) => this.#deliver(tunnel, message))
      : undefined;
    const tunnel = this.#add(spec, wire, subscription);
    return tunnel;
  }

  #add(
    spec: TunnelSpec & { readonly id: string; readonly number: number },
    wire: Wire,
    subscription?: Disposable,
  ): Tunnel {
    const { bus, clock, role, subjects } = this.#options;
    const { id, number, socket, target, payer, span } = spec;
    const { forward, way, service, source, client, asker, key } = spec;
    const now = clock.now();
    const { remote } = socket;
    const tunnel = new Tunnel({
      info: {
        ...{ id, remote, target, forward, way, service, source },
        ...{ client, asker, key, payer, span, openedAt: now },
        tallies: this.counters.begun({ way, service, client }),
      },
      number,
      inbound: subjects.data(role, id),
      subscription,
      socket,
      wire,
      home: this.#home,
    });
    this.#table.add(tunnel);
    if (tunnel.peer !== undefined) this.#peers.add(tunnel.peer, tunnel, now);
    logOpen(tunnel);
    this.#options.observer?.opened(tunnel);
    if (bus.connected) this.#queue.schedule(tunnel);
    else tunnel.linkDown(now);
    return tunnel;
  }

  readonly #onStepped = (tunnel: Tunnel, now: number): void => {
    this.#queue.stepped(tunnel);
    this.#timers.watch(tunnel, now);
    this.#stalls.note(tunnel, now);
  };

  /** Bookkeeping and the log line when a tunnel has ended. */
  readonly #onEnd = (tunnel: Tunnel, outcome: Outcome): void => {
    if (!this.#table.remove(tunnel)) return;
    this.#timers.forget(tunnel);
    this.#queue.forget(tunnel);
    this.#stalls.forget(tunnel);
    this.#long.forget(tunnel);
    this.#payers.close(tunnel.info.payer);
    const { peer, info, seal, stats } = tunnel;
    const now = this.#options.clock.now();
    if (peer !== undefined) {
      if (peer.tunnels.delete(tunnel)) this.#peers.releaseIfIdle(peer, now);
      this.#closed.add(
        { id: info.id, owner: info.payer ?? peer.token },
        outcome.clean ? { ack: tunnel.ack } : { reason: outcome.reason },
        now,
        seal && { seal, peer: { token: peer.token, key: peer.key } },
      );
    }
    const code = outcome.clean ? "ok" : outcome.reason.code;
    const { tallies } = info;
    this.counters.closed(code, stats, { tallies, ms: now - info.openedAt });
    const { endsAreTold: told = false } = this.#options;
    logEnd(tunnel, outcome, { now, told });
    this.#remember(tunnel, outcome, now);
    this.#options.observer?.ended(tunnel, outcome, now);
    info.span?.end(
      {
        "sproxy.tunnel.id": info.id,
        "sproxy.bytes.sent": stats.bytesSent,
        "sproxy.bytes.received": stats.bytesReceived,
      },
      outcome.clean ? undefined : outcome.reason,
    );
    this.#options.onTunnelEnd?.(outcome);
    if (this.#table.size === 0) this.#onEmpty?.();
  };

  #remember({ info, stats }: Tunnel, outcome: Outcome, at: number): void {
    const { id, target, remote, source, forward, openedAt } = info;
    const client = info.client ?? info.asker;
    const ms = Math.round(at - openedAt);
    const { bytesSent: sent, bytesReceived: received } = stats;
    this.recent.ended(
      {
        ...{ at, id, target, source, client, forward, ms },
        ...{ peer: remote, bytes: { sent, received } },
      },
      outcome.clean ? undefined : outcome,
    );
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

  /** What people are shown of the tunnels open now, the oldest first, at most so many: see {@linkcode worthShowing}. */
  views(most: number): TunnelView[] {
    const now = this.#options.clock.now();
    const shown = worthShowing([...this.#table], most, ({ stall, stats }) => ({
      stalled: stall?.certain === true,
      bytes: stats.bytesSent + stats.bytesReceived,
    }));
    return shown.map((tunnel) => tunnel.view(now));
  }

  /** How many tunnels are open of each kind that `of` tells apart; undefined is none of them. */
  tally<K>(of: (info: TunnelInfo) => K | undefined): Map<K, number> {
    const counts = new Map<K, number>();
    for (const { info } of this.#table) {
      const kind = of(info);
      if (kind !== undefined) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    return counts;
  }

  /** What people are shown of the tunnel of this ID; undefined where none is open. */
  view(id: string): TunnelView | undefined {
    return this.#find(id)?.view(this.#options.clock.now());
  }

  /** Tunnels open now that came by one of these ways in. */
  openBy(ways: ReadonlySet<object>): number {
    let count = 0;
    for (const { info: { way } } of this.#table) {
      if (way !== undefined && ways.has(way)) count++;
    }
    return count;
  }

  /** From now on descriptors allow so many tunnels; undefined when there is no limit that is known. */
  limitByDescriptors(most: number | undefined): void {
    this.#tunnelsByDescriptors = most ?? Infinity;
  }

  /** Cuts every tunnel. */
  abortAll(reason: Reason): void {
    this.abortWhere(() => reason);
  }

  /** Cuts each tunnel for which `reasonFor` has a reason. */
  abortWhere(reasonFor: (tunnel: Tunnel) => Reason | undefined): void {
    const now = this.#options.clock.now();
    for (const tunnel of this.#table) {
      const reason = reasonFor(tunnel);
      if (reason !== undefined) tunnel.abort(reason, now);
    }
  }

  /** Cuts every tunnel and tells the peers that this process leaves. */
  shutDown(reason: Reason): void {
    this.abortAll(reason);
    this.#peers.sayGoodbye(reason, this.#options.clock.now());
  }

  /** Bytes held by all tunnels, and unsent in the bus. */
  get held(): { send: number; receive: number; unsent: number } {
    return {
      ...this.#payers.held,
      unsent: this.#options.bus.pendingBytes,
    };
  }

  /** What all tunnels counted, ended and open. */
  get totals(): TunnelStats {
    return this.survey().totals;
  }

  /** All tunnels, counted and looked at once; it costs as much as there are open ones. */
  survey(): Survey {
    const tunnels = new TunnelSurvey(this.counters.ended);
    for (const tunnel of this.#table) tunnels.add(tunnel);
    return tunnels;
  }

  /** Stops timers and subscriptions; the tunnels should be gone. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#timers[Symbol.dispose]();
    this.#sweeper[Symbol.dispose]();
  }

  #onMessage(message: BusMessage): void {
    const tunnel = this.#table.find(message.subjectBytes);
    if (tunnel === undefined) this.#onOther(message);
    else this.#deliver(tunnel, message);
  }

  #deliver(tunnel: Tunnel, message: BusMessage): void {
    const now = this.#options.clock.now();
    if (!tunnel.receive(message, now)) this.counters.malformed++;
  }

  #onOther(message: BusMessage): void {
    const now = this.#options.clock.now();
    const {
      role,
      subjects,
      onOther,
      onUnknown = (_id, answer) => answer(),
    } = this.#options;
    const text = subjects.idOf(role, message.subject);
    const id = text === undefined ? undefined : parseId(text);
    if (id === undefined) {
      this.#malformed(message, "no connection ID in the subject");
      return;
    }
    if (onOther?.(id, message)) return;
    if (this.#options.sealed) {
      this.#onOtherSealed(id, message, now);
      return;
    }
    const peer = this.#peers.find({ token: id[this.#other] });
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
      onUnknown(id, () => {
        if (this.#closed.answer(id, frame, now)) this.counters.unknownTunnel++;
      });
    } else if (peer === undefined) {
      onUnknown(id, () => this.#closed.answerUnknownPeer(id, frame, now));
    } else this.#peers.receive(peer, frame, now);
  }

  /** Only what was sealed for a tunnel that ended lately is believed. */
  #onOtherSealed(id: ConnectionId, message: BusMessage, now: number): void {
    if (message.status !== 0) return;
    const { onUnknown = (_id, answer) => answer() } = this.#options;
    const opened = this.#closed.open(id, message);
    if (opened === undefined) {
      this.counters.rejected++;
      // Of one that has ended nothing is said to who has not its seal; one that
      // has never been has none.
      if (isSealed(message.data) && !this.knows(formatId(id))) {
        onUnknown(id, () => this.#closed.answer(id, "unknown", now));
      }
      return;
    }
    const { frame } = opened;
    const peer = opened.peer && this.#peers.find(opened.peer);
    if (peer !== undefined) this.#peers.receive(peer, frame, now);
    else if (this.#closed.answer(id, frame, now)) this.counters.unknownTunnel++;
  }

  #malformed(message: BusMessage, why: string): void {
    this.counters.malformed++;
    const { subject, data } = message;
    this.#log.debug("message dropped", { subject, bytes: data.length, why });
  }

  #onLink(event: LinkEvent): void {
    const { bus, clock } = this.#options;
    const now = clock.now();
    switch (event.type) {
      case "up":
        this.#peers.linkUp(now);
        this.counters.resumes += this.#table.size;
        for (const tunnel of this.#table) tunnel.linkUp(bus.maxPayload, now);
        break;
      case "limit":
        for (const tunnel of this.#table) {
          tunnel.setMaxPayload(event.maxPayload, now);
        }
        break;
      case "express-lost":
        for (const tunnel of this.#table) tunnel.expressLost(now);
        break;
      case "denied":
        this.#onDenied(event.subject, now);
        break;
      case "subscriptions":
        this.#onRefused(bus.refusedSubjects, now);
        break;
      case "down":
      case "closed":
        this.#peers.linkDown(now);
        for (const tunnel of this.#table) tunnel.linkDown(now);
    }
  }

  /** Ends the tunnel whose frames the broker does not take: none will get through, but those that are express by the other way. */
  #onDenied(subject: string, now: number): void {
    const id = this.#options.subjects.idOf(this.#other, subject);
    if (id === undefined) return;
    if (isExpress(subject)) {
      this.#find(id)?.expressDenied(now);
      return;
    }
    this.#find(id)?.abort(publishDenied(subject), now);
  }

  /** Ends the tunnels that have a subscription of their own, which the broker refuses. */
  #onRefused(subjects: readonly string[], now: number): void {
    for (const subject of subjects) {
      const id = this.#options.subjects.idOf(this.#options.role, subject);
      if (id !== undefined) {
        this.#find(id)?.abort(subscribeDenied(subject), now);
      }
    }
  }

  #endPeer(peer: Peer<Tunnel>, reason: Reason, by: Decider): void {
    const now = this.#options.clock.now();
    const [one] = peer.tunnels;
    const about = {
      tunnels: peer.tunnels.size,
      ...blame(by, reason),
      client: one?.info.client ?? one?.info.asker,
      process: peer.token,
    };
    if (by === "peer") this.#log.warn("peer has left", about);
    else this.#log.warn("peer lost", about);
    const tunnels = [...peer.tunnels];
    peer.tunnels.clear();
    this.#peers.forget(peer);
    for (const tunnel of tunnels) tunnel.peerLost(reason, by, now);
  }

  /** One bulk tunnel beside others is reason enough for an express way. */
  #considerExpress(now: number): void {
    const { bus } = this.#options;
    if (this.#table.size > 0) this.#usedAt = now;
    else if (now >= this.#usedAt + EXPRESS_LINGER_MS) bus.wantExpress(false);
    if (this.#table.size < 2) return;
    for (const tunnel of this.#table) {
      if (!tunnel.isBulk) continue;
      bus.wantExpress(true);
      return;
    }
  }

  readonly #sweep = (): void => {
    const now = this.#options.clock.now();
    this.#sweeper = this.#options.clock.after(PEER_SWEEP_MS, this.#sweep);
    // After a stop of this process its sockets have news that it has not read.
    const late = now - this.#sweptAt > 4 * PEER_SWEEP_MS;
    this.#sweptAt = now;
    this.#peers.sweep(now, { verdicts: !late });
    this.#closed.sweep(now);
    this.#timers.sweep(this.#table, now);
    this.#considerExpress(now);
    this.#long.sweep(this.#table, now);
  };
}
