/**
 * A broker in memory, with the semantics of core NATS that the shell relies
 * on: wildcards, queue groups, headers, "no responders", nothing kept for who
 * is not there. Messages are delivered in a later turn, in order.
 *
 * @module
 */
import type { Clock } from "../../lib/base/clock.ts";
import type { Encodable } from "../../lib/base/encodable.ts";
import { setImmediate } from "node:timers";
import type {
  Bus,
  BusMessage,
  BusSubscription,
  LinkEvent,
  MessageHandler,
  PublishOptions,
  SubscribeOptions,
} from "../../lib/nats/bus.ts";

/** One copy, in the next turn. */
const IN_TIME: readonly number[] = [0];

interface Entry {
  readonly bus: MemoryBus;
  readonly tokens: readonly string[];
  readonly queue: string | undefined;
  readonly handler: MessageHandler;
}

/** What one message was, for tests that watch the wire. */
export interface SeenMessage {
  readonly subject: string;
  readonly reply: string;
  readonly data: Uint8Array;
  readonly headers: readonly (readonly [string, string])[];
  /** The connection that published it. */
  readonly from: MemoryBus;
}

/** The broker that buses of a test share. */
export class MemoryBroker {
  readonly #entries: Entry[] = [];
  /** Which member of each queue group is next: each in turn, so that runs repeat. */
  readonly #turns = new Map<string, number>();
  /** Called for each message published; returning false loses it. */
  filter: (message: SeenMessage) => boolean = () => true;
  /**
   * How late each copy of a message arrives, in ms; 0 is the next turn. None
   * loses it, several repeat it, and those of different messages may overtake.
   */
  delays: (message: SeenMessage) => readonly number[] = () => IN_TIME;
  /** What delays are measured by. */
  clock: Clock | undefined;
  /** Deliveries under way, of all connections. */
  busy = 0;

  /** A new connection. */
  connect(): MemoryBus {
    return new MemoryBus(this);
  }

  /** Subscriptions of all connections. */
  get subscriptions(): number {
    return this.#entries.length;
  }

  /** Resolves when nothing more follows from what was published so far. */
  async settled(): Promise<void> {
    do await turn(); while (this.busy > 0);
  }

  /** Used by buses. */
  add(entry: Entry): Disposable {
    this.#entries.push(entry);
    return {
      [Symbol.dispose]: () => {
        const at = this.#entries.indexOf(entry);
        if (at >= 0) this.#entries.splice(at, 1);
      },
    };
  }

  /** Used by buses. */
  route(message: SeenMessage): void {
    if (!this.filter(message)) return;
    for (const delay of this.delays(message)) {
      if (delay <= 0 || this.clock === undefined) this.#pass(message);
      else {
        // What was sent last is lost with the sender's link.
        const { epoch } = message.from;
        this.clock.after(delay, () => {
          if (message.from.epoch === epoch) this.#pass(message);
        });
      }
    }
  }

  /** Delivers `message` to those who listen now. */
  #pass(message: SeenMessage): void {
    const tokens = message.subject.split(".");
    const matching = this.#entries.filter((entry) =>
      entry.bus.connected && matches(entry.tokens, tokens)
    );
    const groups = new Map<string, Entry[]>();
    for (const entry of matching) {
      if (entry.queue === undefined) entry.bus.deliver(entry, message);
      else groups.set(entry.queue, [...groups.get(entry.queue) ?? [], entry]);
    }
    for (const [queue, members] of groups) {
      const at = this.#turns.get(queue) ?? 0;
      this.#turns.set(queue, at + 1);
      const member = members[at % members.length];
      member?.bus.deliver(member, message);
    }
    if (matching.length === 0 && message.reply !== "") {
      this.#tellNobodyListens(message);
    }
  }

  /** "No responders" goes to the publisher, if that listens for its answers. */
  #tellNobodyListens({ from, reply }: SeenMessage): void {
    const status = {
      subject: reply,
      reply: "",
      data: new Uint8Array(0),
      headers: [],
      from,
    };
    for (const entry of this.#entries) {
      if (entry.bus === from && matches(entry.tokens, reply.split("."))) {
        from.deliver(entry, status, 503);
      }
    }
  }
}

/** One connection to a {@linkcode MemoryBroker}. */
export class MemoryBus implements Bus {
  maxPayload = 1024 * 1024;
  connected = true;
  congested = false;
  /** Times that a connection for what is express was wanted. */
  expressWanted = 0;
  pendingBytes = 0;
  refusedSubjects: readonly string[] = [];
  /** Which subjects the broker lets nothing be published to. */
  forbidden: (subject: string) => boolean = () => false;
  /** Which subscriptions it refuses of those that can be done without. */
  unheard: (subject: string) => boolean = () => false;
  readonly #broker: MemoryBroker;
  readonly #links = new Set<(event: LinkEvent) => void>();
  readonly #drains = new Set<() => void>();
  #inbox: (() => void)[] = [];
  #scheduled = false;
  /** Counts the links lost: what was under way on an old one never arrives. */
  epoch = 0;
  #closed = false;

  constructor(broker: MemoryBroker) {
    this.#broker = broker;
  }

