/** Two whole processes whose tunnels are sealed, and those who have no key. */
import assert from "node:assert/strict";
import { WIRE_CODES } from "../../lib/base/errors.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { parseTargetRule } from "../../lib/base/target_rules.ts";
import { ClientDirectory } from "../../lib/server/clients.ts";
import { keyPairOf } from "../../lib/seal/keys.ts";
import type { ServerSeal } from "../../lib/server/reception.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { MemoryBroker, type SeenMessage } from "../support/memory_bus.ts";
import {
  CLIENT_SEAL,
  KEYS,
  knownClient,
  Pair,
  type PairOptions,
  SERVER_SEAL,
  TestClient,
  TestServer,
} from "../support/shell_pair.ts";
import { pattern, SessionBench } from "./session_bench.ts";

const SEALED: PairOptions = {
  client: { seal: CLIENT_SEAL },
  server: { seal: SERVER_SEAL },
};

/** An ACK of no byte that gives no credit. */
const NOTHING = `0200${"0".repeat(32)}`;

/** Why opens failed so far, by code. */
function refusals(client: TestClient): string[] {
  return [...client.ingress.session.counters.refusedByCode.keys()];
}

Deno.test("nothing of a sealed tunnel is in the clear, and every byte arrives", async () => {
  using bench = new Pair(SEALED);
  const seen: SeenMessage[] = [];
  bench.broker.filter = (message) => {
    seen.push(message);
    return true;
  };
  const { app, target } = await bench.open();
  const bytes = pattern(200_000);
  app.send(new TextEncoder().encode("the secret word"));
  app.send(bytes);
  target.send(bytes);
  app.end();
  target.end();
  await bench.wait(1_000);
  assert.equal(target.bytes.length, bytes.length + 15);
  assert.deepEqual(target.bytes.subarray(15), bytes);
  assert.deepEqual(app.bytes, bytes);
  assert.deepEqual(bench.sizes, [0, 0]);
  assert.ok(seen.length > 20);
  const latin = new TextDecoder("latin1");
  for (const { subject, data, headers } of seen) {
    const text = latin.decode(data) + JSON.stringify(headers);
    assert.ok(!text.includes("secret"), subject);
    assert.ok(!text.includes('"target"') && !text.includes("target:"), text);
    // Opens and their answers are JSON, the ACK that asks what the broker lets
    // through says nothing, and all else is sealed.
    const open = data[0] === 123;
    const nothing = subject.endsWith(".0") && data.toHex() === NOTHING;
    assert.ok(open || nothing || data[0] === 16, `${subject} ${data[0]}`);
  }
});

Deno.test("the log of the server says which client's a sealed tunnel is", async () => {
  using log = captureLog();
  using bench = new Pair(SEALED);
  const { app, target } = await bench.open();
  app.end();
  target.end();
  await bench.wait(1_000);
  const ends = log.records.filter(({ rawMessage }) =>
    rawMessage === "tunnel closed"
  );
  const { remote } = target;
  for (const { properties } of ends) {
    const atServer = properties.peer === remote;
    assert.equal(properties.client, atServer ? "edge" : undefined);
  }
  assert.equal(ends.length, 2);
});

Deno.test("what nobody sealed neither cuts, ends, extends nor feeds a sealed tunnel", async () => {
  using bench = await SessionBench.start(SEALED);
  const { id } = bench;
  const pairId = id.replace(/[^.]*$/, "0");
  const position = { ack: 0, limit: 1 << 20 };
  const frames: Frame[] = [
    ...Object.keys(WIRE_CODES).map((code) => ({
      type: "reset",
      code,
      text: "forged",
    } as Frame)),
    { type: "fin", offset: 1, ...position },
    { type: "data", offset: 1, payload: new Uint8Array([7]), ...position },
    { type: "ack", gap: true, ...position },
    { type: "ping", id: 9, sent: 1, resumed: true, ...position },
    { type: "pong", id: 1, sent: 1 << 20, hold: false, ...position },
  ];
  for (const to of ["client", "server"] as const) {
    for (const frame of frames) {
      for (const at of [id, pairId]) await bench.forge(to, at, frame);
    }
  }
  await bench.wait(15_000);
  await bench.assertWell();
  const { client, server } = bench;
  for (const { counters } of [client.ingress.session, server.egress.session]) {
    assert.ok(counters.rejected >= frames.length, `${counters.rejected}`);
  }
});

