/**
 * A client and a server as they ship, with all their tunnels and applications,
 * on a broker in memory that loses, repeats, reorders, delays and cuts, on a
 * clock that only moves when told. Everything follows from the seed.
 */
import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { type BufferPool, SLAB_BYTES } from "../../lib/base/buffer_pool.ts";
import type { Session } from "../../lib/session/session.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { HostilePath } from "./hostile_path.ts";
import type { MemoryBus, SeenMessage } from "./memory_bus.ts";
import {
  CLIENT_SEAL,
  Pair,
  SERVER_SEAL,
  TestClient,
  type TestServer,
} from "./shell_pair.ts";
import { SimulatedApplication, type World } from "./simulated_application.ts";
import {
  type BusSetup,
  CALM,
  type Faults,
  type Operation,
  type Place,
} from "./simulated_bus.ts";
import { POISON, randomFrom } from "./simulation_parts.ts";

/** Messages lost of those that were on their way from the one cut off, at most. */
const MAX_LOST_BY_CUT = 40;

/** Room for an open, whose length is that of its headers, in bytes. */
const MIN_MESSAGE_BYTES = 600;

/** Most tunnels of a history. */
const MAX_TUNNELS = 4;

/** How long a congested bus takes to be free again, in ms. */
const DRAIN_MS = 3;

/** Messages in one history before it counts as a livelock. */
const MAX_MESSAGES = 50_000;

const IMPATIENT = { peerTimeout: 10_000, resumeTimeout: 30_000 };
/** No history lasts so long that a peer counts as lost. */
const PATIENT = { peerTimeout: 600_000, resumeTimeout: 600_000 };

/** What a history starts from. */
export interface PairSetup extends BusSetup {
  /** Whether a peer may be away for longer than any history takes. */
  readonly patient: boolean;
  /** Whether the first tunnels are open before anything happens. */
  readonly opened: boolean;
  /** Whether applications end their streams before the trouble does. */
  readonly hasty: boolean;
  /** How long a dial takes, in ms. */
  readonly dialTime: number;
  /** Bytes published at once that congest a bus. */
  readonly highWater: number;
}

/** What happens to a tunnel at one end, to the broker or to a process. */
export type PairOperation =
  | Operation
  | { readonly type: "connect" }
  /** The process leaves in order. */
  | { readonly type: "leave"; readonly role: Role };

/** A message on its way. */
interface Parcel {
  readonly message: SeenMessage;
  lost: boolean;
}

/** One process as the faults see it. */
interface Process {
  readonly role: Role;
  readonly bus: MemoryBus;
  readonly session: Session;
  /** Slabs not given back. */
  readonly lent: ReadonlySet<ArrayBufferLike>;
  /** Most bytes of a message after the next reconnect. */
  nextMaxPayload: number;
  lastArrival: number;
  unsent: number;
  left: boolean;
}

/** Both processes, the broker between them and the applications. */
export class SimulatedPair implements World, Disposable {
  readonly setup: PairSetup;
  /** Applications at the client, in the order of their connections. */
  readonly apps: SimulatedApplication[] = [];
  /** Applications at the server, in the order in which they were dialled. */
  readonly targets: SimulatedApplication[] = [];
  readonly processes: Readonly<Record<Role, Process>>;
  /** Messages published. */
  messages = 0;
  readonly #pair: Pair;
  readonly #log: readonly LogRecord[];
  readonly #random: () => number;
  readonly #underWay = new Map<number, Parcel[]>();
  /** Whose the broker is, where tunnels are sealed because of them. */
  readonly #hostile: HostilePath<SeenMessage> | undefined;
  #faults: Faults = CALM;
  #passing = false;
  #failure: unknown;
  #logRead = 0;
  readonly #byRemote = new Map<string, SimulatedApplication>();
  readonly #byId = new Map<string, SimulatedApplication[]>();
  readonly #far = new Map<SimulatedApplication, SimulatedApplication>();

