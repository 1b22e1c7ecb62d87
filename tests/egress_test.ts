/** The server's part: which opens are served, which are refused, and how. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Address } from "../lib/address.ts";
import type { EgressOptions } from "../lib/egress.ts";
import { TunnelError } from "../lib/errors.ts";
import { JsonMessage } from "../lib/json_codec.ts";
import { decodeMessage } from "../lib/message.ts";
import {
  decodeReply,
  encodeRequest,
  type Headers,
  type OpenReply,
} from "../lib/open.ts";
import { parseId } from "../lib/subjects.ts";
import { captureLog } from "./capture_log.ts";
import { FakeClock } from "./fake_clock.ts";
import { FakeSocket } from "./fake_socket.ts";
import { MemoryBroker } from "./memory_bus.ts";
import { TestServer } from "./shell_pair.ts";

/** A server, and a client played by the test. */
class Bench implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly bus = this.broker.connect();
  readonly server: TestServer;
  readonly dialled: Address[] = [];
  /** Dials under way, for tests that end them. */
  readonly dials: PromiseWithResolvers<FakeSocket>[] = [];
  readonly replies: { subject: string; reply: OpenReply }[] = [];
  /** Times the broker said that no server listens. */
  nobody = 0;

  constructor(options: Partial<EgressOptions> & { hold?: boolean } = {}) {
    const { hold, ...rest } = options;
    this.server = new TestServer(this.broker, this.clock, {
      dial: (target) => {
        this.dialled.push({ host: target.host, port: target.port });
        const dial = Promise.withResolvers<FakeSocket>();
        this.dials.push(dial);
        if (!hold) dial.resolve(new FakeSocket());
        return dial.promise;
      },
      ...rest,
    });
    this.bus.subscribe("reply.>", (message) => {
      if (message.status !== 0) {
        this.nobody++;
        return;
      }
      this.replies.push({
        subject: message.subject,
        reply: decodeReply((name) => message.header(name), message.data),
      });
    });
  }

  /** Sends a request as it is. */
  async send(
    headers: Headers,
    body: Uint8Array,
    reply = "reply.1",
  ): Promise<void> {
    this.bus.publish("proxy.request", new JsonMessage(body), {
      headers,
      ...(reply === "" ? {} : { reply }),
    });
    await this.broker.settled();
  }

  /** Asks for tunnel `number`, as a version 2 client. */
  async ask(
    number: number,
    options: { readonly client?: string; readonly reply?: string } = {},
  ): Promise<void> {
    const { client = "c", reply = `reply.${number}` } = options;
    const { headers, body } = encodeRequest({
      host: "db",
      port: 5,
      native: { client, number, window: 1 << 16, codec: "binary" },
    });
    await this.send(headers, body, reply);
  }

  /** Asks as a version 1 client. */
  async askV1(reply: string): Promise<void> {
    const request = { host: "db", port: 5, native: undefined };
    const { headers, body } = encodeRequest(request);
    await this.send(headers, body, reply);
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.broker.settled());
  }

  /** The answers since the last call, in words. */
  take(): string[] {
    return this.replies.splice(0).map(({ reply }) =>
      reply.type === "refused" ? reply.reason.code : reply.type
    );
  }

  [Symbol.dispose](): void {
    this.server[Symbol.dispose]();
  }
}

Deno.test("Egress dials, and then answers with the ID the client chose", async () => {
  using bench = new Bench({ hold: true });
  await bench.ask(7);
  assert.deepEqual(bench.dialled, [{ host: "db", port: 5 }]);
  assert.deepEqual(bench.replies, []);
  assert.equal(bench.server.egress.opening, 1);
  bench.dials[0]?.resolve(new FakeSocket());
  await bench.broker.settled();
  assert.deepEqual(bench.replies, [{
    subject: "reply.7",
    reply: {
      type: "open",
      id: "c.server1.7",
      server: "server1",
      window: 256 * 1024,
      codec: "binary",
    },
  }]);
  assert.equal(bench.server.egress.opening, 0);
  assert.equal(bench.server.egress.session.size, 1);
});

Deno.test("Egress says what went wrong with a dial, and stays well", async () => {
  using bench = new Bench({ hold: true });
  const failures = [
    new TunnelError("refused", "Dial db:5: connection refused"),
    new TunnelError("no-such-host", "Dial db:5: no such host"),
    new Error("something\nunheard of"),
  ];
  for (const [at, failure] of failures.entries()) {
    await bench.ask(at + 1);
    bench.dials[at]?.reject(failure);
    await bench.broker.settled();
  }
  assert.deepEqual(
    bench.replies.map(({ reply }) => reply.type === "refused" && reply.reason),
    [
      { code: "refused", text: "Dial db:5: connection refused" },
      { code: "no-such-host", text: "Dial db:5: no such host" },
      { code: "internal", text: "something unheard of" },
    ],
  );
  assert.equal(bench.server.egress.opening, 0);
  assert.equal(bench.server.egress.session.size, 0);
  const { refusedByCode } = bench.server.egress.session.counters;
  assert.equal(refusedByCode.get("refused"), 1);
});

