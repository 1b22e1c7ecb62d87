/**
 * Random histories of the shell that ships: a real client and a real server
 * with their sessions, on a broker in memory that loses, repeats, delays,
 * reorders and cuts, and a clock that only moves when told.
 *
 * `SPROXY_HISTORIES` says how many to try. A failure names its seed;
 * `SPROXY_SEED` tries that one again.
 */
import assert from "node:assert/strict";
import { captureLog } from "../support/capture_log.ts";
import type { FakeSocket } from "../support/fake_socket.ts";
import { Pair, type PairOptions, TestServer } from "../support/shell_pair.ts";
import {
  assertEqual,
  patternAt,
  randomFrom,
} from "../support/simulation_parts.ts";

/** Histories tried in an ordinary run: a tenth of what the machine alone is put through. */
const HISTORIES = Math.ceil(
  Number(Deno.env.get("SPROXY_HISTORIES") ?? 12_000) / 10,
);

/** The one history to try again. */
const REPLAY = Deno.env.get("SPROXY_SEED");

/** Most tunnels at once: enough to share memory, a peer and a timer. */
const MAX_TUNNELS = 4;

/** Most bytes of one write of an application: several frames, more than a small window, less than the pattern. */
const MAX_WRITE = 60_000;

/** Longest outage that every tunnel survives, in ms; the resume time is 30 s, the peer time 10 s. */
const SHORT_OUTAGE_MS = 8_000;

/** Until a word of a link that is back has come through, some being lost, in ms: a few pings. */
const HEARD_MS = 10_000;

/** Longer than the resume time, in ms. */
const LONG_OUTAGE_MS = 45_000;

/** Time for everything to arrive once trouble is over, in ms: three of the longest waits between probes, and an open. */
const RECOVERY_MS = 60_000;

/** Time until a cut is known at the other end though each word of it was lost, in ms: two probes at rest. */
const CUT_MS = 800_000;

/** Until nothing is remembered of a peer that has no tunnels, in ms. */
const AFTERMATH_MS = 40_000;

/** One direction of one tunnel, as sent. */
interface Sent {
  bytes: number;
  ended: boolean;
}

/** One connection of an application, and the target that it reached. */
class Trial {
  readonly key: number;
  readonly app: FakeSocket;
  readonly up: Sent = { bytes: 0, ended: false };
  readonly down: Sent = { bytes: 0, ended: false };
  /** Whether either end broke its connection off. */
  broken = false;

  constructor(key: number, app: FakeSocket) {
    this.key = key;
    this.app = app;
  }

  /** Sends bytes of which each target can tell whose they are: the first is the key. */
  send(from: "app" | "target", socket: FakeSocket, length: number): void {
    const sent = from === "app" ? this.up : this.down;
    if (sent.ended) return;
    const bytes = stream(this.key, from, sent.bytes, length);
    sent.bytes += length;
    socket.send(bytes);
  }

  end(from: "app" | "target", socket: FakeSocket): void {
    const sent = from === "app" ? this.up : this.down;
    if (sent.ended) return;
    sent.ended = true;
    socket.end();
  }
}

/** Bytes `offset` to `offset + length` of a stream; its first byte is its key. */
function stream(
  key: number,
  from: "app" | "target",
  offset: number,
  length: number,
): Uint8Array {
  const seed = key * 2 + (from === "app" ? 0 : 1);
  const bytes = patternAt(seed * 977, offset, length).slice();
  if (offset === 0 && length > 0) bytes[0] = key;
  return bytes;
}

