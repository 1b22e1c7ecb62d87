/**
 * Two processes with their tunnels and applications on a bus that loses,
 * repeats, reorders, delays and cuts, on a clock that only moves when told.
 *
 * Everything follows from the seed, so a failure replays. The two ends do what
 * the machines need of a session: one event, then everything that follows from
 * it; one timer per tunnel; an answer to frames that come after the end. (What
 * a session does beside is tried by `simulated_pair.ts`, with the real one.) Bytes are checked where they are
 * written, slabs are poisoned when they are given back, and the bounds on
 * memory are checked after every event.
 */
import assert from "node:assert/strict";
import { binaryCodec } from "../../lib/wire/binary.ts";
import type { Codec, CodecName } from "../../lib/wire/codec.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { jsonCodec } from "../../lib/wire/json.ts";
import { otherRole, type Role } from "../../lib/wire/subjects.ts";
import { HostilePath, type SealedMessage } from "./hostile_path.ts";
import { SimulatedEnd, subjectOf } from "./simulated_end.ts";
import type { SimulatedTunnel } from "./simulated_tunnel.ts";
import { EventQueue, randomFrom } from "./simulation_parts.ts";

/** Events in one history before it counts as a livelock. */
const MAX_EVENTS = 50_000;

/** What a history starts from. */
export interface BusSetup {
  readonly seed: number;
  readonly codec: CodecName;
  readonly tunnels: number;
  readonly frameBytes: number;
  readonly window: number;
  readonly maxWindow: number;
  readonly sendBudget: number;
  readonly receiveBudget: number;
  /** One way, in ms. */
  readonly latency: number;
  /** Whether the round trip is known to the tunnels. */
  readonly measured: boolean;
  /** How long a write to an application takes, in ms. */
  readonly writeTime: number;
  /** Where tunnels are sealed: the chance that a message meets mischief on its way. */
  readonly mischief?: number;
}

/** How bad the bus is. */
export interface Faults {
  /** Chance that a message is lost. */
  readonly loss: number;
  /** Chance that a message arrives twice. */
  readonly repeat: number;
  /** Chance that a message is overtaken. */
  readonly reorder: number;
  /** Most that a message is late, in ms. */
  readonly delay: number;
}

/** How an application reads. */
export type Pace = "fast" | "slow" | "stalled";

/** What happens to a tunnel at one end, or to the bus. */
export type Operation =
  | {
    readonly type: "write";
    readonly at: Place;
    readonly bytes: number;
    /** Bytes of one read from the application. */
    readonly chunk: number;
    /** Whether it is read into a slab of the pool. */
    readonly slab: boolean;
  }
  | { readonly type: "end"; readonly at: Place }
  | { readonly type: "pace"; readonly at: Place; readonly pace: Pace }
  | { readonly type: "fail"; readonly at: Place }
  | { readonly type: "abort"; readonly at: Place; readonly tell: boolean }
  | { readonly type: "down"; readonly role: Role }
  | { readonly type: "up"; readonly role: Role }
  | { readonly type: "congest"; readonly role: Role; readonly on: boolean }
  | { readonly type: "frame"; readonly role: Role; readonly bytes: number }
  | { readonly type: "faults"; readonly faults: Faults }
  | { readonly type: "wait"; readonly ms: number };

/** One end of one tunnel. */
export interface Place {
  readonly tunnel: number;
  readonly role: Role;
}

/** A bus without faults. */
export const CALM: Faults = { loss: 0, repeat: 0, reorder: 0, delay: 0 };

/** What was counted on the bus. */
export interface BusCounts {
  /** Messages published. */
  messages: number;
  /** DATA messages published for the first time, and again. */
  fresh: number;
  repeated: number;
  events: number;
}

/** The bus, the clock and both ends. */
export class SimulatedBus {
  now = 0;
  readonly counts: BusCounts = {
    messages: 0,
    fresh: 0,
    repeated: 0,
    events: 0,
  };
  readonly setup: BusSetup;
  readonly codec: Codec;
  readonly random: () => number;
  readonly ends: Readonly<Record<Role, SimulatedEnd>>;
  readonly #events = new EventQueue();
  readonly #hostile: HostilePath<SealedMessage> | undefined;
  #faults: Faults = CALM;