Deno.test("Egress says to a version 2 client that it still dials: after 0.5 s, then each second", async () => {
  using bench = new Bench({ hold: true });
  await bench.ask(7);
  await bench.askV1("reply.old");
  await bench.wait(499);
  assert.deepEqual(bench.take(), []);
  await bench.wait(1);
  assert.deepEqual(bench.take(), ["dialing"]);
  await bench.wait(3_000);
  assert.deepEqual(bench.take(), ["dialing", "dialing", "dialing"]);
  bench.dials[0]?.resolve(new FakeSocket());
  bench.dials[1]?.resolve(new FakeSocket());
  await bench.broker.settled();
  assert.deepEqual(bench.take(), ["open", "v1"]);
  await bench.wait(3_000);
  assert.deepEqual(bench.take(), []);
});

Deno.test("Egress answers a version 1 client with an ID of its own, and says so once per client", async () => {
  using log = captureLog();
  using bench = new Bench();
  for (const reply of ["reply.a.1", "reply.a.2", "reply.b.1"]) {
    await bench.askV1(reply);
  }
  const ids = bench.replies.map(({ reply }) =>
    reply.type === "v1" ? parseId(reply.id) : undefined
  );
  assert.equal(new Set(ids.map((id) => id?.client)).size, 3);
  for (const id of ids) assert.equal(id?.server, "server1");
  const warnings = log.records.filter(({ rawMessage }) =>
    String(rawMessage).includes("version 1")
  );
  assert.deepEqual(
    warnings.map(({ level, properties }) => [level, properties.peer]),
    [["warning", "reply.a"], ["warning", "reply.b"]],
  );
});

Deno.test("Egress answers the same request once", async () => {
  using bench = new Bench({ hold: true });
  await bench.ask(7);
  await bench.ask(7);
  assert.equal(bench.dials.length, 1);
  bench.dials[0]?.resolve(new FakeSocket());
  await bench.broker.settled();
  await bench.ask(7);
  assert.equal(bench.dials.length, 1);
  assert.deepEqual(bench.take(), ["open"]);
  assert.equal(bench.server.egress.session.size, 1);
});

Deno.test("Egress keeps its limits, dials under way included", async () => {
  using dials = new Bench({ hold: true, maxOpening: 2 });
  for (const number of [1, 2, 3]) await dials.ask(number);
  assert.deepEqual(dials.take(), ["limit"]);
  assert.equal(dials.dials.length, 2);

  using tunnels = new Bench({ hold: true, maxTunnels: 2 });
  await tunnels.ask(1);
  tunnels.dials[0]?.resolve(new FakeSocket());
  await tunnels.broker.settled();
  await tunnels.ask(2);
  await tunnels.ask(3);
  assert.deepEqual(tunnels.take(), ["open", "limit"]);

  using share = new Bench({ hold: true, maxTunnelsPerClient: 2 });
  await share.ask(1, { client: "greedy" });
  share.dials[0]?.resolve(new FakeSocket());
  await share.broker.settled();
  await share.ask(2, { client: "greedy" });
  await share.ask(3, { client: "greedy" });
  await share.ask(4, { client: "modest" });
  assert.deepEqual(share.take(), ["open", "limit"]);
  assert.equal(share.dials.length, 3);
});

Deno.test("Egress.drain() leaves the queue group, and refuses what still comes", async () => {
  using bench = new Bench();
  await bench.ask(1);
  // On its way when the server leaves the group.
  const { headers, body } = encodeRequest({
    host: "db",
    port: 5,
    native: { client: "c", number: 2, window: 1, codec: "binary" },
  });
  bench.bus.publish("proxy.request", new JsonMessage(body), {
    headers,
    reply: "reply.2",
  });
  bench.server.egress.drain();
  bench.server.egress.drain();
  await bench.broker.settled();
  await bench.ask(3);
  assert.deepEqual(bench.take(), ["open", "draining"]);
  assert.equal(bench.nobody, 1);
  assert.equal(bench.server.egress.session.size, 1);
});

Deno.test("Egress turns version 1 clients away if told to, with words that are no ID", async () => {
  using bench = new Bench({ refuseV1: true });
  await bench.askV1("reply.old");
  await bench.ask(1);
  assert.deepEqual(bench.take(), ["version", "open"]);
});

Deno.test("Egress refuses in words that an old client cannot take for a connection ID", async () => {
  using bench = new Bench({ refuseV1: true, maxTunnels: 1 });
  const texts: string[] = [];
  bench.bus.subscribe("raw.>", ({ data }) => {
    texts.push(new TextDecoder().decode(decodeMessage(data).data ?? undefined));
  });
  await bench.askV1("raw.1");
  await bench.send([["remote_host", "db"]], new Uint8Array(0), "raw.2");
  await bench.send([], new TextEncoder().encode("junk"), "raw.3");
  assert.equal(texts.length, 3);
  for (const text of texts) assert.match(text, / /);
});

