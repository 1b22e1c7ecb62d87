/** The client's part: connections accepted, tunnels opened, servers of either version. */
import assert from "node:assert/strict";
import { binaryCodec } from "../../lib/wire/binary.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import type { IngressOptions } from "../../lib/client/client.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { decodeMessage, encodeMessage } from "../../lib/wire/message.ts";
import { encodeAccept, encodeRefusal } from "../../lib/wire/open.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { MemoryBroker, type SeenMessage } from "../support/memory_bus.ts";
import { Pair, TestClient } from "../support/shell_pair.ts";

const V1_ID = "66840b31340ea8b4";

/** A client, and a server played by the test. */
class Bench implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly bus = this.broker.connect();
  readonly client: TestClient;
  /** Reply subjects of the requests so far. */
  readonly requests: string[] = [];
  /** What they asked for. */
  readonly targets: string[] = [];
  readonly #serving: Disposable;

  constructor(options: Partial<IngressOptions> = {}) {
    this.client = new TestClient(this.broker, this.clock, options);
    this.#serving = this.bus.subscribe("proxy.request", (message) => {
      this.requests.push(message.reply);
      const [host, port] = ["remote_host", "remote_port"].map((name) =>
        message.header(name)
      );
      this.targets.push(`${host}:${port}`);
    });
  }

  /** A connection of an application, of which the server has heard. */
  async connect(): Promise<FakeSocket> {
    const app = this.client.listener.connect();
    await this.broker.settled();
    return app;
  }

  /** Answers request `at` with connection ID `id`. */
  async accept(
    at: number,
    id: string,
    native?: { readonly server: string },
  ): Promise<void> {
    const { headers, body } = encodeAccept({
      id,
      ...(native === undefined
        ? {}
        : { native: { ...native, window: 1 << 16, codec: "binary" } }),
    });
    const subject = this.requests[at] ?? "none";
    this.bus.publish(subject, new JsonMessage(body), { headers });
    await this.broker.settled();
  }

  /** Answers request `at` as a version 2 server, with the ID that was asked for. */
  async open(at: number): Promise<string> {
    const id = `client1.s.${this.number(at)}`;
    await this.accept(at, id, { server: "s" });
    return id;
  }

  /** Every message to `subject` from now on: an array that grows. */
  sentTo(subject: string): readonly string[] {
    const sent: string[] = [];
    this.broker.filter = (message) => {
      if (message.subject === subject) sent.push(subject);
      return true;
    };
    return sent;
  }

  /** The number a version 2 server would find in request `at`. */
  number(at: number): string {
    return this.requests[at]?.split(".").at(-1) ?? "";
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.broker.settled());
  }

  get refused(): Record<string, number> {
    const { counters } = this.client.ingress.session;
    return Object.fromEntries(counters.refusedByCode);
  }

  [Symbol.dispose](): void {
    this.#serving[Symbol.dispose]();
    this.client[Symbol.dispose]();
  }
}

Deno.test("Ingress.open() opens a tunnel for each connection, and those stay when no more come", async () => {
  using pair = new Pair();
  const apps = [1, 2, 3].map(() => pair.client.listener.connect());
  await pair.settle();
  assert.deepEqual(pair.sizes, [3, 3]);
  for (const [at, app] of apps.entries()) app.send(`from ${at}`);
  await pair.settle();
  assert.deepEqual(
    pair.server.targets.map(({ text }) => text),
    ["from 0", "from 1", "from 2"],
  );
  pair.client.listener[Symbol.dispose]();
  await pair.client.serving;
  assert.deepEqual(pair.sizes, [3, 3]);
});

Deno.test("Ingress does not read from a connection that has no tunnel yet", async () => {
  using bench = new Bench();
  const app = await bench.connect();
  app.send("early");
  await bench.broker.settled();
  assert.equal(app.unread, 5);
  await bench.open(0);
  assert.equal(app.unread, 0);
});