  /** Both ends with all their tunnels open. */
  constructor(setup: BusSetup) {
    this.setup = setup;
    this.random = randomFrom(setup.seed);
    const { mischief } = setup;
    this.codec = setup.codec === "json" && mischief === undefined
      ? jsonCodec
      : binaryCodec;
    this.#hostile = mischief === undefined
      ? undefined
      : new HostilePath(this.random, mischief);
    this.ends = {
      client: new SimulatedEnd(this, "client"),
      server: new SimulatedEnd(this, "server"),
    };
    for (const end of this.#both) end.open();
  }

  get #both(): readonly SimulatedEnd[] {
    return [this.ends.client, this.ends.server];
  }

  /** The application at a place. */
  application({ tunnel, role }: Place): SimulatedTunnel {
    const all = this.ends[role].applications;
    const found = all[tunnel % all.length];
    assert.ok(found);
    return found;
  }

  /** Carries out one operation. */
  apply(operation: Operation): void {
    switch (operation.type) {
      case "write":
        this.application(operation.at).write(operation);
        break;
      case "end":
        this.application(operation.at).end();
        break;
      case "pace":
        this.application(operation.at).setPace(operation.pace);
        break;
      case "fail":
        this.application(operation.at).fail();
        break;
      case "abort":
        this.application(operation.at).abort(operation.tell);
        break;
      case "down":
        this.ends[operation.role].linkDown();
        break;
      case "up":
        this.ends[operation.role].linkUp();
        break;
      case "congest":
        this.ends[operation.role].congest(operation.on);
        break;
      case "frame":
        this.ends[operation.role].setFrameBytes(operation.bytes);
        break;
      case "faults":
        this.#faults = operation.faults;
        break;
      case "wait":
        this.runFor(operation.ms);
    }
  }

  /** No more faults: links up and free, all applications read. */
  calm(): void {
    this.#faults = CALM;
    if (this.#hostile !== undefined) this.#hostile.mischief = 0;
    for (const end of this.#both) {
      end.linkUp();
      end.congest(false);
      for (const application of end.applications) application.setPace("fast");
    }
  }

  /** Calls `run` in `delay` ms. */
  after(delay: number, run: () => void): void {
    this.#events.add(this.now + delay, run);
  }

  /** Lets `ms` pass. */
  runFor(ms: number): void {
    const until = this.now + ms;
    this.runUntil(() => (this.#events.nextAt ?? Infinity) > until);
    this.now = until;
  }

  /** Lets time pass until `done`, or nothing is left to happen. */
  runUntil(done: () => boolean): void {
    while (!done()) {
      const event = this.#events.take();
      if (event === undefined) return;
      this.now = event.at;
      assert.ok(
        ++this.counts.events < MAX_EVENTS,
        "livelock: no end of events",
      );
      event.run();
    }
  }

  /** Puts a message of `from` on its way. */
  publish(from: SimulatedEnd, number: number, frame: Frame): void {
    const message = from.seal(
      number,
      this.codec.encode(`c.s.${number}`, frame),
      frame.type === "ack" ? "control" : "data",
    );
    this.counts.messages++;
    if (!from.linked) return;
    const data = new Uint8Array(message.byteLength);
    message.encodeInto(data, 0);
    const sent = { subject: subjectOf(otherRole(from.role), number), data };
    const arriving = this.#hostile?.pass(sent) ?? [sent];
    for (const each of arriving) this.#carry(from, each);
  }

  #carry(from: SimulatedEnd, { subject, data }: SealedMessage): void {
    if (this.random() < this.#faults.loss) return;
    const to = subject.includes("to_client")
      ? this.ends.client
      : this.ends.server;
    const number = Number(subject.split(".").at(-1));
    const ordinal = from.count();
    const copies = this.random() < this.#faults.repeat ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const late = this.#faults.delay * this.random();
      const overtaken = this.random() < this.#faults.reorder;
      const at = overtaken || copy > 0
        ? this.now + this.setup.latency + late
        : from.inOrder(this.now + this.setup.latency + late);
      const { cuts } = to;
      const sentIn = from.cuts;
      const own = data.slice();
      this.after(at - this.now, () => {
        // A cut loses all that is on its way to the one cut off, and what it
        // sent last; what the broker has already passed on arrives.
        if (!to.linked || to.cuts !== cuts) return;
        if (from.lost(ordinal, sentIn)) return;
        to.deliver(number, own);
      });
    }
  }
}
