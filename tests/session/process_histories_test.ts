/**
 * Random histories of processes that leave, are killed and come back, on a
 * broker that loses nothing: what the others must do is known to the moment.
 */
import assert from "node:assert/strict";
import type { Session } from "../../lib/session/session.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { TestClient, TestServer } from "../support/shell_pair.ts";
import {
  SeededHistory,
  testHistories,
  TunnelEnd,
} from "../support/seeded_history.ts";

/** Most processes of a kind: opens and tunnels go on without one of them. */
const MOST_PROCESSES = 2;

const MAX_TUNNELS = 6;

/** Most bytes of one write; what a history writes to a tunnel is less than its first credit. */
const MAX_WRITE = 8_000;

/** Everything but what follows has happened after so long, in ms: delayed acknowledgements. */
const AT_ONCE_MS = 100;

/** Longest outage, in ms: shorter than the peer time, pings and all. */
const OUTAGE_MS = 5_000;

/** Until all goes on after an outage, in ms. */
const RESUME_MS = 1_000;

/** Until an open is given up that no server hears, in ms: servers may just be rejoining. */
const NO_SERVER_MS = 3_500;

/** Until a process that was killed counts as lost, in ms: the peer time, a ping and a sweep. */
const KILLED_MS = 13_000;

/** Until a process started under the same token is found to be another, in ms: a ping and a sweep. */
const RESTARTED_MS = 2_600;

/** How long one that does not read is waited for when its tunnel is cut, at least and at most, in ms. */
const LINGER_MS = { least: 5_000, most: 5_100 } as const;

/** Longest time at rest, in ms: longer than the resume time. */
const REST_MS = 60_000;

/** Until a peer without tunnels is forgotten and no timer is left, in ms. */
const AFTERMATH_MS = 40_000;

/** One process, from its start to its end. */
interface Process {
  readonly role: Role;
  readonly token: string;
  readonly it: TestClient | TestServer;
  alive: boolean;
}

/** One end of a tunnel, in a process, with a reader that stalls now and then. */
class End extends TunnelEnd {
  readonly process: Process;
  stalled = false;

  constructor(process: Process, ordinal: number) {
    super(process.role, ordinal);
    this.process = process;
  }

  stall(): void {
    this.stalled = true;
    this.socket.stall();
  }

  flow(): void {
    this.stalled = false;
    this.socket.flow();
  }

  /** Fails unless this end has read what it must: if it reads, all that `far` has sent. */
  override check(far: End, whole: boolean): void {
    super.check(far, !this.stalled);
    const { remote, ended } = this.socket;
    if (this.stalled) return;
    if (whole) assert.equal(ended, far.ended, `end told to ${remote}`);
    else assert.ok(far.ended || !ended, `${remote} was told a false end`);
  }
}

/** A tunnel; one end is as good as the other. */
type Ends = readonly [End, End];

/** An end of which the process at the other one is gone. */
interface Widow {
  readonly end: End;
  readonly gone: End;
  readonly since: number;
  /** When this must be known at the latest. */
  by: number;
  /** The same if another of its name has been started, which says so. */
  restartBy: number;
}

/** A history: everything in it follows from its seed. */
class History extends SeededHistory {
  readonly #processes: Process[] = [];
  /** Tunnels between living processes. */
  #tunnels: Ends[] = [];
  #widows: Widow[] = [];
  /** Targets dialled and not yet known to belong to a tunnel. */
  readonly #dialled: End[] = [];
  readonly #ends: End[] = [];
  /** What became of processes. */
  protected override readonly story: string[] = [];

  override async run(): Promise<void> {
    this.#start("client", "client1");
    for (let many = 1 + this.upTo(3); many > 0; many--) this.#restart();
    for (let step = 5 + this.upTo(25); step > 0; step--) {
      await this.#step();
      await this.wait(AT_ONCE_MS);
      this.#check();
    }
    await this.#end();
  }

  override [Symbol.dispose](): void {
    for (const { it } of this.#processes) it[Symbol.dispose]();
    super[Symbol.dispose]();
  }

  #tell(what: string, { token }: { readonly token: string }): void {
    this.story.push(`${this.clock.now()}: ${token} ${what}`);
  }