Deno.test("Ingress.open() asks for the target of each connection, and lets it greet who came or send them away", async () => {
  using bench = new Bench();
  const { ingress } = bench.client;
  const reasons: string[] = [];
  const [raw, greeted, refused] = [1, 2, 3].map(() => new FakeSocket());
  assert.ok(raw && greeted && refused);
  ingress.open({
    socket: raw,
    target: { host: "db", port: 5432 },
    accept: () => greeted,
  });
  ingress.open({
    socket: refused,
    target: { host: "gone", port: 1 },
    reject: ({ code }) => void reasons.push(code),
  });
  await bench.broker.settled();
  assert.deepEqual(bench.targets, ["db:5432", "gone:1"]);
  await bench.open(0);
  greeted.send("hello");
  await bench.broker.settled();
  assert.equal(greeted.unread, 0);
  assert.equal(raw.closed, false);
  ingress.cancelOpenings({ code: "draining", text: "about to stop" });
  assert.deepEqual(reasons, ["draining"]);
  assert.equal(refused.closed, false, "it was to be told first");
});

Deno.test("Ingress turns connections away beyond its limits, opens under way included", async () => {
  using opening = new Bench({ maxOpening: 2 });
  const three = [
    await opening.connect(),
    await opening.connect(),
    await opening.connect(),
  ];
  assert.deepEqual(three.map(({ closed }) => closed), [false, false, true]);
  assert.deepEqual(opening.refused, { limit: 1 });

  for (const most of ["maxTunnels", "tunnelsByDescriptors"] as const) {
    using tunnels = new Bench({ [most]: 2 });
    const first = await tunnels.connect();
    await tunnels.open(0);
    const second = await tunnels.connect();
    const third = await tunnels.connect();
    assert.deepEqual(
      [first, second, third].map(({ closed }) => closed),
      [false, false, true],
    );
    assert.equal(tunnels.client.ingress.session.size, 1);
    assert.equal(tunnels.client.ingress.opening, 1);
    assert.equal(tunnels.client.ingress.session.allowed, 2);
  }
});

Deno.test("Ingress ends a connection at once, with a reason in the log, when the open fails", async () => {
  using log = captureLog();
  using bench = new Bench();
  const app = await bench.connect();
  const { headers, body } = encodeRefusal(
    { code: "internal", text: "Dial target:5: out of order" },
    "s",
  );
  bench.bus.publish(bench.requests[0] ?? "", new JsonMessage(body), {
    headers,
  });
  await bench.broker.settled();
  assert.ok(app.closed);
  assert.deepEqual(bench.refused, { internal: 1 });
  const failed = log.records.filter(({ rawMessage }) =>
    rawMessage === "open failed"
  );
  assert.equal(failed.length, 1);
  assert.equal(failed[0]?.properties.reason, "internal");
  assert.equal(
    failed[0]?.properties.why,
    "the other end says: Dial target:5: out of order",
  );
});

Deno.test("Ingress takes no tunnel that it did not ask for", async () => {
  using bench = new Bench();
  const ids = (number: string): [string, string][] => [
    [`other.s.${number}`, "s"],
    [`client1.s.${number}x`, "s"],
    [`client1.t.${number}`, "s"],
    [`client1.s.0`, "s"],
    ["client1.s", "s"],
    [V1_ID, "s"],
  ];
  for (const at of ids("").keys()) {
    const app = await bench.connect();
    const [id, server] = ids(bench.number(at))[at] ?? ["", ""];
    await bench.accept(at, id, { server });
    assert.ok(app.closed, id);
  }
  assert.deepEqual(bench.refused, { protocol: 6 });
  assert.equal(bench.client.ingress.session.size, 0);
});

Deno.test("Ingress disowns a tunnel that was opened too late", async () => {
  using bench = new Bench();
  const resets: { subject: string; frame: Frame | undefined }[] = [];
  bench.bus.subscribe("p.data.to_server.>", ({ subject, data }) => {
    resets.push({ subject, frame: binaryCodec.decode(data) });
  });
  await bench.connect();
  bench.client.ingress.cancelOpenings({ code: "draining", text: "stopping" });
  const id = await bench.open(0);
  await bench.accept(0, V1_ID);
  await bench.accept(0, "not.an.id", { server: "s" });
  assert.deepEqual(resets, [{
    subject: `p.data.to_server.${id}`,
    frame: {
      type: "reset",
      code: "unknown-tunnel",
      text: "nobody waits for this tunnel any more: its open took too long",
    },
  }]);
});

