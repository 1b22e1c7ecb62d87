/**
 * Random histories of version 1 tunnels on two real sessions: a target that is
 * told the end has read all, or the log tells of a cut; and nothing is left. (Version 1
 * sends nothing again, so links are cut here, but lose nothing otherwise.)
 */
import assert from "node:assert/strict";
import { Session } from "../../lib/session/session.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { SUBJECTS } from "../support/shell_pair.ts";
import {
  SeededHistory,
  testHistories,
  TunnelEnd,
} from "../support/seeded_history.ts";

/** Most bytes of one write of an application. */
const MAX_WRITE = 60_000;

const IDLE_MS = 600_000;
const LISTEN_MS = 10_000;
/** Longest pause between two questions whether the peer listens, and a turn, in ms. */
const RETRY_MS = 500;

/** Most writes of an application in a row: more than goes in one burst. */
const MAX_WRITES = 20;

/** Until all is paced out at the slowest rate, in ms. */
const DELIVERY_MS = 60_000;

/** Until an end that nobody was told shows, in ms: the idle time, twice if bytes came late. */
const END_MS = 2 * IDLE_MS;

/** Until a timer that was set for tunnels has gone off, in ms. */
const AFTERMATH_MS = 10_000;

/** Ends of a client of which it sends no close, but for a clean one. */
const UNTOLD = ["ok", "nats-down", "peer-gone"];

const ROLES: readonly Role[] = ["client", "server"];

/** One end of a tunnel, which may be broken off. */
class End extends TunnelEnd {
  broken = false;

  /** The application resets the connection. */
  reset(): void {
    this.broken = true;
    this.socket.reset();
  }
}

/** A tunnel: both its ends. */
type Ends = Readonly<Record<Role, End>>;

