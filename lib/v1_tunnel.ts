/**
 * A tunnel with a process that speaks version 1 of the wire.
 *
 * @module
 */
import type { BufferPool } from "./buffer_pool.ts";
import type { Bus, BusMessage } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { type Reason, TunnelError } from "./errors.ts";
import { JsonMessage } from "./json_codec.ts";
import type { MemoryBudget } from "./memory_budget.ts";
import {
  dataCapacity,
  decodeMessage,
  encodeMessage,
  V1_MAX_DATA_BYTES,
} from "./message.ts";
import { Relay, type RelayHost } from "./relay.ts";
import type { Socket } from "./socket.ts";
import type { Role } from "./subjects.ts";
import type { Tunnel, TunnelInfo } from "./tunnel.ts";
import type { Outcome, TunnelStats } from "./tunnel_types.ts";
import { type V1Frame, V1State } from "./v1_state.ts";

/** What a version 1 tunnel is made of. */
export interface V1TunnelOptions {
  /** What logs and tables say of it. */
  readonly info: TunnelInfo;
  /** Number at the end of its connection ID. */
  readonly number: number;
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** The local connection. */
  readonly socket: Socket;
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
  /** Subject its messages go to. */
  readonly outbound: string;
  /** Subject its messages, and the broker's "no responders", arrive on. */
  readonly inbound: string;
  /** Bytes a second sent to the peer. */
  readonly rate: number;
  /** How long the peer may take to listen, in ms. */
  readonly listenTimeout: number;
  /** Longest quiet, in ms; 0 = for ever. */
  readonly idleTimeout: number;
  /** Longest quiet once one direction has ended, in ms; 0 = for ever. */
  readonly halfCloseTimeout: number;
  /** An event came from elsewhere than the session. */
  readonly onTouched: (tunnel: Tunnel) => void;
  /** Called after each drive. */
  readonly onDriven: (tunnel: Tunnel, now: number) => void;
  /** Called once when the tunnel has ended. */
  readonly onEnd: (tunnel: Tunnel, outcome: Outcome) => void;
}

/** The version 1 tunnel. */
export class V1Tunnel implements Tunnel, RelayHost<V1Frame> {
  /** What logs and tables say of it. */
  readonly info: TunnelInfo;
  readonly number: number;
  readonly inbound: string;
  readonly peer: undefined = undefined;
  readonly ack = 0;
  readonly #options: V1TunnelOptions;
  readonly #state: V1State;
  readonly #relay: Relay<V1Frame>;

  /** A tunnel that a version 1 peer was told, or told us, the ID of. */
  constructor(options: V1TunnelOptions) {
    const { bus, info } = options;
    this.#options = options;
    this.info = info;
    this.number = options.number;
    this.inbound = options.inbound;
    this.#state = new V1State({
      ...options,
      now: info.openedAt,
      dataBytes: Math.max(
        1,
        Math.min(
          V1_MAX_DATA_BYTES,
          dataCapacity(bus.maxPayload, info.id.length, 0),
        ),
      ),
    });
    this.#relay = new Relay<V1Frame>({
      socket: options.socket,
      machine: this.#state,
      clock: options.clock,
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

  /** Bytes held for sending and for writing. */
  get held(): { readonly send: number; readonly receive: number } {
    return this.#state.held;
  }

  /** When `tick` is to be called at the latest. */
  get nextTimeout(): number {
    return this.#state.nextTimeout;
  }

  receive(message: BusMessage, now: number): boolean {
    if (message.status !== 0) {
      this.#state.noResponders(now);
      return true;
    }
    try {
      this.#state.receive(decodeMessage(message.data), now);
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
  linkUp(): void {
    this.#state.linkUp();
  }

  peerLost(): void {
    // Version 1 has no peers to lose.
  }

  peerResumed(): void {
    // Version 1 has no peers to resume.
  }

  setMaxPayload(): void {
    // A link that went down has ended this tunnel.
  }

  /** See {@linkcode RelayHost}. */
  get congested(): boolean {
    return this.#options.bus.congested;
  }

  driven(now: number): void {
    this.#options.onDriven(this, now);
  }

  ended(outcome: Outcome): void {
    this.#options.onEnd(this, outcome);
  }

  send(frame: V1Frame): void {
    const { bus, info, role, outbound, inbound } = this.#options;
    // The original's client writes null here, its server an empty object.
    const metadata = frame.type === "close"
      ? { type: "close" }
      : role === "client"
      ? null
      : {};
    const message = encodeMessage({
      id: info.id,
      reply: "",
      data: frame.type === "data" ? frame.payload : null,
      metadata,
    });
    bus.publish(outbound, new JsonMessage(message), { reply: inbound });
    if (frame.type === "probe") void this.#awaitPassage(frame.id);
  }

  /** What the broker says of a probe comes before its answer to a PING sent after it. */
  async #awaitPassage(id: number): Promise<void> {
    const { bus, clock, onTouched } = this.#options;
    try {
      await bus.flush();
      this.#state.passed(id, clock.now());
    } catch {
      // The link is down, or going; its own event tells the log why.
      this.#state.linkDown();
    }
    onTouched(this);
  }
}
