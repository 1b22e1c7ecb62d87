/**
 * The wire of a tunnel with a process that speaks version 1.
 *
 * @module
 */
import type { BusMessage } from "../nats/bus.ts";
import { JsonMessage } from "../wire/json.ts";
import {
  dataCapacity,
  decodeMessage,
  encodeMessage,
  V1_MAX_DATA_BYTES,
} from "../wire/message.ts";
import type { Role } from "../wire/subjects.ts";
import type { Budgets } from "./payers.ts";
import type { TunnelHome, Wire } from "./tunnel.ts";
import { type V1Frame, V1State } from "../tunnel/v1_machine.ts";

/** Options of a version 1 wire. */
export interface V1WireOptions extends Budgets {
  /** Shared by all tunnels of the session. */
  readonly home: TunnelHome;
  /** Connection ID. */
  readonly id: string;
  /** Which side of the tunnels this process is. */
  readonly role: Role;
  /** Subject its messages arrive on, and "no responders" too. */
  readonly inbound: string;
  /** Subject its messages go to. */
  readonly outbound: string;
  /** Bytes a second sent to the peer. */
  readonly rate: number;
  /** How long the peer may take to listen, in ms. */
  readonly listenTimeout: number;
  /** Called when a probe has passed the broker: the tunnel is to take a step. */
  readonly onPassage: () => void;
}

/** Messages to and from a version 1 peer. */
export class V1Wire implements Wire {
  /** The machine that decides. */
  readonly machine: V1State;
  /** Version 1 says nothing of processes. */
  readonly peer: undefined = undefined;
  readonly #options: V1WireOptions;

  /** The wire of a tunnel whose ID the peer was told, or told us. */
  constructor(options: V1WireOptions) {
    const { home, id } = options;
    const capacity = dataCapacity(home.bus.maxPayload, id.length, 0);
    this.#options = options;
    this.machine = new V1State({
      ...home,
      ...options,
      now: home.clock.now(),
      dataBytes: Math.max(1, Math.min(V1_MAX_DATA_BYTES, capacity)),
    });
  }

  /** Version 1 knows of no other way. */
  get congested(): boolean {
    return this.#options.home.bus.congested;
  }

  /** Sends every message that is due. */
  send(now: number): void {
    let frame: V1Frame | undefined;
    while (
      (frame = this.machine.pollFrame(now, this.congested)) !== undefined
    ) {
      this.#publish(frame);
      if (frame.type === "probe") void this.#awaitPassage(frame.id);
    }
  }

  /** Takes apart a message and tells the machine. */
  receive(message: BusMessage, now: number): void {
    if (message.status !== 0) this.machine.noResponders(now);
    else this.machine.receive(decodeMessage(message.data), now);
  }

  #publish(frame: V1Frame): void {
    const { home, id, role, inbound, outbound } = this.#options;
    // The original's client writes null here, its server an empty object.
    const metadata = frame.type === "close"
      ? { type: "close" }
      : role === "client"
      ? null
      : {};
    const data = frame.type === "data" ? frame.payload : null;
    const message = encodeMessage({ id, reply: "", data, metadata });
    home.bus.publish(outbound, new JsonMessage(message), { reply: inbound });
  }

  /** The broker answers a probe that nobody heard before it answers a PING sent after it. */
  async #awaitPassage(id: number): Promise<void> {
    const { bus, clock } = this.#options.home;
    try {
      await bus.flush();
      this.machine.passed(id, clock.now());
    } catch {
      // The link is down, or going; its own event tells the log why.
      this.machine.linkDown();
    }
    this.#options.onPassage();
  }
}