Deno.test("what was sealed and is sent again, to any tunnel and either end, does nothing", async () => {
  using bench = new Pair(SEALED);
  const seen: SeenMessage[] = [];
  bench.broker.filter = (message) => {
    seen.push({ ...message, data: message.data.slice() });
    return true;
  };
  const tunnels = [await bench.open(), await bench.open()];
  for (const { app, target } of tunnels) {
    app.send("GET");
    target.send("OK");
  }
  await bench.wait(3_000);
  bench.broker.filter = () => true;
  const enemy = bench.broker.connect();
  const data = seen.filter(({ subject }) => subject.startsWith("p.data"));
  const subjects = new Set(data.map(({ subject }) => subject));
  assert.ok(data.length > 8 && subjects.size >= 4);
  for (const message of seen) {
    const { headers, reply } = message;
    for (const subject of [message.subject, ...subjects]) {
      enemy.publish(subject, {
        byteLength: message.data.length,
        encodeInto: (into, at) => into.set(message.data, at),
      }, { headers, ...(reply !== "" && { reply }) });
    }
  }
  await bench.wait(20_000);
  for (const { app, target } of tunnels) {
    assert.equal(target.text, "GET");
    assert.equal(app.text, "OK");
    app.send("!");
  }
  await bench.wait(100);
  for (const { target } of tunnels) assert.equal(target.text, "GET!");
  assert.equal(bench.server.targets.length, 2, "an open was taken twice");
});

Deno.test("a process that was restarted under its token is found out by word that nobody sealed", async () => {
  using bench = new Pair(SEALED);
  const first = await bench.open();
  await bench.open();
  first.app.send("x");
  await bench.settle();
  // Gone without a word, and back with none of its tunnels.
  bench.client.bus.cut();
  const { token } = bench.client;
  using _again = new TestClient(bench.broker, bench.clock, {
    ...SEALED.client,
    token,
  });
  await bench.wait(3_000);
  assert.equal(bench.server.egress.session.size, 2);
  await bench.wait(12_000);
  assert.equal(bench.server.egress.session.size, 0, "they do not end");
  assert.equal(
    bench.server.egress.session.counters.closedByCode.get("peer-gone"),
    2,
  );
});

Deno.test("a peer that is gone is known by the broker's word, also where tunnels are sealed", async () => {
  using bench = new Pair(SEALED);
  const { target } = await bench.open();
  bench.client[Symbol.dispose]();
  bench.client.bus.cut();
  await bench.wait(13_000);
  assert.ok(target.closed);
  assert.equal(bench.server.egress.session.size, 0);
});

Deno.test("a sealed tunnel survives its own link and the peer's, whatever was lost", async () => {
  using bench = new Pair(SEALED);
  const { app, target } = await bench.open();
  const bytes = pattern(300_000);
  for (const bus of [bench.client.bus, bench.server.bus]) {
    const before = target.bytes.length;
    app.send(bytes);
    let left = 5;
    bench.broker.filter = () => {
      if (--left === 0) queueMicrotask(() => bus.cut());
      return true;
    };
    await bench.wait(50);
    bench.broker.filter = () => true;
    bus.cut();
    await bench.wait(1_000);
    bus.restore();
    await bench.wait(5_000);
    assert.equal(target.bytes.length, before + bytes.length);
    assert.deepEqual(target.bytes.subarray(before), bytes);
  }
  app.end();
  target.end();
  await bench.wait(1_000);
  assert.deepEqual(bench.sizes, [0, 0]);
});

Deno.test("frames that come for a sealed tunnel that has ended are answered under its keys", async () => {
  using bench = new Pair(SEALED);
  const { app, target } = await bench.open();
  app.send("x");
  await bench.settle();
  // The word that it was cut is lost.
  bench.broker.filter = ({ from }) => from !== bench.server.bus;
  target.reset();
  await bench.settle();
  bench.broker.filter = () => true;
  app.send("y");
  await bench.wait(3_000);
  assert.ok(app.closed);
  assert.deepEqual(
    [...bench.client.ingress.session.counters.closedByCode.keys()],
    ["aborted"],
  );
});