Deno.test("Egress gives dials up when it is disposed, and closes what comes of them", async () => {
  const bench = new Bench({ hold: true });
  await bench.ask(1);
  const before = bench.broker.subscriptions;
  bench[Symbol.dispose]();
  assert.equal(bench.broker.subscriptions, before - 2);
  const socket = new FakeSocket();
  bench.dials[0]?.resolve(socket);
  await bench.broker.settled();
  assert.ok(socket.closed);
  assert.deepEqual(bench.take(), []);
  assert.equal(bench.server.egress.session.size, 0);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("Egress refuses every malformed request with a code", async () => {
  using bench = new Bench();
  const good = encodeRequest({
    host: "db",
    port: 5,
    native: { client: "c", number: 1, window: 1, codec: "binary" },
  });
  const change = (name: string, value: string): Headers =>
    good.headers.map(([key, old]) => [key, key === name ? value : old]);
  const headers: Headers[] = [
    [],
    [["remote_host", "db"]],
    [["remote_port", "5"]],
    ...[
      "0",
      "-1",
      "65536",
      "99999999999999999999",
      "http",
      "",
      "5 ",
      "0x5",
      "5.0",
      "+5",
    ]
      .map((port) => change("remote_port", port)),
    ...["", " ", "a b", "a\0b", "a/b", "x".repeat(254), "é\u{202e}", "*", ">"]
      .map((host) => change("remote_host", host)),
    ...["", "1", "0", "-2", "two", "99999", "2.0"]
      .map((version) => change("sproxy-version", version)),
    ...["", "a.b", "*", ">", "x".repeat(33), "c d", "é"]
      .map((client) => change("sproxy-client", client)),
    ...["", "0", "-1", "007", "ZZ", "zzzzzzzzzzzz", "1.5", "*"]
      .map((tunnel) => change("sproxy-tunnel", tunnel)),
    ...["", "-1", "1e9", "9999999999", "99999999999", "NaN"]
      .map((window) => change("sproxy-window", window)),
    ...["", "xml", "BINARY", "binary,json"]
      .map((codec) => change("sproxy-codec", codec)),
  ];
  for (const each of headers) {
    await bench.send(each, good.body);
    assert.deepEqual(bench.take(), ["protocol"], JSON.stringify(each));
  }
  const bodies = [
    "[]",
    "null",
    "7",
    '"x"',
    "{",
    "\xff",
    '{"Data":5}',
    '{"Metadata":7}',
  ];
  for (const body of bodies) {
    await bench.send(good.headers, new TextEncoder().encode(body));
    assert.deepEqual(bench.take(), ["protocol"], body);
  }
  // Nobody to answer to: dropped and counted.
  await bench.send([], good.body, "");
  await bench.send(good.headers, good.body, "");
  assert.deepEqual(bench.take(), []);
  const { counters } = bench.server.egress.session;
  assert.equal(counters.malformed, headers.length + bodies.length + 2);
  assert.deepEqual(bench.dialled, []);
});

Deno.test("Egress takes the target from the body where an old client writes it there", async () => {
  using bench = new Bench();
  await bench.send(
    [],
    new TextEncoder().encode(
      '{"ID":"","Reply":"","Data":null,"Metadata":{"remote_host":"::1","remote_port":"7"}}',
    ),
  );
  assert.deepEqual(bench.dialled, [{ host: "::1", port: 7 }]);
  assert.deepEqual(bench.take(), ["v1"]);
});

Deno.test("Egress answers or drops whatever comes, and no tunnel is disturbed", async () => {
  using bench = new Bench({ maxTunnels: 1 << 20 });
  await bench.ask(1, { client: "victim" });
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom("", "2", "binary", "db", "5", "0", "victim", "1", "c"),
    fc.bigInt().map(String),
    fc.double().map(String),
  ).map((value) => value.replaceAll(/[\r\n\0]/g, " "));
  const name = fc.constantFrom(
    "remote_host",
    "remote_port",
    "sproxy-version",
    "sproxy-client",
    "sproxy-tunnel",
    "sproxy-window",
    "sproxy-codec",
    "sproxy-server",
    "Sproxy-Code",
  );
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((json) => new TextEncoder().encode(json)),
    fc.record({
      ID: fc.anything(),
      Data: fc.anything(),
      Metadata: fc.oneof(fc.anything(), fc.dictionary(name, fc.anything())),
    }).map((value) => new TextEncoder().encode(toJson(value))),
  );
  const reply = fc.constantFrom("", "reply.f", "reply.f.1", "proxy.request");
  let answered = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(name, text), { maxLength: 8 }),
      body,
      reply,
      async (headers, body, reply) => {
        await bench.send(headers, body, reply);
        const { egress } = bench.server;
        assert.equal(egress.opening, 0);
        answered += bench.take().length;
      },
    ),
    { numRuns: 1_000 },
  );
  assert.ok(answered > 100, `only ${answered} answers`);
  const { session } = bench.server.egress;
  assert.ok(session.counters.malformed > 100);
  assert.equal(session.counters.closedByCode.size, 0);
  assert.equal(session.tunnelsWith("victim"), 1);
});

function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_, inner) => typeof inner === "bigint" ? String(inner) : inner,
  ) ?? "";
}