  #living(role?: Role): Process[] {
    return this.#processes.filter((each) =>
      each.alive && each.role === (role ?? each.role)
    );
  }

  // What happens

  async #step(): Promise<void> {
    const end = this.pick(this.pick(this.#tunnels) ?? []);
    const reader = this.chance(0.5) ? this.pick(this.#widows)?.end : end;
    const dice = this.random();
    if (dice < 0.25) await this.#connect();
    else if (dice < 0.5) end?.send(1 + this.upTo(MAX_WRITE - 1));
    else if (dice < 0.56) end?.end();
    else if (dice < 0.64) reader?.stall();
    else if (dice < 0.7) reader?.flow();
    else if (dice < 0.76) await this.#outage();
    else if (dice < 0.82) await this.#leave();
    else if (dice < 0.88) await this.#kill();
    else if (dice < 0.96) this.#restart();
    else await this.wait(this.upTo(REST_MS));
  }

  #make(process: Process): End {
    const end = new End(process, this.#ends.length);
    this.#ends.push(end);
    return end;
  }

  #start(role: Role, token: string): void {
    const options = { token, halfCloseTimeout: 0 };
    const process: Process = {
      role,
      token,
      alive: true,
      it: role === "client"
        ? new TestClient(this.broker, this.clock, options)
        : new TestServer(this.broker, this.clock, {
          ...options,
          dial: () => {
            const target = this.#make(process);
            this.#dialled.push(target);
            return Promise.resolve(target.socket);
          },
        }),
    };
    this.#tell("starts", process);
    this.#processes.push(process);
    for (const widow of this.#widows) {
      if (widow.gone.process.token !== token) continue;
      widow.restartBy = this.clock.now() + RESTARTED_MS;
    }
  }

  /** A client comes back under its configured ID; a server's token is always new. */
  #restart(): void {
    const role = this.chance(0.5) ? "client" : "server";
    const living = this.#living(role).map(({ token }) => token);
    if (living.length >= MOST_PROCESSES) return;
    const own = living.includes("client1") ? "client2" : "client1";
    const token = `server${this.#processes.length}`;
    this.#start(role, role === "client" ? own : token);
  }

  /** An application connects; if a server lives, its tunnel is open at once. */
  async #connect(client = this.pick(this.#living("client"))): Promise<void> {
    if (client === undefined || this.#tunnels.length >= MAX_TUNNELS) return;
    const { it } = client;
    assert.ok(it instanceof TestClient);
    const app = this.#make(client);
    it.listener.offer(app.socket);
    await this.broker.settled();
    if (!it.bus.connected) {
      await this.wait(this.upTo(OUTAGE_MS));
      it.bus.restore();
    }
    const served = this.#living("server").length > 0;
    await this.wait(served ? AT_ONCE_MS : NO_SERVER_MS);
    const target = this.#dialled.shift();
    assert.equal(target !== undefined, served, "a tunnel, if a server lives");
    if (target !== undefined) this.#tunnels.push([app, target]);
    else assert.ok(app.socket.closed, "an open that no server hears goes on");
  }

  /** The link of a process is cut for a short time; now and then just when an application connects. */
  async #outage(): Promise<void> {
    const process = this.pick(this.#living());
    if (process === undefined) return;
    const { bus } = process.it;
    this.#tell("is cut off", process);
    bus.cut();
    if (process.role === "client" && this.chance(0.5)) {
      await this.#connect(process);
    } else await this.wait(this.upTo(OUTAGE_MS));
    bus.restore();
    const now = this.clock.now();
    for (const widow of this.#widows) {
      // Who was away counts anew how long the other is.
      if (widow.end.process === process) widow.by = now + KILLED_MS;
      if (widow.gone.process.token === process.token) {
        widow.restartBy = now + RESTARTED_MS;
      }
    }
    await this.wait(RESUME_MS);
  }

  /**
   * A process leaves in order: all that it shares tunnels with know it at once,
   * though its last word of each tunnel, or of itself, is lost.
   */
  async #leave(): Promise<void> {
    const process = await this.#speakLast();
    if (process === undefined) return;
    const { it } = process;
    if (it instanceof TestServer) {
      await Promise.all([it.egress.drain(), this.broker.settled()]);
    }
    const lost = this.pick(["of itself", "of tunnels", "nothing"]);
    this.broker.filter = ({ subject }) =>
      lost === "nothing" || subject.endsWith(".0") !== (lost === "of itself");
    sessionOf(process).shutDown({ code: "shutdown", text: "stopped" });
    await this.broker.settled();
    this.broker.filter = () => true;
    await it.bus.close();
    this.#tell("has left", process);
    this.#bury(process, AT_ONCE_MS);
  }

  /** Picks a process; some of what its applications send now finds readers that stall. */
  async #speakLast(): Promise<Process | undefined> {
    const process = this.pick(this.#living());
    for (const [app, target] of this.#tunnels) {
      if (!this.chance(0.3)) continue;
      const [near, far] = app.process === process
        ? [app, target]
        : [target, app];
      if (near.process !== process) continue;
      far.stall();
      near.send(1 + this.upTo(MAX_WRITE - 1));
    }
    await this.broker.settled();
    return process;
  }

  /** A process is killed: nobody is told, and the broker drops its link. */
  async #kill(): Promise<void> {
    const process = await this.#speakLast();
    if (process === undefined) return;
    process.it.bus.connected = false;
    this.#tell("is killed", process);
    this.#bury(process, KILLED_MS);
  }

  #bury(process: Process, known: number): void {
    process.alive = false;
    process.it[Symbol.dispose]();
    const since = this.clock.now();
    const times = { since, by: since + known, restartBy: Infinity };
    for (const widow of this.#widows) {
      if (widow.gone.process.token === process.token) {
        widow.restartBy = Infinity;
      }
    }
    for (const [app, target] of this.#tunnels) {
      if (app.process === process) {
        this.#widows.push({ end: target, gone: app, ...times });
      } else if (target.process === process) {
        this.#widows.push({ end: app, gone: target, ...times });
      }
    }
    this.#tunnels = this.#tunnels.filter((ends) =>
      ends.every((end) => end.process !== process)
    );
    this.#widows = this.#widows.filter(({ end }) => end.process !== process);
  }

  // What must follow

  #check(): void {
    this.#tunnels = this.#tunnels.filter((ends) => {
      const [app, target] = ends;
      app.check(target, true);
      target.check(app, true);
      const over = ends.every(({ ended, stalled }) => ended && !stalled);
      for (const { socket } of ends) {
        assert.ok(!socket.closed || over || ends.every((e) => e.ended), "cut");
        assert.ok(socket.closed || !over, `${socket.remote} is left open`);
      }
      return !over;
    });
    const now = this.clock.now();
    this.#widows = this.#widows.filter((widow) => {
      this.#checkWidow(widow, now);
      return !widow.end.socket.closed;
    });
    for (const { level, rawMessage, properties } of this.log.records) {
      assert.notEqual(level, "error", `${rawMessage}: ${properties.error}`);
    }
  }

  #checkWidow({ end, gone, since, by, restartBy }: Widow, now: number): void {
    const { stalled, socket } = end;
    const known = Math.min(by, restartBy);
    // What the other had sent is all here, for a reader that reads in time.
    end.check(gone, false);
    if (!socket.closed) {
      // Where both streams have ended only the reader is waited for.
      const over = end.ended && gone.ended;
      const until = over ? Infinity : known + LINGER_MS.most;
      assert.ok(now <= (stalled ? until : known), "half a tunnel");
    } else if (socket.received < gone.sent) {
      assert.ok(now >= since + LINGER_MS.least, "the reader is not waited for");
    }
  }

  async #end(): Promise<void> {
    for (const ends of this.#tunnels) for (const end of ends) end.flow();
    for (const { end } of this.#widows) end.flow();
    for (const ends of this.#tunnels) for (const end of ends) end.end();
    await this.wait(AT_ONCE_MS);
    this.#check();
    assert.equal(this.#tunnels.length, 0);
    await this.wait(KILLED_MS);
    this.#check();
    assert.equal(this.#widows.length, 0);
    await this.wait(AFTERMATH_MS);
    this.#checkNothingLeft();
  }

  #checkNothingLeft(): void {
    const told = new Set<unknown>();
    for (const { peer, reason, sent, received } of this.closings) {
      assert.ok(!told.has(peer), `the end of ${peer} told twice`);
      told.add(peer);
      const end = this.#ends.find(({ socket }) => socket.remote === peer);
      if (reason !== "ok" || end === undefined) continue;
      assert.equal(sent, end.sent, `bytes said to be from ${peer}`);
      assert.equal(
        received,
        end.socket.received,
        `bytes said to be for ${peer}`,
      );
    }
    const living = this.#living();
    for (const process of living) {
      const session = sessionOf(process);
      const { opened, closedByCode } = session.counters;
      const ended = [...closedByCode.values()].reduce((a, b) => a + b, 0);
      assert.equal(ended, opened, "tunnels opened and closed");
      assert.equal(session.size, 0);
      assert.equal(session.peerCount, 0);
      assert.deepEqual(session.held, { send: 0, receive: 0, unsent: 0 });
    }
    assert.equal(this.clock.timers, living.length, "timers beside the sweeps");
    assert.equal(
      this.broker.subscriptions,
      living.length + 2 * this.#living("server").length,
    );
  }
}

function sessionOf({ it }: Process): Session {
  return it instanceof TestClient ? it.ingress.session : it.egress.session;
}

testHistories(
  "processes that leave, are killed and come back end their tunnels in time, and no others, in random histories",
  1 / 10,
  (seed) => new History(seed),
);
