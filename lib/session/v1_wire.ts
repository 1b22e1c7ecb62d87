/**
 * A tunnel with a process that speaks version 1 of the wire.
 *
 * @module
 */
import type { BusMessage } from "../nats/bus.ts";
import { JsonMessage } from "../wire/json.ts";
import {
  MachineTunnel,
  type MachineTunnelOptions,
  type TunnelHome,
} from "./machine_tunnel.ts";
import {
  dataCapacity,
  decodeMessage,
  encodeMessage,
  V1_MAX_DATA_BYTES,
} from "../wire/message.ts";
import type { Role } from "../wire/subjects.ts";
import type { Tunnel } from "./tunnel.ts";
import { type V1Frame, V1State } from "../tunnel/v1_machine.ts";

/** What a version 1 tunnel is made of. */
export interface V1TunnelOptions extends MachineTunnelOptions, TunnelHome {
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** Subject its messages go to; "no responders" arrives where its messages do. */
  readonly outbound: string;
  /** Bytes a second sent to the peer. */
  readonly rate: number;
  /** How long the peer may take to listen, in ms. */
  readonly listenTimeout: number;
  /** An event came from elsewhere than the session. */
  readonly onTouched: (tunnel: Tunnel) => void;
}

/** The version 1 tunnel. */
export class V1Tunnel extends MachineTunnel<V1Frame> {
  /** Version 1 says nothing of processes. */
  readonly peer: undefined = undefined;
  /** Version 1 acknowledges nothing. */
  readonly ack = 0;
  readonly #options: V1TunnelOptions;
  readonly #state: V1State;

  /** A tunnel that a version 1 peer was told, or told us, the ID of. */
  constructor(options: V1TunnelOptions) {
    const { bus, info } = options;
    const capacity = dataCapacity(bus.maxPayload, info.id.length, 0);
    const state = new V1State({
      ...options,
      now: info.openedAt,
      dataBytes: Math.max(1, Math.min(V1_MAX_DATA_BYTES, capacity)),
    });
    super(options, options, state);
    this.#options = options;
    this.#state = state;
  }

  /** Version 1 has no peers to lose. */
  peerLost(): void {}

  /** Version 1 has no peers to resume. */
  peerResumed(): void {}

  /** A link that went down has ended this tunnel. */
  setMaxPayload(): void {}

  /** See {@linkcode MachineTunnel}. */
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

  /** Takes apart a message and tells the machine. */
  protected take(message: BusMessage, now: number): void {
    if (message.status !== 0) this.#state.noResponders(now);
    else this.#state.receive(decodeMessage(message.data), now);
  }
}
