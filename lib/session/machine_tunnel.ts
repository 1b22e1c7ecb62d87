/**
 * What native and version 1 tunnels have in common: a machine that decides, a
 * relay that carries out, and the guard that keeps a fault of ours from the
 * other tunnels.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { BufferPool } from "../base/buffer_pool.ts";
import type { Bus, BusMessage } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import { type Reason, TunnelError } from "../base/errors.ts";
import type { MemoryBudget } from "../tunnel/memory_budget.ts";
import type { Peer } from "./tunnel.ts";
import { Relay, type RelayHost, type TunnelMachine } from "./relay.ts";
import type { Socket } from "../net/socket.ts";
import type { Tunnel, TunnelInfo } from "./tunnel.ts";
import type { Outcome, TunnelStats } from "../tunnel/types.ts";

/** Where a tunnel lives and whom it tells: what all of a session have in common. */
export interface TunnelHome {
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

/** What every tunnel is made of. */
export interface MachineTunnelOptions {
  /** What logs and tables say of it. */
  readonly info: TunnelInfo;
  /** Number at the end of its connection ID. */
  readonly number: number;
  /** The local connection. */
  readonly socket: Socket;
  /** Subject its messages arrive on. */
  readonly inbound: string;
}

const log = getLogger(["sproxy", "tunnel"]);

/** A tunnel that a machine decides for. */
export abstract class MachineTunnel<Frame> implements Tunnel, RelayHost<Frame> {
  /** What logs and tables say of it. */
  readonly info: TunnelInfo;
  /** Number at the end of its inbound subject. */
  readonly number: number;
  /** The subject its messages arrive on. */
  readonly inbound: string;
  /** The process at the other end. */
  abstract readonly peer: Peer | undefined;
  /** Cumulative acknowledgement, for questions after the end. */
  abstract readonly ack: number;
  readonly #home: TunnelHome;
  readonly #machine: TunnelMachine<Frame>;
  readonly #relay: Relay<Frame>;

  /** A tunnel that moves once driven. */
  constructor(
    options: MachineTunnelOptions,
    home: TunnelHome,
    machine: TunnelMachine<Frame>,
  ) {
    this.info = options.info;
    this.number = options.number;
    this.inbound = options.inbound;
    this.#home = home;
    this.#machine = machine;
    const { socket } = options;
    this.#relay = new Relay({ socket, machine, clock: home.clock, host: this });
  }

  /** How the tunnel ended; undefined while it has not. */
  get outcome(): Outcome | undefined {
    return this.#machine.outcome;
  }

  /** Counters. */
  get stats(): TunnelStats {
    return this.#machine.stats;
  }

  /** Bytes held for sending and for writing. */
  get held(): { readonly send: number; readonly receive: number } {
    return this.#machine.held;
  }

  /** When `tick` is to be called at the latest. */
  get nextTimeout(): number {
    return this.#machine.nextTimeout;
  }

  /** A message arrived on its subject; returns false when it was malformed. */
  receive(message: BusMessage, now: number): boolean {
    try {
      this.take(message, now);
    } catch (error) {
      if (error instanceof TunnelError) {
        this.#machine.abort(error);
        return false;
      }
      this.#relay.fault(error, now);
    }
    return true;
  }

  /** Carries out what follows from the events so far. */
  drive(now: number): void {
    this.#relay.drive(now);
  }

  /** Time has passed. */
  tick(now: number): void {
    this.guarded(now, () => this.#machine.tick(now));
  }

  /** Cuts the tunnel at once; the peer is told. */
  abort(reason: Reason): void {
    this.#machine.abort(reason);
  }

  /** The link to NATS is down. */
  linkDown(now: number): void {
    this.guarded(now, () => this.#machine.linkDown(now));
  }

  /** The link to NATS is back. */
  linkUp(now: number): void {
    this.guarded(now, () => this.#machine.linkUp(now));
  }

  /** The peer is gone: what has come from it is still handed over. */
  abstract peerLost(reason: Reason, now: number): void;

  /** The peer's link was away. */
  abstract peerResumed(now: number): void;

  /** The broker takes messages of at most so many bytes now. */
  abstract setMaxPayload(bytes: number, now: number): void;

  /** Whether the way to NATS is full: then only answers go out. */
  get congested(): boolean {
    return this.#home.bus.congested;
  }

  /** Puts a frame on the wire. */
  abstract send(frame: Frame): void;

  /** Called after each drive. */
  driven(now: number): void {
    this.#home.onDriven(this, now);
  }

  /** Something failed that never should. */
  faulted(error: unknown): void {
    log.error("tunnel failed", { id: this.info.id, error });
  }

  /** The tunnel has ended and the socket is closed. */
  ended(outcome: Outcome): void {
    this.#home.onEnd(this, outcome);
  }

  /** Takes apart a message and tells the machine; what it throws ends the tunnel. */
  protected abstract take(message: BusMessage, now: number): void;

  /** Runs `step`; a fault of ours ends this tunnel, and no other. */
  protected guarded(now: number, step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#relay.fault(error, now);
    }
  }
}