/** A history: everything in it follows from its seed. */
class History implements AsyncDisposable {
  readonly pair: Pair;
  readonly trials: Trial[] = [];
  readonly #random: () => number;
  readonly #seed: number;
  readonly #servers: TestServer[];
  readonly #log = captureLog();
  #loss = 0;
  #repeat = 0;
  #late = 0;
  /** Whether a tunnel may have been cut, or an open have failed, for a good reason. */
  #disturbed = false;
  /** Whether an open may have failed. */
  #mayFailToOpen = false;
  /** When the outage began of which the last one is a part. */
  #awaySince = 0;
  /** When both have heard of each other again since the last outage, whatever is lost. */
  #heardBy = -Infinity;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = randomFrom(seed);
    this.pair = new Pair(this.#options());
    this.#servers = [this.pair.server];
    const { broker, clock } = this.pair;
    broker.clock = clock;
    broker.delays = () => {
      if (this.#chance(this.#loss)) return [];
      const copies = this.#chance(this.#repeat) ? 2 : 1;
      return Array.from({ length: copies }, () => this.#upTo(this.#late));
    };
  }

  /** Lets it happen, and holds it to what was promised. */
  async run(): Promise<void> {
    for (let step = 5 + this.#upTo(35); step > 0; step--) {
      await this.#step();
      this.#checkPrefixes();
    }
    this.#calm();
    await this.#until(RECOVERY_MS, () => this.#allDelivered());
    this.#checkBytes();
    if (!this.#disturbed) {
      assert.ok(this.#allDelivered(), "not all that was sent has arrived");
    }
    this.#endAll();
    await this.#until(CUT_MS, () => this.#allEnded());
    this.#checkPrefixes();
    this.#checkBytes();
    this.#checkEnds();
    await this.pair.wait(AFTERMATH_MS);
    this.#checkNothingLeft();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pair[Symbol.dispose]();
    for (const server of this.#servers) server[Symbol.dispose]();
    await this.pair.settle();
    this.#log[Symbol.dispose]();
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  /** A whole number from 0 to `most`. */
  #upTo(most: number): number {
    return Math.floor(this.#random() * (most + 1));
  }

  #options(): PairOptions {
    const scarce = this.#chance(0.3);
    const session = {
      maxWindow: scarce ? 16_384 << this.#upTo(2) : 1 << 20,
      memoryBudget: scarce ? 32_768 << this.#upTo(2) : 1 << 22,
    };
    const codec = this.#chance(0.2) ? "json" : "binary";
    return { client: { ...session, codec }, server: session };
  }

  /** The target that took the bytes of `trial`, once it has any. */
  #targetOf({ key }: Trial): FakeSocket | undefined {
    return this.#targets.find((target) => target.bytes[0] === key);
  }

  get #targets(): FakeSocket[] {
    return this.#servers.flatMap(({ targets }) => targets);
  }

  async #step(): Promise<void> {
    const trial = this.trials[this.#upTo(this.trials.length - 1)];
    if (trial === undefined || this.#chance(0.15)) {
      await this.#connect();
      return;
    }
    const target = this.#targetOf(trial);
    const from = this.#chance(0.5) ? "app" : "target";
    const socket = from === "app" ? trial.app : target;
    const bus = (this.#chance(0.5) ? this.pair.client : this.#server).bus;
    const dice = this.#random();
    if (dice < 0.35) {
      if (socket) trial.send(from, socket, 1 + this.#upTo(MAX_WRITE));
    } else if (dice < 0.42) {
      if (socket) trial.end(from, socket);
    } else if (dice < 0.5) {
      socket?.stall();
    } else if (dice < 0.58) {
      socket?.flow();
    } else if (dice < 0.61) {
      if (socket) {
        socket.reset();
        trial.broken = true;
      }
    } else if (dice < 0.68) {
      await this.#outage(bus);
    } else if (dice < 0.75) {
      if (bus.congested) bus.drained();
      else bus.congested = true;
    } else if (dice < 0.85) {
      this.#loss = this.#chance(0.5) ? this.#random() * 0.2 : 0;
      this.#repeat = this.#chance(0.5) ? this.#random() * 0.3 : 0;
      this.#late = this.#chance(0.5) ? this.#upTo(200) : 0;
      if (this.#loss > 0) this.#mayFailToOpen = true;
    } else if (dice < 0.86) {
      await this.#replaceServer();
    } else await this.pair.wait(this.#upTo(3_000));
    await this.pair.settle();
  }

  async #connect(): Promise<void> {
    if (this.trials.length >= MAX_TUNNELS) return;
    const app = this.pair.client.listener.connect();
    const trial = new Trial(this.trials.length + 1, app);
    this.trials.push(trial);
    trial.send("app", app, 1 + this.#upTo(2_000));
    await this.pair.settle();
  }

  async #outage(bus: TestServer["bus"]): Promise<void> {
    const { clock } = this.pair;
    const long = this.#chance(0.1);
    this.#mayFailToOpen = true;
    // Where words are lost, short ones close together are a long one.
    if (clock.now() > this.#heardBy) this.#awaySince = clock.now();
    bus.cut();
    bus.congested = false;
    await this.pair.wait(this.#upTo(long ? LONG_OUTAGE_MS : SHORT_OUTAGE_MS));
    if (this.#chance(0.3)) bus.maxPayload = 4_096 << this.#upTo(4);
    bus.restore();
    if (clock.now() - this.#awaySince > SHORT_OUTAGE_MS) this.#disturbed = true;
    this.#heardBy = clock.now() + HEARD_MS;
  }

  get #server(): TestServer {
    const server = this.#servers.at(-1);
    assert.ok(server);
    return server;
  }

  /** The server leaves in order, and another takes its place. */
  async #replaceServer(): Promise<void> {
    this.#disturbed = this.#mayFailToOpen = true;
    const old = this.#server;
    const { broker, clock } = this.pair;
    await Promise.all([
      old.egress.drain(),
      this.pair.settle(),
    ]);
    old.egress.session.shutDown({ code: "shutdown", text: "left" });
    await this.pair.settle();
    old[Symbol.dispose]();
    const token = `server${this.#servers.length + 1}`;
    this.#servers.push(new TestServer(broker, clock, { token }));
  }

  /** No more faults: links are up and free, and everybody reads. */
  #calm(): void {
    this.#loss = this.#repeat = this.#late = 0;
    for (const { bus } of [this.pair.client, this.#server]) {
      bus.restore();
      if (bus.congested) bus.drained();
    }
    for (const socket of this.#sockets) socket.flow();
  }

  get #sockets(): FakeSocket[] {
    return [...this.trials.map(({ app }) => app), ...this.#targets];
  }

  #endAll(): void {
    for (const trial of this.trials) {
      trial.end("app", trial.app);
      const target = this.#targetOf(trial);
      if (target !== undefined) trial.end("target", target);
    }
    // Targets of opens that were given up.
    for (const target of this.#targets) if (target.received === 0) target.end();
  }

  async #until(limit: number, done: () => boolean): Promise<void> {
    for (let waited = 0; waited < limit && !done(); waited += 500) {
      await this.pair.wait(500);
    }
  }

  /** Whether all that is sent must arrive: it was not cut, nor its open given up, for a good reason. */
  #isWhole(trial: Trial): boolean {
    if (trial.broken) return false;
    return !(trial.app.closed && this.#isExcused(trial));
  }

  /** Whether trouble may have kept the tunnel from being opened, or cut it. */
  #isExcused(trial: Trial): boolean {
    return this.#disturbed ||
      (this.#mayFailToOpen && this.#targetOf(trial) === undefined);
  }

  #allDelivered(): boolean {
    return this.trials.filter((trial) => this.#isWhole(trial)).every(
      (trial) => {
        const target = this.#targetOf(trial);
        return target !== undefined && target.received === trial.up.bytes &&
          trial.app.received === trial.down.bytes &&
          target.ended === trial.up.ended &&
          trial.app.ended === trial.down.ended;
      },
    );
  }

  #allEnded(): boolean {
    const sessions = [
      this.pair.client.ingress,
      ...this.#servers.map(({ egress }) => egress),
    ];
    return sessions.every(({ session, opening }) =>
      session.size === 0 && opening === 0
    );
  }

  /** Everybody has read a beginning of what was sent to him, and an end only after all of it. */
  #checkPrefixes(): void {
    for (const trial of this.trials) {
      const target = this.#targetOf(trial);
      assertBegins(trial.app, trial, "target");
      if (target !== undefined) assertBegins(target, trial, "app");
    }
    const owned = this.trials.map((trial) => this.#targetOf(trial));
    for (const target of this.#targets) {
      if (!owned.includes(target)) {
        assert.equal(target.received, 0, "bytes for a target nobody asked for");
      }
    }
  }

  /** What everybody has read is what was sent to him, byte for byte. */
  #checkBytes(): void {
    for (const trial of this.trials) {
      assertBytes(trial.app, trial, "target");
      const target = this.#targetOf(trial);
      if (target !== undefined) assertBytes(target, trial, "app");
    }
  }

  #checkEnds(): void {
    assert.ok(this.#allEnded(), "a tunnel does not end");
    for (const trial of this.trials) {
      const target = this.#targetOf(trial);
      const clean = trial.app.ended && target?.ended === true;
      const excused = trial.broken || this.#isExcused(trial);
      assert.ok(clean || excused, `tunnel ${trial.key} was cut for nothing`);
      assert.ok(trial.app.closed, `application ${trial.key} is left open`);
    }
    for (const target of this.#targets) {
      assert.ok(target.closed, "a target is left open");
    }
    const closed = this.#log.records
      .filter(({ rawMessage }) => rawMessage === "tunnel closed")
      .map(({ properties }) => `${properties.id} ${properties.peer}`);
    assert.equal(
      new Set(closed).size,
      closed.length,
      "an end was logged twice",
    );
    const faults = this.#log.records.filter(({ level }) => level === "error");
    assert.deepEqual(faults.map(({ properties }) => properties.error), []);
    const { opened, closedByCode } = this.pair.client.ingress.session.counters;
    const ends = [...closedByCode.values()].reduce((sum, one) => sum + one, 0);
    assert.equal(ends, opened, "tunnels opened and closed");
  }

  #checkNothingLeft(): void {
    const { client, broker, clock } = this.pair;
    const sessions = [client.ingress.session, this.#server.egress.session];
    for (const session of sessions) {
      assert.deepEqual(session.held, { send: 0, receive: 0, unsent: 0 });
      assert.equal(session.peerCount, 0);
    }
    assert.equal(broker.subscriptions, 3);
    assert.equal(clock.timers, 2, "timers beside the two sweeps");
  }

  /** What to say of a failure: how to try it again, what happened, and how far it came. */
  get report(): string {
    const again =
      `SPROXY_SEED=${this.#seed} deno test -A tests/session/histories_test.ts`;
    const states = this.trials.map((trial) => {
      const { key, app, up, down, broken } = trial;
      const target = this.#targetOf(trial);
      return `tunnel ${key}${broken ? " (broken off)" : ""}: up ` +
        `${target?.received ?? "no target"} of ${up.bytes}, down ` +
        `${app.received} of ${down.bytes}, ends sent ${up.ended} ` +
        `${down.ended}, told ${target?.ended} ${app.ended}, closed ` +
        `${app.closed} ${target?.closed}`;
    });
    const log = this.#log.records.map(({ rawMessage, properties }) =>
      `${rawMessage} ${JSON.stringify(properties)}`
    );
    return [again, ...states, ...log].join("\n  ");
  }
}

function assertBegins(
  reader: FakeSocket,
  trial: Trial,
  from: "app" | "target",
): void {
  const sent = from === "app" ? trial.up : trial.down;
  const who = `${from === "app" ? "target" : "application"} ${trial.key}`;
  assert.ok(reader.received <= sent.bytes, `${who} read more than was sent`);
  if (reader.ended) {
    assert.ok(sent.ended, `${who} was told an end that was not sent`);
    assert.equal(reader.received, sent.bytes, `${who} was told a false end`);
  }
}

function assertBytes(
  reader: FakeSocket,
  { key }: Trial,
  from: "app" | "target",
): void {
  const { bytes } = reader;
  for (let at = 0; at < bytes.length; at += MAX_WRITE) {
    const piece = bytes.subarray(at, at + MAX_WRITE);
    assertEqual(
      piece,
      stream(key, from, at, piece.length),
      `bytes from the ${from} of tunnel ${key}, from ${at} on`,
    );
  }
}

Deno.test("the shell keeps every byte, and leaves nothing behind, in random histories", async () => {
  const seeds = REPLAY === undefined
    ? Array.from({ length: HISTORIES }, (_, at) => FIRST_SEED + at)
    : [Number(REPLAY)];
  for (const seed of seeds) {
    await using history = new History(seed);
    try {
      await history.run();
    } catch (cause) {
      throw new Error(history.report, { cause });
    }
  }
});

/** Another hundred thousand each day: a run that is repeated repeats. */
const FIRST_SEED = Math.floor(Date.now() / 86_400_000) * 100_000;