Deno.test("Ingress does not disown a tunnel that it has, whatever comes for its open", async () => {
  using bench = new Bench();
  const app = await bench.connect();
  const id = `client1.s.${bench.number(0)}`;
  const sent = bench.sentTo(`p.data.to_server.${id}`);
  for (let i = 0; i < 3; i++) await bench.accept(0, id, { server: "s" });
  assert.equal(bench.client.ingress.session.size, 1);
  assert.deepEqual(sent, []);
  assert.ok(!app.closed);
});

Deno.test("Ingress does not reset a tunnel whose frames overtake the answer to its open", async () => {
  using bench = new Bench();
  const app = await bench.connect();
  const id = `client1.s.${bench.number(0)}`;
  const sent = bench.sentTo(`p.data.to_server.${id}`);
  bench.broker.connect().publish(
    `p.data.to_client.${id}`,
    binaryCodec.encode(id, { type: "fin", offset: 0, ack: 0, limit: 9 }),
  );
  await bench.broker.settled();
  assert.deepEqual(sent, []);
  await bench.accept(0, id, { server: "s" });
  assert.equal(bench.client.ingress.session.size, 1);
  assert.ok(!app.closed);
});

Deno.test("Ingress warns of a shared --client-id once, and then with a count each minute", async () => {
  using log = captureLog();
  using bench = new Bench();
  bench.requests.push("p.data.to_client.client1.open.0");
  const answer = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      await bench.accept(0, "client1.s.0", { server: "s" });
    }
  };
  const counts = (): unknown[] =>
    log.records.filter(({ level }) => level === "warning")
      .map(({ properties }) => properties.answers);
  await answer(100);
  assert.deepEqual(counts(), [1]);
  await bench.wait(60_000);
  await answer(100);
  assert.deepEqual(counts(), [1, 100]);
});

Deno.test("Ingress waits for NATS, and then opens", async () => {
  using bench = new Bench();
  bench.client.bus.cut();
  const app = await bench.connect();
  await bench.wait(10_000);
  assert.equal(bench.requests.length, 0);
  assert.ok(!app.closed);
  bench.client.bus.restore();
  await bench.broker.settled();
  assert.equal(bench.requests.length, 1);
  await bench.open(0);
  assert.equal(bench.client.ingress.session.size, 1);
});

Deno.test("Ingress gives up after the open timeout while NATS is down", async () => {
  using bench = new Bench({ openTimeout: 5_000 });
  bench.client.bus.cut();
  const app = await bench.connect();
  await bench.wait(4_900);
  assert.ok(!app.closed);
  await bench.wait(200);
  assert.ok(app.closed);
  assert.deepEqual(bench.refused, { timeout: 1 });
  // Only the sweep is left, and the wait for more that fails so.
  assert.equal(bench.clock.timers, 2);
});

Deno.test("Ingress speaks version 1 to a server that does, and says so once", async () => {
  using log = captureLog();
  using bench = new Bench();
  const seen: SeenMessage[] = [];
  bench.broker.filter = (message) => {
    if (/to_server/.test(message.subject)) seen.push(message);
    return true;
  };
  using _listening = bench.bus.subscribe(
    `p.data.to_server.${V1_ID}`,
    () => {},
  );
  const before = bench.broker.subscriptions;
  const app = await bench.connect();
  await bench.accept(0, V1_ID);
  assert.equal(bench.broker.subscriptions, before + 1);
  app.send("PING\r\n");
  await bench.broker.settled();
  bench.bus.publish(
    `p.data.to_client.${V1_ID}`,
    new JsonMessage(encodeMessage({
      id: V1_ID,
      reply: "",
      data: new TextEncoder().encode("+PONG\r\n"),
      metadata: {},
    })),
  );
  await bench.broker.settled();
  assert.equal(app.text, "+PONG\r\n");
  app.end();
  await bench.broker.settled();
  assert.deepEqual(
    seen.map(({ data }) => new TextDecoder().decode(data)),
    [
      `{"ID":"${V1_ID}","Reply":"","Data":null,"Metadata":null}`,
      `{"ID":"${V1_ID}","Reply":"","Data":"UElORw0K","Metadata":null}`,
      `{"ID":"${V1_ID}","Reply":"","Data":null,"Metadata":{"type":"close"}}`,
    ],
  );
  await bench.connect();
  await bench.accept(1, "bbddb5ce40c2d3c7");
  const warnings = log.records.filter(({ level }) => level === "warning");
  assert.equal(warnings.length, 1);
  assert.match(String(warnings[0]?.rawMessage), /version 1/);

  // Ten seconds without a byte, and the answer counts as complete.
  await bench.wait(11_000);
  assert.ok(app.ended && app.closed);
  assert.equal(bench.broker.subscriptions, before + 1);
});