  publish(
    subject: string,
    message: Encodable,
    options: PublishOptions = {},
  ): boolean {
    if (!this.connected) return false;
    if (message.byteLength > this.maxPayload) {
      throw new RangeError(`message of ${message.byteLength} bytes`);
    }
    if (this.forbidden(subject)) {
      this.#enqueue(() => this.deny(subject));
      return true;
    }
    const data = new Uint8Array(message.byteLength);
    message.encodeInto(data, 0);
    const { reply = "", headers = [] } = options;
    this.#broker.route({ subject, reply, data, headers, from: this });
    return true;
  }

  /** What is express has as much room as the rest. */
  get expressCongested(): boolean {
    return this.congested;
  }

  wantExpress(wanted: boolean): void {
    if (wanted) this.expressWanted++;
  }

  async mayPublish(
    subject: string,
    message: Encodable,
    options: PublishOptions = {},
  ): Promise<boolean> {
    const allowed = !this.forbidden(subject);
    if (allowed) this.publish(subject, message, options);
    await this.flush();
    return allowed;
  }

  subscribe(
    subject: string,
    handler: MessageHandler,
    options: SubscribeOptions = {},
  ): BusSubscription {
    const { onRefused } = options;
    if (onRefused !== undefined && this.unheard(subject)) {
      this.#enqueue(() => onRefused("Permissions Violation"));
      return {
        subject,
        drain: () => Promise.resolve(),
        [Symbol.dispose]: () => {},
      };
    }
    const entry = this.#broker.add({
      bus: this,
      tokens: subject.split("."),
      queue: options.queue,
      handler,
    });
    return {
      subject,
      drain: async () => {
        entry[Symbol.dispose]();
        // Over with the link, too.
        await this.flush().catch(() => {});
      },
      [Symbol.dispose]: () => entry[Symbol.dispose](),
    };
  }

  onLink(listener: (event: LinkEvent) => void, signal?: AbortSignal): void {
    if (this.#closed) return listener({ type: "closed" });
    this.#links.add(listener);
    signal?.addEventListener("abort", () => this.#links.delete(listener));
  }

  onDrain(listener: () => void, signal?: AbortSignal): void {
    this.#drains.add(listener);
    signal?.addEventListener("abort", () => this.#drains.delete(listener));
  }

  async flush(): Promise<void> {
    if (!this.connected) throw new Error("disconnected");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const epoch = this.epoch;
    this.#enqueue(() => {
      if (epoch === this.epoch) resolve();
      else reject(new Error("disconnected"));
    });
    await promise;
  }

  close(): Promise<void> {
    this.#lose();
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#tell({ type: "closed" });
    return Promise.resolve();
  }

  /** Loses the link, and with it what was under way to this connection. */
  cut(reason = "cut"): void {
    if (!this.connected) return;
    this.#lose();
    this.#tell({ type: "down", reason });
    if (this.congested) this.drained();
  }

  /** Brings the link back. */
  restore(): void {
    if (this.connected) return;
    this.connected = true;
    this.#tell({ type: "up", server: "memory" });
  }

  /** Refuses what was published to `subject`, as a broker says it afterwards. */
  deny(subject: string): void {
    const reason = `Permissions Violation for Publish to "${subject}"`;
    this.#tell({ type: "denied", subject, reason });
  }

  /** From now on the broker refuses these subscriptions, and says so. */
  refuse(subjects: readonly string[]): void {
    this.refusedSubjects = subjects;
    this.#tell({ type: "subscriptions" });
  }

  /** Ends congestion. */
  drained(): void {
    this.congested = false;
    for (const listener of [...this.#drains]) listener();
  }

  /** Used by the broker. */
  deliver(entry: Entry, message: SeenMessage, status = 0): void {
    const epoch = this.epoch;
    this.#enqueue(() => {
      if (epoch !== this.epoch) return; // lost with the link
      const data = message.data.slice();
      const subjectBytes = new TextEncoder().encode(message.subject);
      const view: BusMessage = {
        subject: message.subject,
        subjectBytes,
        reply: message.reply,
        data,
        status,
        header: (name) =>
          message.headers.find(([key]) =>
            key.toLowerCase() === name.toLowerCase()
          )?.[1],
      };
      entry.handler(view);
      // Views are only good during the call: whoever keeps one shall notice.
      data.fill(0xee);
      subjectBytes.fill(0xee);
    });
  }

  #lose(): void {
    this.connected = false;
    this.epoch++;
  }

  #tell(event: LinkEvent): void {
    for (const listener of [...this.#links]) listener(event);
  }

  #enqueue(action: () => void): void {
    this.#inbox.push(action);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#broker.busy++;
    setImmediate(() => {
      this.#scheduled = false;
      this.#broker.busy--;
      const due = this.#inbox;
      this.#inbox = [];
      for (const each of due) each();
    });
  }
}

/** The next turn of the event loop: every microtask before it is done. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function matches(
  pattern: readonly string[],
  subject: readonly string[],
): boolean {
  for (const [at, token] of pattern.entries()) {
    if (token === ">") return subject.length > at;
    if (at >= subject.length) return false;
    if (token !== "*" && token !== subject[at]) return false;
  }
  return pattern.length === subject.length;
}