/** A history: everything in it follows from its seed. */
class History extends SeededHistory {
  readonly #buses = {
    client: this.broker.connect(),
    server: this.broker.connect(),
  };
  readonly #sessions: Session[] = [];
  readonly #tunnels: readonly Ends[];
  readonly #rate: number;
  readonly #memory: number;
  /** Messages until the link of a bus is cut. */
  #cutIn = Infinity;
  /** Whether any link was cut. */
  #cut = false;
  /** Whether the ends may not have heard of each other in time. */
  #unheard = false;

  constructor(seed: number) {
    super(seed);
    this.#rate = 1 << (18 + this.upTo(6));
    this.#memory = 1 << (this.chance(0.3) ? 16 : 22);
    this.#tunnels = Array.from({ length: 1 + this.upTo(2) }, (_, at) => ({
      client: new End("client", at + 1),
      server: new End("server", at + 1),
    }));
  }

  override async run(): Promise<void> {
    await this.#meet();
    for (let step = 5 + this.upTo(30); step > 0; step--) {
      await this.#step();
      for (const ends of this.#tunnels) this.#checkPrefixes(ends);
    }
    this.#calm();
    await this.#until(DELIVERY_MS, () => this.#tunnels.every(isDelivered));
    for (const ends of this.#tunnels) this.#checkDelivery(ends);
    // A target that goes on sending does not keep a tunnel open.
    const ending = this.chance(0.5) ? ROLES : ["client"] as const;
    for (const ends of this.#tunnels) {
      for (const role of ending) ends[role].end();
    }
    await this.#until(END_MS, () => this.#sessions.every(isEmpty));
    for (const ends of this.#tunnels) this.#checkEnd(ends);
    await this.wait(AFTERMATH_MS);
    this.#checkNothingLeft();
  }

  /** Starts both processes, the server late now and then. */
  async #meet(): Promise<void> {
    const late = this.chance(0.3) ? this.upTo(1.5 * LISTEN_MS) : 0;
    for (const { client } of this.#tunnels) client.send(1);
    this.#start("client");
    if (late > 0) await this.wait(late);
    this.#start("server");
    await this.broker.settled();
    for (const { client, server } of this.#tunnels) {
      const { closed } = client.socket;
      if (late === 0) {
        assert.equal(server.socket.received, 1, "not heard at once");
      } else if (late > LISTEN_MS + RETRY_MS) assert.ok(closed, "not given up");
    }
    this.#unheard = late > LISTEN_MS - RETRY_MS;
  }

  override [Symbol.dispose](): void {
    for (const session of this.#sessions) session[Symbol.dispose]();
    super[Symbol.dispose]();
  }

  async #until(limit: number, done: () => boolean): Promise<void> {
    for (let waited = 0; waited < limit && !done(); waited += 1_000) {
      await this.wait(1_000);
    }
  }

  /** Starts the process of this role, with its end of each tunnel. */
  #start(role: Role): void {
    const session = new Session({
      bus: this.#buses[role],
      clock: this.clock,
      role,
      token: role,
      subjects: SUBJECTS,
      times: {
        pingInterval: 2_000,
        peerTimeout: 10_000,
        resumeTimeout: 30_000,
      },
      maxWindow: 1 << 20,
      memoryBudget: this.#memory,
      idleTimeout: IDLE_MS,
      halfCloseTimeout: 0,
      maxTunnels: 10,
      maxOpening: 10,
    });
    this.#sessions.push(session);
    for (const [at, ends] of this.#tunnels.entries()) {
      session.addV1({
        id: `old.server.${at + 1}`,
        number: at + 1,
        socket: ends[role].socket,
        target: "target:5",
        rate: this.#rate,
        listenTimeout: LISTEN_MS,
      });
    }
  }

  async #step(): Promise<void> {
    const ends = this.#tunnels[this.upTo(this.#tunnels.length - 1)];
    const role: Role = this.chance(0.5) ? "client" : "server";
    const bus = this.#buses[role];
    assert.ok(ends);
    const end = ends[role];
    const dice = this.random();
    if (dice < 0.4) {
      const writes = this.chance(0.1) ? 1 + this.upTo(MAX_WRITES) : 1;
      for (let at = 0; at < writes; at++) {
        end.send(1 + this.upTo(MAX_WRITE - 1));
      }
    } else if (dice < 0.45) end.end();
    else if (dice < 0.55) end.socket.stall();
    else if (dice < 0.65) end.socket.flow();
    else if (dice < 0.67) end.reset();
    else if (dice < 0.7) {
      this.#cut = true;
      this.#cutIn = this.upTo(20);
      this.broker.filter = () => {
        if (this.#cutIn-- === 0) queueMicrotask(() => bus.cut());
        return true;
      };
    } else if (dice < 0.75) {
      for (const each of ROLES) this.#buses[each].restore();
    } else if (dice < 0.8) {
      bus.congested = bus.connected;
      this.#unheard = true;
    } else if (dice < 0.85) bus.drained();
    else await this.wait(this.upTo(3_000));
    await this.broker.settled();
  }

  /** No more faults: links are up and free, and everybody reads. */
  #calm(): void {
    this.#cutIn = Infinity;
    for (const role of ROLES) {
      this.#buses[role].restore();
      this.#buses[role].drained();
      for (const ends of this.#tunnels) ends[role].socket.flow();
    }
  }

  /** The log lines of the end of `end`: one. */
  #closings({ socket }: End): Readonly<Record<string, unknown>>[] {
    return this.closings.filter(({ peer }) => peer === socket.remote);
  }

  /** Whether no end of a tunnel was cut, for whatever reason. */
  #isWhole({ client, server }: Ends): boolean {
    return [client, server].every((end) => !end.broken && this.#isOk(end));
  }

  /**
   * Each has read a beginning. A target told the end has read all, unless the
   * client itself cut the tunnel: of that, its close is the only word there is.
   */
  #checkPrefixes({ client, server }: Ends): void {
    const given = this.#closings(client)
      .some(({ reason }) => !UNTOLD.includes(String(reason)));
    client.check(server, false);
    server.check(client, server.socket.ended && !given);
  }

  /** What is not cut arrives; the end of a client's stream, too. */
  #checkDelivery(ends: Ends): void {
    if (this.#cut || !this.#isWhole(ends)) return;
    const { client, server } = ends;
    server.check(client, true);
    assert.equal(server.socket.ended, client.ended, "end told to the target");
    // One that has ended its stream hears only what comes in time.
    client.check(server, !client.ended);
  }

  #checkEnd(ends: Ends): void {
    const { client, server } = ends;
    this.#checkPrefixes(ends);
    for (const role of ROLES) {
      const end = ends[role];
      const { remote, closed } = end.socket;
      const closings = this.#closings(end);
      assert.equal(closings.length, 1, `ends told of ${remote}`);
      assert.ok(closed, `${remote} is left open`);
      const code = String(closings[0]?.reason);
      if (code === "ok") continue;
      assert.ok(this.#mayEndFor(code, role, ends), `${remote}: ${code}`);
    }
    const [told] = this.#closings(server);
    if (told?.reason === "ok") {
      assert.ok(server.socket.ended, "clean, but untold");
    }
    if (this.#cut || !this.#isWhole(ends)) return;
    assert.ok(server.socket.ended && client.socket.ended, "no end came");
  }

  #mayEndFor(code: string, role: Role, ends: Ends): boolean {
    switch (code) {
      case "aborted":
        return ends[role].broken;
      case "nats-down":
        return this.#cut;
      case "limit":
        return this.#memory < MAX_WRITE * MAX_WRITES * 2;
      case "timeout":
        return this.#unheard || this.#cut;
      case "peer-gone": // a cut client is, a server always listens but when its link is cut
        return role === "server" ? !this.#isOk(ends.client) : this.#cut;
      case "idle": // a client is not told that the target's end was cut
        return role === "client" && !this.#isOk(ends.server);
      default:
        return false;
    }
  }

  #isOk(end: End): boolean {
    return this.#closings(end).every(({ reason }) => reason === "ok");
  }

  #checkNothingLeft(): void {
    for (const session of this.#sessions) {
      assert.equal(session.size, 0);
      assert.deepEqual(session.held, { send: 0, receive: 0, unsent: 0 });
      const { opened, closedByCode } = session.counters;
      const closed = [...closedByCode.values()].reduce((a, b) => a + b, 0);
      assert.equal(closed, opened, "tunnels opened and closed");
    }
    for (const { level, properties } of this.log.records) {
      assert.notEqual(level, "error", String(properties.error));
    }
    assert.equal(this.broker.subscriptions, 2, "subscriptions of sessions");
    assert.equal(this.clock.timers, 2, "timers beside the sweeps");
  }

  protected override get story(): readonly string[] {
    return this.#tunnels.flatMap(({ client, server }) => [client, server])
      .map(({ socket, sent, ended, broken }) =>
        `${socket.remote}: sent ${sent}, read ${socket.received}, ended ` +
        `${ended}, told ${socket.ended}, broken ${broken}`
      );
  }
}

/** Whether all that was sent has been read, with the end of the client's stream. */
function isDelivered({ client, server }: Ends): boolean {
  return server.socket.received === client.sent &&
    client.socket.received === server.sent &&
    server.socket.ended === client.ended;
}

function isEmpty(session: Session): boolean {
  return session.size === 0;
}

testHistories(
  "version 1 tunnels never end short and clean, and leave nothing behind, in random histories",
  1 / 25,
  (seed) => new History(seed),
);
