/** The record of tunnels, on a bus in memory. */
import assert from "node:assert/strict";
import { Audit } from "../../lib/process/audit.ts";
import type { TunnelObserver } from "../../lib/session/observer.ts";
import { TunnelError } from "../../lib/base/errors.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { MemoryBroker, type MemoryBus } from "../support/memory_bus.ts";
import {
  CLIENT_SEAL,
  KEYS,
  Pair,
  random,
  SERVER_SEAL,
} from "../support/shell_pair.ts";
import { formatPublicKey } from "../../lib/seal/keys.ts";

/** Makes an observer of each role before there is a bus for it. */
class Late implements TunnelObserver {
  audit: Audit | undefined;
  readonly lost = 0;
  opened: TunnelObserver["opened"] = (...of) => this.audit?.opened(...of);
  ended: TunnelObserver["ended"] = (...of) => this.audit?.ended(...of);
  refused: TunnelObserver["refused"] = (...of) => this.audit?.refused(...of);
}

function auditOf(role: Role, bus: MemoryBus, clock: FakeClock): Audit {
  return new Audit({
    ...{ role, bus, clock, random, subject: "audit.t" },
    ...{ instance: `${role}-1`, host: "vm", site: undefined },
  });
}

/** A pair of which both keep a record, and what is recorded. */
class Stage implements Disposable {
  readonly pair: Pair;
  readonly events: (Record<string, unknown> & { readonly on: string })[] = [];

  constructor(options: ConstructorParameters<typeof Pair>[0] = {}) {
    const [client, server] = [new Late(), new Late()];
    this.pair = new Pair({
      client: { ...options.client, observer: client },
      server: { ...options.server, observer: server },
    });
    const { clock, broker } = this.pair;
    client.audit = auditOf("client", this.pair.client.bus, clock);
    server.audit = auditOf("server", this.pair.server.bus, clock);
    broker.connect().subscribe("audit.t.>", ({ subject: on, data }) => {
      const event = JSON.parse(new TextDecoder().decode(data));
      this.events.push({ on, ...event });
    });
  }

  /** Those of one end, without what differs from run to run. */
  of(role: Role): readonly Record<string, unknown>[] {
    return this.events.filter((event) => event.role === role).map(
      ({ id, timestamp, tunnel, ...rest }) => {
        assert.match(String(id), /^[\w-]{22}$/);
        assert.ok(!Number.isNaN(Date.parse(String(timestamp))));
        return { ...rest, tunnel: typeof tunnel === "string" };
      },
    );
  }

  [Symbol.dispose](): void {
    this.pair[Symbol.dispose]();
  }
}

Deno.test("a tunnel is told of when it opens and ends, at both ends", async () => {
  using stage = new Stage();
  const { pair } = stage;
  const { app, target } = await pair.open();
  app.send("question");
  target.send("answer!");
  await pair.wait(1_000);
  app.end();
  target.end();
  await pair.wait(1_000);
  const shared = {
    ...{ host: "vm", tunnel: true, target: "target:5", client_id: "client1" },
  };
  const server = {
    ...shared,
    ...{ role: "server", instance: "server-1", address: target.remote },
    vouched: true,
  };
  const [open, end] = stage.of("server");
  assert.deepEqual(open, {
    ...server,
    on: "audit.t.open",
    type: "io.tcp-sproxy.audit.v1.open",
  });
  const { ms, ...rest } = end ?? {};
  assert.ok(Number(ms) >= 1_000);
  assert.deepEqual(rest, {
    ...server,
    on: "audit.t.end",
    type: "io.tcp-sproxy.audit.v1.end",
    ...{ sent: 7, received: 8, reason: "ok" },
  });
  const client = stage.of("client");
  assert.deepEqual(client.map(({ on, source, sent }) => [on, source, sent]), [
    ["audit.t.open", app.remote, undefined],
    ["audit.t.end", app.remote, 8],
  ]);
  const ids = new Set(stage.events.map(({ id }) => id));
  assert.equal(ids.size, 4);
});

Deno.test("an open that comes to nothing is told of, with who asked for what, and why", async () => {
  using _log = captureLog();
  using stage = new Stage({
    server: {
      seal: SERVER_SEAL,
      dial: () => Promise.reject(new TunnelError("refused", "nobody there")),
    },
    client: { seal: CLIENT_SEAL },
  });
  const { pair } = stage;
  pair.client.listener.connect();
  await pair.settle();
  const [server] = stage.of("server");
  assert.deepEqual(server, {
    ...{ on: "audit.t.refused", type: "io.tcp-sproxy.audit.v1.refused" },
    ...{ role: "server", instance: "server-1", host: "vm", tunnel: false },
    ...{ client: "edge", key: formatPublicKey(KEYS.client.publicKey) },
    ...{ client_id: "client1", vouched: true, target: "target:5" },
    ...{ reason: "refused", why: "nobody there", by: "local" },
  });
  const [client] = stage.of("client");
  assert.equal(client?.on, "audit.t.refused");
  assert.equal(client?.by, "peer");
  assert.equal(client?.reason, "refused");
});

Deno.test("what cannot go now is counted and told now and then, and nothing waits", async () => {
  using log = captureLog();
  const clock = new FakeClock();
  const broker = new MemoryBroker();
  const bus = broker.connect();
  const audit = auditOf("server", bus, clock);
  let events = 0;
  broker.connect().subscribe("audit.t.>", () => void events++);
  const refuse = (): void =>
    audit.refused({ reason: { code: "denied", text: "no" }, by: "local" });
  for (let i = 0; i < 300; i++) refuse();
  await broker.settled();
  assert.equal(events, 200);
  assert.equal(audit.lost, 100);
  bus.cut();
  refuse();
  bus.restore();
  bus.congested = true;
  refuse();
  bus.congested = false;
  assert.equal(audit.lost, 102);
  await clock.advance(10_000);
  bus.cut();
  refuse();
  const lines = log.records.map(({ rawMessage, properties }) => {
    assert.match(String(rawMessage), /^audit events are lost/);
    return [properties.count, properties.why];
  });
  assert.deepEqual(lines, [
    [1, "there are too many at once"],
    [102, "NATS is not connected"],
  ]);
});

Deno.test("events that the broker refuses count as lost", async () => {
  const broker = new MemoryBroker();
  const bus = broker.connect();
  bus.forbidden = (subject) => subject.startsWith("audit.");
  const audit = auditOf("server", bus, new FakeClock());
  audit.refused({ reason: { code: "denied", text: "no" }, by: "local" });
  await broker.settled();
  assert.equal(audit.lost, 1);
});