  /** Two processes that log to `log`. */
  constructor(setup: PairSetup, log: readonly LogRecord[]) {
    this.setup = setup;
    this.#log = log;
    const random = this.#random = randomFrom(setup.seed);
    const common = {
      times: {
        pingInterval: 2_000,
        ...(setup.patient ? PATIENT : IMPATIENT),
      },
      maxWindow: setup.maxWindow,
      halfCloseTimeout: 0,
      random: (bytes: Uint8Array) => bytes.map(() => random() * 256),
    };
    const { mischief } = setup;
    const sealed = mischief !== undefined;
    this.#hostile = sealed ? new HostilePath(random, mischief) : undefined;
    this.#pair = new Pair({
      client: {
        ...common,
        memoryBudget: setup.sendBudget,
        codec: sealed ? "binary" : setup.codec,
        ...(sealed && { seal: CLIENT_SEAL }),
      },
      server: {
        ...common,
        ...(sealed && { seal: SERVER_SEAL }),
        memoryBudget: setup.receiveBudget,
        dial: (_target, signal) => this.#dial(signal),
      },
    });
    const { client, server, broker } = this.#pair;
    this.processes = {
      client: this.#process("client", client, client.ingress.session),
      server: this.#process("server", server, server.egress.session),
    };
    broker.filter = (message) => this.#passing || this.#carry(message);
  }

  get clock(): Pair["clock"] {
    return this.#pair.clock;
  }

  get writeTime(): number {
    return this.setup.writeTime;
  }

  /** Opens that are not answered, and dials. */
  get opening(): number {
    const { client, server } = this.#pair;
    return client.ingress.opening + server.egress.opening;
  }

  /** Whether any tunnel is open or may yet be. */
  get busy(): boolean {
    const [client, server] = this.#pair.sizes;
    return client + server + this.opening + this.#underWay.size > 0;
  }

  /** Timers of both processes. */
  get timers(): number {
    return this.clock.timers;
  }

  /** Opens the first tunnels. */
  async start(): Promise<void> {
    const { latency, dialTime, opened, tunnels } = this.setup;
    for (let count = 0; count < tunnels; count++) this.#connect();
    await this.#pair.settle();
    if (opened) await this.wait(4 * latency + dialTime + 1);
  }

  /** Lets time pass. */
  async wait(ms: number): Promise<void> {
    await this.#pair.wait(ms);
    this.#check();
  }

  /** Carries out one operation. */
  async apply(operation: PairOperation): Promise<void> {
    switch (operation.type) {
      case "connect":
        this.#connect();
        break;
      case "write":
        this.application(operation.at)?.send(operation);
        break;
      case "end":
        this.application(operation.at)?.end();
        break;
      case "pace":
        this.application(operation.at)?.setPace(operation.pace);
        break;
      case "fail":
      case "abort":
        this.application(operation.at)?.fail();
        break;
      case "down":
        this.#cut(this.processes[operation.role]);
        break;
      case "up":
        this.#restore(this.processes[operation.role]);
        break;
      case "congest": {
        const { bus } = this.processes[operation.role];
        if (!operation.on) bus.drained();
        else bus.congested = bus.connected;
        break;
      }
      case "frame":
        this.processes[operation.role].nextMaxPayload = messageBytes(
          operation.bytes,
        );
        break;
      case "faults":
        this.#faults = operation.faults;
        break;
      case "leave":
        await this.#leave(this.processes[operation.role]);
        break;
      case "wait":
        await this.wait(operation.ms);
    }
    await this.#pair.settle();
    this.#check();
  }

  /** No more faults: links up and free, all applications read. */
  calm(): void {
    this.#faults = CALM;
    if (this.#hostile !== undefined) this.#hostile.mischief = 0;
    for (const process of Object.values(this.processes)) {
      this.#restore(process);
      process.bus.drained();
    }
    for (const application of [...this.apps, ...this.targets]) {
      application.setPace("fast");
    }
  }

  /** The application at a place, if there is one yet. */
  application({ tunnel, role }: Place): SimulatedApplication | undefined {
    const app = this.apps[tunnel % this.apps.length];
    return app === undefined || role === "client" ? app : this.farOf(app);
  }

  farOf(application: SimulatedApplication): SimulatedApplication | undefined {
    this.#readLog();
    return this.#far.get(application);
  }

  check(checks: () => void): void {
    try {
      checks();
    } catch (error) {
      this.#failure ??= error;
    }
  }

  [Symbol.dispose](): void {
    this.#pair[Symbol.dispose]();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    for (const { role, session } of Object.values(this.processes)) {
      const { send, receive } = session.held;
      assert.ok(send >= 0 && receive >= 0, `memory given back twice: ${role}`);
    }
  }

  /** Finds out from the log which applications a tunnel connects. */
  #readLog(): void {
    for (; this.#logRead < this.#log.length; this.#logRead++) {
      const record = this.#log[this.#logRead];
      if (record?.rawMessage !== "tunnel open") continue;
      const { id, peer } = record.properties;
      const application = this.#byRemote.get(String(peer));
      assert.ok(application);
      const [far] = this.#byId.get(String(id)) ?? [];
      this.#byId.set(String(id), [application]);
      if (far === undefined) continue;
      this.#far.set(far, application);
      this.#far.set(application, far);
    }
  }

  #process(
    role: Role,
    { bus }: TestClient | TestServer,
    session: Session,
  ): Process {
    const maxPayload = messageBytes(this.setup.frameBytes);
    bus.maxPayload = maxPayload;
    return {
      role,
      bus,
      session,
      lent: watch(session.pool),
      nextMaxPayload: maxPayload,
      lastArrival: 0,
      unsent: 0,
      left: false,
    };
  }

  #connect(): void {
    const { client } = this.#pair;
    const { apps } = this;
    if (apps.length >= MAX_TUNNELS || this.processes.client.left) return;
    const app = this.#application("client", apps.length);
    apps.push(app);
    client.listener.offer(app);
  }

  async #dial(signal: AbortSignal): Promise<SimulatedApplication> {
    const { dialTime } = this.setup;
    if (dialTime > 0) {
      await new Promise<void>((resolve) => this.clock.after(dialTime, resolve));
      signal.throwIfAborted();
    }
    const target = this.#application("server", this.targets.length);
    this.targets.push(target);
    return target;
  }

  #application(role: Role, ordinal: number): SimulatedApplication {
    const remote = `${role === "client" ? "app" : "target"}:${ordinal}`;
    const key = ordinal * 7_919 + (role === "client" ? 0 : 104_729);
    const { pool } = this.processes[role].session;
    const application = new SimulatedApplication(this, pool, key, remote);
    this.#byRemote.set(remote, application);
    return application;
  }

  // The way from one process to the other

  /** Puts a message on its way, or loses it; says that it is not there yet. */
  #carry(message: SeenMessage): false {
    assert.ok(++this.messages < MAX_MESSAGES, "livelock: no end of messages");
    const from = this.#from(message);
    this.#fill(from, message.data.length);
    for (const each of this.#hostile?.pass(message) ?? [message]) {
      this.#send(each, from);
    }
    return false;
  }

  #send(message: SeenMessage, from: Process): void {
    const { loss, repeat, reorder, delay } = this.#faults;
    if (this.#random() < loss) return;
    const copies = this.#random() < repeat ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const late = Math.floor(delay * this.#random());
      let at = this.clock.now() + this.setup.latency + late;
      if (this.#random() >= reorder && copy === 0) {
        at = from.lastArrival = Math.max(from.lastArrival, at);
      }
      this.#post(at, { message, lost: false });
    }
  }

  #from({ from }: SeenMessage): Process {
    const { client, server } = this.processes;
    return from === client.bus ? client : server;
  }

  #post(at: number, parcel: Parcel): void {
    const same = this.#underWay.get(at);
    if (same !== undefined) {
      same.push(parcel);
      return;
    }
    this.#underWay.set(at, [parcel]);
    this.clock.after(at - this.clock.now(), () => {
      const due = this.#underWay.get(at) ?? [];
      this.#underWay.delete(at);
      this.#passing = true;
      for (const { message, lost } of due) {
        if (!lost) this.#pair.broker.route(message);
      }
      this.#passing = false;
    });
  }

  /** Counts what is published; too much at once congests the bus for a while. */
  #fill(from: Process, bytes: number): void {
    const { bus } = from;
    from.unsent += bytes;
    if (from.unsent === bytes) {
      this.clock.after(DRAIN_MS, () => {
        from.unsent = 0;
        if (bus.congested) bus.drained();
      });
    }
    if (from.unsent >= this.setup.highWater) bus.congested = bus.connected;
  }

  /**
   * A cut loses all that is on its way to the one cut off, and what it sent
   * last; what the broker has already passed on arrives.
   */
  #cut({ bus }: Process): void {
    if (!bus.connected) return;
    let back = Math.floor(this.#random() * MAX_LOST_BY_CUT);
    for (const parcel of [...this.#underWay.values()].flat().reverse()) {
      parcel.lost ||= parcel.message.from !== bus || back-- > 0;
    }
    bus.cut();
  }

  #restore(process: Process): void {
    const { bus, left } = process;
    if (left || bus.connected) return;
    bus.maxPayload = process.nextMaxPayload;
    bus.restore();
  }

  /** What a process does that is told to stop at once. */
  async #leave(process: Process): Promise<void> {
    const { bus, session, left } = process;
    const { client, server } = this.#pair;
    if (left) return;
    process.left = true;
    const role = process.role === "client" ? client : server;
    if (role instanceof TestClient) {
      role.listener[Symbol.dispose]();
      role.ingress.cancelOpenings({ code: "draining", text: "stopping" });
    } else if (bus.connected) await role.egress.drain();
    session.shutDown({ code: "shutdown", text: "stopped" });
    await bus.close();
    role[Symbol.dispose]();
  }
}

function messageBytes(frameBytes: number): number {
  return frameBytes + MIN_MESSAGE_BYTES;
}

/** Spoils what is given back to `pool`; returns what is not. */
function watch(pool: BufferPool): ReadonlySet<ArrayBufferLike> {
  const lent = new Set<ArrayBufferLike>();
  const acquire = pool.acquire.bind(pool);
  const release = pool.release.bind(pool);
  pool.acquire = () => {
    const slab = acquire();
    lent.add(slab.buffer);
    return slab;
  };
  pool.release = (view) => {
    const { buffer } = view;
    if (!lent.delete(buffer)) {
      assert.notEqual(buffer.byteLength, SLAB_BYTES, "a slab given back twice");
    }
    new Uint8Array(buffer).fill(POISON);
    release(view);
  };
  return lent;
}
