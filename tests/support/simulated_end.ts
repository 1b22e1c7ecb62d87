/**
 * One process on the simulated bus: its link, its memory and its tunnels.
 */
import assert from "node:assert/strict";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import { PathEstimate } from "../../lib/tunnel/rtt.ts";
import { PIECE_OVERHEAD_BYTES } from "../../lib/tunnel/send_buffer.ts";
import type { Encodable } from "../../lib/base/encodable.ts";
import { type SealLane, TunnelSeal } from "../../lib/seal/frames.ts";
import { otherRole, type Role } from "../../lib/wire/subjects.ts";
import type { SimulatedBus } from "./simulated_bus.ts";
import { SimulatedTunnel } from "./simulated_tunnel.ts";
import { POISON, PoisoningPool } from "./simulation_parts.ts";

/** Messages lost of those that were on their way from the one cut off, at most. */
const MAX_LOST_BY_CUT = 40;

/** Where frames of a tunnel go. */
export function subjectOf(to: Role, number: number): string {
  return `p.data.to_${to}.c.s.${number}`;
}

/** What the end of this role seals tunnel `number` with. */
function sealOf(role: Role, number: number): TunnelSeal {
  const key = (from: Role): Uint8Array =>
    new Uint8Array(32).fill(2 * number + (from === "client" ? 0 : 1));
  const keys = { send: key(role), receive: key(otherRole(role)) };
  return new TunnelSeal(keys, 0);
}

/** One process. */
export class SimulatedEnd {
  readonly role: Role;
  readonly pool = new PoisoningPool();
  readonly sendBudget: MemoryBudget;
  readonly receiveBudget: MemoryBudget;
  readonly path = new PathEstimate();
  readonly applications: SimulatedTunnel[] = [];
  /** What seals each tunnel, where they are sealed. */
  readonly #seals: TunnelSeal[] = [];
  readonly #bus: SimulatedBus;
  linked = true;
  congested = false;
  /** How often the link was cut. */
  cuts = 0;
  /** For each cut, the first message that was lost with it. */
  readonly #lostFrom: number[] = [];
  #messages = 0;
  #lastArrival = 0;
  /** Largest and smallest frame ever allowed here, in bytes. */
  #largestFrame: number;
  #smallestFrame: number;

  constructor(bus: SimulatedBus, role: Role) {
    const { setup } = bus;
    this.#bus = bus;
    this.role = role;
    this.#largestFrame = this.#smallestFrame = setup.frameBytes;
    this.sendBudget = new MemoryBudget(setup.sendBudget);
    this.receiveBudget = new MemoryBudget(setup.receiveBudget);
    if (setup.measured) this.path.sample(2 * setup.latency, 0);
  }

  get #other(): SimulatedEnd {
    return this.#bus.ends[this.role === "client" ? "server" : "client"];
  }

  open(): void {
    for (let number = 1; number <= this.#bus.setup.tunnels; number++) {
      this.applications.push(new SimulatedTunnel(this.#bus, this, number));
      if (this.#bus.setup.mischief !== undefined) {
        this.#seals.push(sealOf(this.role, number));
      }
    }
    for (const application of this.applications) application.drive();
  }

  /** `at`, or later if something sent before arrives later. */
  inOrder(at: number): number {
    return this.#lastArrival = Math.max(this.#lastArrival, at);
  }

  /** Counts a message sent. */
  count(): number {
    return this.#messages++;
  }

  /** Whether a cut lost message `ordinal`, which was sent after so many `cuts`. */
  lost(ordinal: number, cuts: number): boolean {
    return ordinal >= (this.#lostFrom[cuts] ?? Infinity);
  }

  linkDown(): void {
    if (!this.linked) return;
    this.linked = false;
    const back = Math.floor(this.#bus.random() * MAX_LOST_BY_CUT);
    this.#lostFrom[this.cuts++] = this.#messages - back;
    for (const { state } of this.applications) state.linkDown();
    this.#driveAll();
  }

  linkUp(): void {
    if (this.linked) return;
    this.linked = true;
    for (const { state } of this.applications) state.linkUp(this.#bus.now);
    this.#driveAll();
    this.#other.#peerResumed();
  }

  /** The word of it that a session repeats until it is heard. */
  #peerResumed(): void {
    if (!this.linked) return;
    for (const { state } of this.applications) {
      state.peerResumed(this.#bus.now);
    }
    this.#driveAll();
  }

  congest(on: boolean): void {
    this.congested = on;
    if (!on) this.#driveAll();
  }

  setFrameBytes(bytes: number): void {
    this.#largestFrame = Math.max(this.#largestFrame, bytes);
    this.#smallestFrame = Math.min(this.#smallestFrame, bytes);
    for (const application of this.applications) {
      application.setFrameBytes(bytes);
    }
  }

  /** A tunnel made its own frames smaller. */
  halved(bytes: number): void {
    this.#smallestFrame = Math.min(this.#smallestFrame, bytes);
  }

  deliver(number: number, bytes: Uint8Array): void {
    const application = this.applications[number - 1];
    const seal = this.#seals[number - 1];
    if (this.#bus.setup.mischief === undefined) {
      const frame = this.#bus.codec.decode(bytes);
      assert.ok(frame && application, "a frame of ours is not known");
      application.deliver(frame);
    } else if (application !== undefined && seal !== undefined) {
      const subject = new TextEncoder().encode(subjectOf(this.role, number));
      const opened = seal.open(bytes, subject);
      const frame = opened && this.#bus.codec.decode(opened.frame);
      if (frame !== undefined) application.deliver(frame);
      else application.doubt();
    }
    bytes.fill(POISON); // the read buffer is used again
  }

  /** A message of tunnel `number` as it goes on the bus. */
  seal(number: number, message: Encodable, lane: SealLane): Encodable {
    const subject = subjectOf(otherRole(this.role), number);
    return this.#seals[number - 1]
      ?.seal(message, { lane, pair: false, subject }, this.#bus.now) ?? message;
  }

  /** Checks what must hold after every event. */
  check(): void {
    const { setup } = this.#bus;
    let send = 0;
    let receive = 0;
    for (const { state } of this.applications) {
      const { held } = state;
      send += held.send;
      receive += held.receive;
      assert.ok(
        held.receive <= Math.max(setup.window, setup.maxWindow),
        `${held.receive} bytes of one tunnel held for writing`,
      );
    }
    assert.equal(this.sendBudget.used, send, "send budget");
    assert.equal(this.receiveBudget.used, receive, "receive budget");
    const tunnels = this.applications.length;
    // Over the budget there may be a frame per tunnel; and what is held gets
    // dearer when frames get smaller: at most twice as many pieces as would do.
    const frame = this.#largestFrame + 2 * PIECE_OVERHEAD_BYTES;
    const dearer = this.#smallestFrame === this.#largestFrame
      ? 1
      : 1 + 2 * PIECE_OVERHEAD_BYTES / this.#smallestFrame;
    assert.ok(
      send <= dearer * (setup.sendBudget + tunnels * frame),
      `${send} bytes held for resending`,
    );
    assert.ok(
      receive <= setup.receiveBudget + tunnels * this.#other.#largestFrame,
      `${receive} bytes held for writing`,
    );
  }

  #driveAll(): void {
    for (const application of this.applications) application.drive();
  }
}