Deno.test("Ingress turns version 1 servers away if told to", async () => {
  using bench = new Bench({ refuseV1: true });
  const app = await bench.connect();
  const before = bench.broker.subscriptions;
  await bench.accept(0, V1_ID);
  await bench.wait(1_100);
  assert.ok(app.closed);
  assert.deepEqual(bench.refused, { version: 1 });
  assert.equal(bench.broker.subscriptions, before);
});

Deno.test("Ingress takes none of its own IDs from a version 1 server: tunnels of others use them", async () => {
  using bench = new Bench();
  const one = await bench.connect();
  await bench.accept(0, V1_ID);
  const two = await bench.connect();
  await bench.accept(1, "client1.s.zz");
  assert.ok(two.closed);
  assert.ok(!one.closed);
  assert.deepEqual(bench.refused, { protocol: 1 });
});

Deno.test("Ingress ends a version 1 tunnel whose messages are malformed, and no other", async () => {
  const messages = [
    "",
    "{",
    "[]",
    '{"Data":"*"}',
    '{"Data":[]}',
    '{"Metadata":3}',
    "\0\0",
  ];
  using bench = new Bench();
  const other = await bench.connect();
  await bench.accept(0, "0".repeat(16));
  using _listening = bench.bus.subscribe("p.data.to_server.*", () => {});
  for (const [at, text] of messages.entries()) {
    const app = await bench.connect();
    const id = `${at + 1}`.padStart(16, "0");
    await bench.accept(at + 1, id);
    bench.bus.publish(
      `p.data.to_client.${id}`,
      new JsonMessage(new TextEncoder().encode(text)),
    );
    await bench.broker.settled();
    assert.ok(app.closed, text);
  }
  const { session } = bench.client.ingress;
  assert.equal(session.counters.malformed, messages.length);
  assert.equal(session.counters.closedByCode.get("protocol"), messages.length);
  assert.ok(!other.closed);
  assert.equal(session.size, 1);
});

Deno.test("Ingress sends a version 1 server nothing before NATS says that it listens", async () => {
  using bench = new Bench();
  const app = await bench.connect();
  app.send("first");
  await bench.accept(0, V1_ID);
  await bench.wait(300);
  assert.equal(app.unread, 5);
  const got: string[] = [];
  using _late = bench.bus.subscribe(
    `p.data.to_server.${V1_ID}`,
    ({ data }) => {
      const message = decodeMessage(data);
      if (message.data) got.push(new TextDecoder().decode(message.data));
    },
  );
  await bench.wait(300);
  assert.deepEqual(got, ["first"]);
  app.send("second");
  await bench.broker.settled();
  assert.deepEqual(got, ["first", "second"]);
});

Deno.test("Ingress ends a connection when a version 1 server never listens", async () => {
  using bench = new Bench({ openTimeout: 5_000 });
  const app = await bench.connect();
  await bench.accept(0, V1_ID);
  await bench.wait(4_900);
  assert.ok(!app.closed);
  await bench.wait(200);
  assert.ok(app.closed);
  const { counters } = bench.client.ingress.session;
  assert.equal(counters.closedByCode.get("timeout"), 1);
});
