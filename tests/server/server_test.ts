/** The server's part: which opens are served, which are refused, and how. */
import assert from "node:assert/strict";
import { TunnelError } from "../../lib/base/errors.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { decodeMessage } from "../../lib/wire/message.ts";
import { encodeRequest } from "../../lib/wire/open.ts";
import { parseId } from "../../lib/wire/subjects.ts";
import { captureLog } from "../support/capture_log.ts";
import { EgressBench } from "./server_bench.ts";

Deno.test("Egress dials, and then answers with the ID the client chose", async () => {
  using bench = new EgressBench({ hold: true });
  await bench.ask(7);
  assert.deepEqual(bench.dialled, [{ host: "db", port: 5 }]);
  assert.deepEqual(bench.replies, []);
  assert.equal(bench.server.egress.opening, 1);
  await bench.connect(0);
  assert.deepEqual(bench.replies, [{
    subject: "p.data.to_client.c.open.7",
    reply: {
      type: "open",
      id: "c.server1.7",
      server: "server1",
      window: 256 * 1024,
      codec: "binary",
      express: true,
    },
  }]);
  assert.equal(bench.server.egress.opening, 0);
  assert.equal(bench.server.egress.session.size, 1);
});

Deno.test("Egress says what went wrong with a dial, and stays well", async () => {
  using bench = new EgressBench({ hold: true });
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

Deno.test("Egress answers version 1 clients in their inboxes, wherever those are, and nowhere else", async () => {
  using bench = new EgressBench({ inboxPrefix: "_mine.x" });
  bench.bus.subscribe("_mine.>", (message) => {
    answered.push(message.subject);
  });
  const answered: string[] = [];
  for (const reply of ["_mine.x.1", "_mine.xy.1", "_mine.x", "_INBOX.old.1"]) {
    await bench.askV1(reply);
  }
  assert.deepEqual(answered, ["_mine.x.1"]);
  assert.deepEqual(bench.take(), []);
});

Deno.test("Egress says to a version 2 client that it still dials: after 0.5 s, then each second", async () => {
  using bench = new EgressBench({ hold: true });
  await bench.ask(7);
  await bench.askV1("_INBOX.old.1");
  await bench.wait(499);
  assert.deepEqual(bench.take(), []);
  await bench.wait(1);
  assert.deepEqual(bench.take(), ["dialing"]);
  await bench.wait(3_000);
  assert.deepEqual(bench.take(), ["dialing", "dialing", "dialing"]);
  await bench.connect(0);
  await bench.connect(1);
  assert.deepEqual(bench.take(), ["open", "v1"]);
  await bench.wait(3_000);
  assert.deepEqual(bench.take(), []);
});

Deno.test("Egress answers a version 1 client with an ID of its own, and says so once per client", async () => {
  using log = captureLog();
  using bench = new EgressBench();
  for (const reply of ["_INBOX.a.1", "_INBOX.a.2", "_INBOX.b.1"]) {
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
    warnings.map(({ level, properties }) => [level, properties.inbox]),
    [["warning", "_INBOX.a"], ["warning", "_INBOX.b"]],
  );
});

Deno.test("Egress speaks version 1 to the letter, and waits until the client listens", async () => {
  using bench = new EgressBench({ hold: true });
  const payloads: string[] = [];
  bench.bus.subscribe("_INBOX.raw.1", ({ data }) => {
    payloads.push(new TextDecoder().decode(data));
  });
  await bench.askV1("_INBOX.raw.1");
  const target = await bench.connect(0);
  const reply = decodeMessage(new TextEncoder().encode(payloads[0]));
  const id = new TextDecoder().decode(reply.data ?? undefined);
  assert.equal(
    payloads.pop(),
    `{"ID":"","Reply":"","Data":"${btoa(id)}","Metadata":{}}`,
  );
  target.send("220 hello\r\n");
  await bench.wait(300);
  assert.equal(target.unread, 11);
  const listening = bench.bus.subscribe(
    `p.data.to_client.${id}`,
    ({ data }) => {
      payloads.push(new TextDecoder().decode(data));
    },
  );
  await bench.wait(300);
  assert.deepEqual(payloads, [
    `{"ID":"${id}","Reply":"","Data":null,"Metadata":{}}`,
    `{"ID":"${id}","Reply":"","Data":"${btoa("220 hello\r\n")}","Metadata":{}}`,
  ]);
  const say = async (message: string): Promise<void> => {
    bench.bus.publish(
      `p.data.to_server.${id}`,
      new JsonMessage(new TextEncoder().encode(message)),
    );
    await bench.broker.settled();
  };
  await say(
    `{"ID":"${id}","Reply":"","Data":"${btoa("QUIT")}","Metadata":null}`,
  );
  assert.equal(target.text, "QUIT");
  // As the original does it: it unsubscribes, and then says that it closes.
  listening[Symbol.dispose]();
  target.send("bye");
  await bench.wait(500);
  assert.ok(!target.ended && !target.closed);
  await say(
    `{"ID":"${id}","Reply":"","Data":null,"Metadata":{"type":"close"}}`,
  );
  assert.ok(target.ended && !target.closed);
  target.end();
  await bench.broker.settled();
  assert.ok(target.closed);
  const { session } = bench.server.egress;
  assert.deepEqual([...session.counters.closedByCode], [["ok", 1]]);
  assert.equal(session.size, 0);
});

Deno.test("Egress closes a target that goes on for 30 s after its version 1 client has closed", async () => {
  using bench = new EgressBench({ hold: true });
  await bench.askV1("_INBOX.old.1");
  const target = await bench.connect(0);
  const [answer] = bench.replies;
  const id = answer?.reply.type === "v1" ? answer.reply.id : "";
  bench.bus.publish(
    `p.data.to_server.${id}`,
    new JsonMessage(new TextEncoder().encode('{"Metadata":{"type":"close"}}')),
  );
  for (let second = 0; second < 29; second++) {
    target.send("on and on");
    await bench.wait(1_000);
  }
  assert.equal(target.unread, 0);
  assert.ok(target.ended && !target.closed);
  await bench.wait(2_000);
  assert.ok(target.closed);
});

Deno.test("Egress answers the same request once", async () => {
  using bench = new EgressBench({ hold: true });
  await bench.ask(7);
  await bench.ask(7);
  assert.equal(bench.dials.length, 1);
  await bench.connect(0);
  await bench.ask(7);
  assert.equal(bench.dials.length, 1);
  assert.deepEqual(bench.take(), ["open"]);
  assert.equal(bench.server.egress.session.size, 1);
});

Deno.test("Egress closes a target that was dialled while NATS went down: nobody was told of it", async () => {
  using log = captureLog();
  using bench = new EgressBench({ hold: true });
  await bench.ask(1);
  await bench.askV1("_INBOX.old.1");
  bench.server.bus.cut();
  const targets = [await bench.connect(0), await bench.connect(1)];
  assert.deepEqual(targets.map(({ closed }) => closed), [true, true]);
  const { session } = bench.server.egress;
  assert.equal(session.size, 0);
  assert.equal(session.counters.refusedByCode.get("nats-down"), 2);
  assert.equal(
    log.records.filter(({ rawMessage }) => rawMessage === "open refused")
      .length,
    2,
  );
  // What the client asks for next is served as ever.
  bench.server.bus.restore();
  await bench.ask(2);
  await bench.connect(2);
  assert.deepEqual(bench.take(), ["open"]);
  assert.equal(session.size, 1);
});

Deno.test("Egress keeps its limits, dials under way included", async () => {
  using dials = new EgressBench({ hold: true, maxOpening: 2 });
  for (const number of [1, 2, 3]) await dials.ask(number);
  assert.deepEqual(dials.take(), ["limit"]);
  assert.equal(dials.dials.length, 2);

  using tunnels = new EgressBench({ hold: true, maxTunnels: 2 });
  await tunnels.ask(1);
  await tunnels.connect(0);
  await tunnels.ask(2);
  await tunnels.ask(3);
  assert.deepEqual(tunnels.take(), ["open", "limit"]);

  // A dial may take two descriptors, a tunnel takes one.
  using files = new EgressBench({ hold: true, tunnelsByDescriptors: 3 });
  for (const number of [1, 2, 3]) await files.ask(number);
  assert.deepEqual(files.take(), ["limit"]);
  for (const dial of [0, 1]) await files.connect(dial);
  for (const number of [4, 5]) await files.ask(number);
  await files.connect(2);
  assert.deepEqual(files.take(), ["open", "open", "limit", "open"]);
  assert.equal(files.server.egress.session.allowed, 3);

  using share = new EgressBench({ hold: true, maxTunnelsPerClient: 2 });
  await share.ask(1, { client: "greedy" });
  await share.connect(0);
  await share.ask(2, { client: "greedy" });
  await share.ask(3, { client: "greedy" });
  await share.ask(4, { client: "modest" });
  assert.deepEqual(share.take(), ["open", "limit"]);
  assert.equal(share.dials.length, 3);
});

Deno.test("Egress answers where the asker listens, and nowhere else", async () => {
  using bench = new EgressBench({ hold: true });
  const elsewhere: string[] = [];
  for (const subject of ["$JS.>", "reply.>", "p.data.to_client.victim.>"]) {
    bench.bus.subscribe(
      subject,
      (message) => void elsewhere.push(message.subject),
    );
  }
  const replies = [
    "$JS.API.STREAM.PURGE.EVENTS",
    "reply.1",
    "p.data.to_client.victim.open.7",
    "p.data.to_client.victim.s.7",
  ];
  for (const [at, reply] of replies.entries()) {
    await bench.ask(at + 1, { reply });
    await bench.ask(at + 11, { reply, subject: "proxy.request" });
    await bench.askV1(reply);
    await bench.send([["remote_host", "db"]], new Uint8Array(0), { reply });
  }
  assert.equal(bench.dialled.length, 2 * replies.length);
  for (const at of bench.dials.keys()) await bench.connect(at);
  assert.deepEqual(elsewhere, []);
  assert.equal(bench.replies.length, 2 * replies.length);
  for (const { subject } of bench.replies) {
    assert.match(subject, /^p\.data\.to_client\.c\.open\./);
  }
});

Deno.test("Egress takes no open that comes on the subject of another client", async () => {
  using bench = new EgressBench();
  await bench.ask(1, { client: "victim", subject: "proxy.request.evil" });
  await bench.send(
    [["remote_host", "db"], ["remote_port", "5"]],
    new Uint8Array(0),
    {
      subject: "proxy.request.evil",
    },
  );
  assert.deepEqual(bench.dialled, []);
  assert.deepEqual(bench.replies, []);
  assert.equal(bench.server.egress.session.counters.malformed, 2);
});

Deno.test("Egress counts all that ask on the subject of all as one client, whatever they are called", async () => {
  using bench = new EgressBench({ hold: true, maxTunnelsPerClient: 3 });
  const subject = "proxy.request";
  for (const [at, client] of ["a", "b"].entries()) {
    await bench.ask(at + 1, { client, subject });
    await bench.connect(at);
  }
  await bench.askV1("_INBOX.old.1");
  await bench.connect(2);
  assert.deepEqual(bench.take(), ["open", "open", "v1"]);
  await bench.ask(3, { client: "c", subject });
  await bench.askV1("_INBOX.other.1");
  assert.deepEqual(bench.take(), ["limit", "limit"]);
  await bench.ask(4, { client: "d" });
  await bench.connect(3);
  assert.deepEqual(bench.take(), ["open"]);
});

Deno.test("Egress gives up a dial of whoever has most of them for a client that has fewer", async () => {
  using bench = new EgressBench({ hold: true, maxOpening: 3 });
  for (const number of [1, 2, 3]) await bench.ask(number, { client: "greedy" });
  await bench.ask(4, { client: "greedy" });
  assert.deepEqual(bench.take(), ["limit"]);
  await bench.ask(5, { client: "modest" });
  assert.equal(bench.dials.length, 4);
  // The target of the one given up answers after all: nobody wants it.
  const late = await bench.connect(0);
  assert.ok(late.closed);
  assert.deepEqual(bench.take(), ["limit"]);
  await bench.connect(3);
  await bench.connect(1);
  assert.deepEqual(bench.take(), ["open", "open"]);
  assert.equal(bench.server.egress.opening, 1);
});

Deno.test("Egress looks at so many opens a second of one client, before any work, and at those of others", async () => {
  using bench = new EgressBench({ hold: true, maxOpenRate: 3 });
  for (let number = 1; number <= 10; number++) {
    await bench.ask(number, { client: "loud" });
  }
  assert.deepEqual(bench.take(), ["limit", "limit", "limit"]);
  await bench.ask(1, { client: "quiet" });
  assert.equal(bench.dials.length, 4);
  await bench.wait(1_000);
  await bench.ask(11, { client: "loud" });
  assert.equal(bench.dials.length, 5);
});

Deno.test("Egress.drain() leaves the queue group, and refuses what still comes", async () => {
  using bench = new EgressBench();
  await bench.ask(1);
  // On its way when the server leaves the group.
  const { headers, body } = encodeRequest({
    target: { host: "db", port: 5 },
    native: { client: "c", number: 2, window: 1, codec: "binary" },
  });
  bench.bus.publish("proxy.request", new JsonMessage(body), {
    headers,
    reply: "p.data.to_client.c.open.2",
  });
  bench.server.egress.drain();
  bench.server.egress.drain();
  await bench.broker.settled();
  await bench.ask(3);
  assert.deepEqual(bench.take(), ["open", "draining"]);
  assert.equal(bench.nobody, 1);
  assert.equal(bench.server.egress.session.size, 1);
});

Deno.test("Egress turns version 1 clients away if told to, without a word: their inbox may be another's", async () => {
  using bench = new EgressBench({ refuseV1: true });
  await bench.askV1("_INBOX.old.1");
  await bench.send([], new TextEncoder().encode("junk"));
  await bench.ask(1);
  assert.deepEqual(bench.take(), ["open"]);
  const { refusedByCode } = bench.server.egress.session.counters;
  assert.deepEqual([...refusedByCode], [["version", 2]]);
});

Deno.test("Egress refuses in words that an old client cannot take for a connection ID", async () => {
  using bench = new EgressBench({ maxTunnels: 1 });
  const texts: string[] = [];
  bench.bus.subscribe("_INBOX.raw.>", ({ data }) => {
    texts.push(new TextDecoder().decode(decodeMessage(data).data ?? undefined));
  });
  await bench.ask(1);
  await bench.askV1("_INBOX.raw.1");
  await bench.send([["remote_host", "db"]], new Uint8Array(0), {
    reply: "_INBOX.raw.2",
  });
  await bench.send([], new TextEncoder().encode("junk"), {
    reply: "_INBOX.raw.3",
  });
  assert.equal(texts.length, 3);
  for (const text of texts) assert.match(text, / /);
});

Deno.test("Egress gives dials up when it is disposed, and closes what comes of them", async () => {
  const bench = new EgressBench({ hold: true });
  await bench.ask(1);
  const before = bench.broker.subscriptions;
  bench[Symbol.dispose]();
  assert.equal(bench.broker.subscriptions, before - 3);
  const socket = await bench.connect(0);
  assert.ok(socket.closed);
  assert.deepEqual(bench.take(), ["draining"]);
  assert.equal(bench.server.egress.session.size, 0);
  assert.equal(bench.clock.timers, 0);
});

Deno.test("Egress dials for no version 1 client while inboxes are refused, and goes on for version 2", async () => {
  using bench = new EgressBench({ hold: true });
  const { bus, egress } = bench.server;
  bus.forbidden = (subject) => subject.startsWith("_INBOX.");
  await bench.askV1("_INBOX.old.1");
  await bench.connect(0);
  await bench.askV1("_INBOX.old.2");
  assert.equal(bench.dialled.length, 1);
  assert.equal(egress.notReadyReason, undefined);
  await bench.ask(7);
  assert.equal(bench.dialled.length, 2);
  bus.forbidden = () => false;
  await bench.wait(1_000);
  await bench.askV1("_INBOX.old.3");
  assert.equal(bench.dialled.length, 3);
});

Deno.test("Egress leaves the queue group while it may answer nobody, and is back when it may", async () => {
  using bench = new EgressBench({ hold: true });
  const { bus, egress } = bench.server;
  bus.forbidden = (subject) => subject.startsWith("p.data.to_client.");
  const before = bench.broker.subscriptions;
  bus.deny("p.data.to_client.c.open.1");
  await bench.broker.settled();
  assert.equal(bench.broker.subscriptions, before - 2);
  assert.match(egress.notReadyReason ?? "", /p\.data\.to_client\.>/);
  await bench.ask(7);
  assert.equal(bench.dialled.length, 0);
  bus.forbidden = () => false;
  await bench.wait(1_000);
  assert.equal(bench.broker.subscriptions, before);
  assert.equal(egress.notReadyReason, undefined);
  await bench.ask(8);
  assert.equal(bench.dialled.length, 1);
});