Deno.test("who has not the seal of a tunnel that has ended is told nothing under it", async () => {
  using bench = new Pair(SEALED);
  const { app, target } = await bench.open();
  const subjects: string[] = [];
  bench.broker.filter = ({ subject }) => {
    subjects.push(subject);
    return true;
  };
  target.reset();
  await bench.settle();
  assert.ok(app.closed);
  const last = subjects.find((subject) => subject.includes("to_client")) ?? "";
  const to = last.replace("to_client", "to_server");
  for (const subject of [last, to]) {
    subjects.length = 0;
    bench.broker.connect().publish(subject, {
      byteLength: 40,
      encodeInto: (bytes, at) => void bytes.fill(16, at, at + 40),
    });
    await bench.settle();
    assert.deepEqual(subjects, [subject]);
  }
});

Deno.test("a server with a key takes no unsealed open, and a client with one no unsealed answer", async () => {
  for (
    const options of [
      { server: SEALED.server },
      { client: SEALED.client },
    ] as PairOptions[]
  ) {
    using bench = new Pair(options);
    const app = bench.client.listener.connect();
    await bench.wait(10_000);
    assert.ok(app.closed);
    assert.deepEqual(bench.server.targets, []);
    assert.deepEqual(bench.sizes, [0, 0]);
  }
});

Deno.test("a client that its key names has the limits of its entry, and no other pays for it", async () => {
  const edge = knownClient("edge", KEYS.client.publicKey);
  const other = knownClient("other", KEYS.otherClient.publicKey);
  for (
    const [limits, open, words] of [
      [
        { maxTunnels: 2 },
        2,
        /^2 tunnels of edge are open or being opened \(max_tunnels, shared/,
      ],
      [
        { maxOpening: 1 },
        1,
        /^1 opens of edge are under way \(max_opening, shared/,
      ],
      [{ rate: 3 }, 3, /^more than 3 opens in a second of edge \(rate, shared/],
    ] as const
  ) {
    using log = captureLog();
    const dials: PromiseWithResolvers<FakeSocket>[] = [];
    using bench = new Pair({
      ...SEALED,
      server: {
        seal: {
          ...SERVER_SEAL,
          clients: new ClientDirectory([{ ...edge, ...limits }, other]),
        },
        dial: () => {
          const dial = Promise.withResolvers<FakeSocket>();
          dials.push(dial);
          if (!("maxOpening" in limits)) dial.resolve(new FakeSocket());
          return dial.promise;
        },
      },
    });
    using second = new TestClient(bench.broker, bench.clock, {
      token: "client2",
      seal: { ...CLIENT_SEAL, key: KEYS.otherClient },
    });
    for (let i = 0; i < 5; i++) bench.client.listener.connect();
    await bench.settle();
    assert.equal(dials.length, open, String(words));
    second.listener.connect();
    await bench.settle();
    assert.equal(dials.length, open + 1, String(words));
    await bench.wait(10_000);
    const refused = log.records.filter(({ rawMessage }) =>
      rawMessage === "open refused"
    );
    const times = refused.map(({ properties: { count } }) => Number(count ?? 1))
      .reduce((sum, count) => sum + count, 0);
    assert.ok(times >= 5 - open);
    for (const { properties } of refused) {
      assert.equal(properties.client, "edge");
      assert.equal(properties.reason, "limit");
      assert.match(String(properties.why), words);
    }
  }
});

Deno.test("a client that its key names has one rate, under however many tokens it asks", async () => {
  const clock = new FakeClock();
  const broker = new MemoryBroker();
  const RATE = 5;
  using server = new TestServer(broker, clock, {
    seal: SERVER_SEAL,
    maxOpenRate: RATE,
  });
  using clients = new DisposableStack();
  for (let i = 0; i < 4 * RATE; i++) {
    const token = `client${i}`;
    clients.use(new TestClient(broker, clock, { token, seal: CLIENT_SEAL }))
      .listener.connect();
  }
  await broker.settled();
  assert.equal(server.targets.length, RATE);
});

Deno.test("a server refuses a client whose key it does not know before it dials, and tells it so", async () => {
  using log = captureLog();
  using bench = new Pair({
    ...SEALED,
    client: { seal: { ...CLIENT_SEAL, key: KEYS.otherClient } },
  });
  const app = bench.client.listener.connect();
  await bench.wait(1_000);
  assert.ok(app.closed);
  assert.deepEqual(bench.server.targets, []);
  assert.deepEqual(refusals(bench.client), ["denied"]);
  const failed = log.records.find(({ rawMessage }) =>
    rawMessage === "open failed"
  );
  assert.match(
    String(failed?.properties.why),
    /knows no client with the key X/,
  );
});

Deno.test("keys that nobody knows, each made for one open, get no more lines of the log than one client", async () => {
  using log = captureLog();
  using bench = new Pair(SEALED);
  const { ingress, listener } = bench.client;
  const before = log.records.length;
  const KEYS_MADE = 60;
  for (let i = 1; i <= KEYS_MADE; i++) {
    const key = keyPairOf(new Uint8Array(32).fill(100 + i));
    ingress.reload({ ...CLIENT_SEAL, key });
    listener.connect();
    await bench.settle();
  }
  const told = log.records.slice(before)
    .filter(({ rawMessage }) => rawMessage === "open refused");
  const clients = new Set(told.map(({ properties }) => properties.client));
  assert.deepEqual([told.length, clients.size], [20, 20]);
  await bench.wait(10_000);
  const more = log.records.filter(({ rawMessage }) =>
    rawMessage === "more opens refused"
  );
  assert.deepEqual(
    more.map(({ properties: { client, count } }) => [client, count]),
    [["client1", 1], ["client1", KEYS_MADE - 21]],
  );
});

Deno.test("of two server keys a client finds the one that servers have, and keeps to it", async () => {
  const [old, next] = [KEYS.server, KEYS.nextServer];
  using bench = new Pair({
    client: {
      seal: {
        ...CLIENT_SEAL,
        serverKeys: [old.publicKey, next.publicKey],
      },
    },
    server: { seal: { ...SERVER_SEAL, keys: [next] } },
  });
  const app = bench.client.listener.connect();
  await bench.wait(2_000);
  assert.equal(bench.server.targets.length, 1);
  assert.ok(!app.closed);
  // From now on at once.
  await bench.open();
});

Deno.test("a server with two keys takes opens for either", async () => {
  using bench = new Pair({
    ...SEALED,
    server: {
      seal: { ...SERVER_SEAL, keys: [KEYS.nextServer, KEYS.server] },
    },
  });
  await bench.open();
  using other = new TestClient(bench.broker, bench.clock, {
    token: "client2",
    seal: { ...CLIENT_SEAL, serverKeys: [KEYS.nextServer.publicKey] },
  });
  other.listener.connect();
  await bench.settle();
  assert.equal(bench.server.targets.length, 2);
});

Deno.test("a wrong answer does not keep a client from the right one", async () => {
  using bench = new Pair(SEALED);
  using _impostor = new TestServer(bench.broker, bench.clock, {
    token: "impostor",
    queueGroup: "another",
  });
  const { app, target } = await bench.open();
  app.send("x");
  await bench.settle();
  assert.equal(target.text, "x");
});

Deno.test("clocks that differ cost one more request", async () => {
  for (const wallOffset of [0, 10 * 365 * 86_400_000]) {
    using bench = new Pair(SEALED);
    let asked = 0;
    // Both see one clock here: it is turned back once the client has asked.
    const { clock } = bench;
    const right = clock.wallOffset;
    clock.wallOffset = wallOffset;
    bench.broker.filter = ({ subject }) => {
      if (subject.startsWith("proxy.request")) asked++;
      clock.wallOffset = right;
      return true;
    };
    const app = bench.client.listener.connect();
    await bench.wait(500);
    assert.ok(!app.closed, `${wallOffset}`);
    assert.equal(bench.server.targets.length, 1);
    assert.equal(asked, 2);
  }
});

Deno.test("a server that reads its clients anew ends the tunnels that are no longer allowed, and no other", async () => {
  const known = (
    deny: readonly string[],
    ...keys: readonly (keyof typeof KEYS)[]
  ): ServerSeal => ({
    ...SERVER_SEAL,
    clients: new ClientDirectory(
      keys.map((name) =>
        knownClient(name, KEYS[name].publicKey, {
          deny: deny.map(parseTargetRule),
        })
      ),
    ),
  });
  for (
    const [what, seal, why] of [
      ["all stays", known([], "client", "otherClient"), undefined],
      ["another target is denied", known(["10.0.0.8:*"], "client"), undefined],
      [
        "the name is denied",
        known(["target:5"], "client"),
        /target:5 .*denied by target:5/,
      ],
      ["the address is denied", known(["10.0.0.0/24:*"], "client"), /target:5/],
      [
        "the client is gone",
        known([], "otherClient"),
        /no client with the key/,
      ],
    ] as const
  ) {
    const sockets: FakeSocket[] = [];
    using bench = new Pair({
      ...SEALED,
      server: {
        seal: known([], "client"),
        dial: () => {
          sockets.push(new FakeSocket("10.0.0.7:5"));
          return Promise.resolve(sockets[sockets.length - 1] ?? assert.fail());
        },
      },
    });
    const app = bench.client.listener.connect();
    await bench.settle();
    assert.deepEqual(bench.sizes, [1, 1]);
    using log = captureLog();
    bench.server.egress.reload(seal);
    await bench.wait(1_000);
    assert.deepEqual(bench.sizes, why ? [0, 0] : [1, 1], what);
    assert.equal(app.closed, why !== undefined, what);
    const ends = log.records.map(({ properties }) => properties);
    assert.equal(ends.length, why ? 2 : 0, what);
    for (const { reason, why: told } of ends) {
      assert.equal(reason, "denied");
      if (why !== undefined) assert.match(String(told), why);
    }
  }
});

Deno.test("a target that is no longer allowed when it is connected gets no tunnel", async () => {
  const dial = Promise.withResolvers<FakeSocket>();
  using bench = new Pair({
    ...SEALED,
    server: { seal: SERVER_SEAL, dial: () => dial.promise },
  });
  const app = bench.client.listener.connect();
  await bench.settle();
  bench.server.egress.reload({
    ...SERVER_SEAL,
    clients: new ClientDirectory([
      knownClient("edge", KEYS.client.publicKey, {
        deny: [parseTargetRule("10.0.0.7:*")],
      }),
    ]),
  });
  const socket = new FakeSocket("10.0.0.7:5");
  dial.resolve(socket);
  await bench.wait(1_000);
  assert.ok(app.closed && socket.closed);
  assert.deepEqual(bench.sizes, [0, 0]);
  assert.deepEqual(refusals(bench.client), ["denied"]);
});

Deno.test("keys that are read anew count for the next open, at either end, and open tunnels go on", async () => {
  using bench = new Pair(SEALED);
  const { app, target } = await bench.open();
  bench.server.egress.reload({ ...SERVER_SEAL, keys: [KEYS.nextServer] });
  bench.client.ingress.reload({
    ...CLIENT_SEAL,
    serverKeys: [KEYS.nextServer.publicKey],
  });
  const next = await bench.open();
  for (
    const [one, other] of [[app, target], [next.app, next.target]] as const
  ) {
    one.send("still here");
    await bench.wait(100);
    assert.equal(other.text, "still here");
  }
});

Deno.test("a client with a key of its own cannot cut the tunnels of another by taking its token", async () => {
  const clients = new ClientDirectory(
    [KEYS.client, KEYS.otherClient].map(({ publicKey }, at) =>
      knownClient(`client ${at}`, publicKey)
    ),
  );
  using bench = new Pair({
    ...SEALED,
    server: { seal: { ...SERVER_SEAL, clients } },
  });
  const { app, target } = await bench.open();
  using other = new TestClient(bench.broker, bench.clock, {
    token: bench.client.token,
    seal: { ...CLIENT_SEAL, key: KEYS.otherClient },
  });
  other.listener.connect();
  await bench.wait(5_000);
  assert.equal(bench.server.targets.length, 2);
  assert.equal(bench.server.egress.session.peerCount, 2);
  other.ingress.session.shutDown({ code: "shutdown", text: "bye" });
  await bench.wait(20_000);
  app.send("still here");
  await bench.wait(100);
  assert.equal(target.text, "still here");
  assert.equal(bench.server.egress.session.size, 1);
});
