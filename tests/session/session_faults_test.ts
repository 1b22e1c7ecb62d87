/** Two processes, and links and peers that come and go. */
import assert from "node:assert/strict";
import { binaryCodec } from "../../lib/wire/binary.ts";
import { CODEC_NAMES } from "../../lib/wire/codec.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { pattern, SessionBench } from "./session_bench.ts";
import { Pair } from "../support/shell_pair.ts";

/** First byte of a binary DATA frame. */
const DATA_TYPE = 1;

Deno.test("Session ends the tunnels of a peer that NATS says is gone, after the peer time", async () => {
  using log = captureLog();
  using bench = await SessionBench.start();
  bench.server.bus.connected = false; // killed: nobody hears of it
  await bench.wait(9_000);
  assert.ok(!bench.app.closed);
  await bench.wait(4_000);
  assert.ok(bench.app.closed);
  const { counters } = bench.client.ingress.session;
  assert.deepEqual([...counters.closedByCode], [["peer-gone", 1]]);
  const [lost] = log.records.filter(({ rawMessage }) =>
    rawMessage === "peer lost"
  );
  assert.equal(lost?.properties.process, "server1");
  assert.match(String(lost?.properties.why), /10000 ms/);
  assert.equal(bench.client.ingress.session.peerCount, 0);
});

Deno.test("Session gives a silent peer the resume time", async () => {
  using bench = await SessionBench.start();
  bench.broker.filter = ({ from }) => from !== bench.server.bus;
  await bench.wait(29_000);
  assert.ok(!bench.app.closed);
  await bench.wait(3_000);
  assert.ok(bench.app.closed);
  const { counters } = bench.client.ingress.session;
  assert.deepEqual([...counters.closedByCode], [["peer-gone", 1]]);
});

Deno.test("Session ends the tunnels of a peer that leaves, at once", async () => {
  using bench = await SessionBench.start();
  const more = [await bench.open(), await bench.open()];
  await bench.forge("client", "client1.server1.0", {
    type: "reset",
    code: "shutdown",
    text: "stopped",
  });
  for (const { app } of [bench, ...more]) assert.ok(app.closed);
  assert.equal(bench.client.ingress.session.size, 0);
});

for (const codec of CODEC_NAMES) {
  Deno.test(`Session finds out at once that its peer was started anew, codec ${codec}`, async () => {
    using bench = await SessionBench.start({ client: { codec } });
    bench.server.egress[Symbol.dispose](); // gone without a word
    const id = bench.id;
    // Another process with the same token answers as it must: it knows nothing.
    using _anew = bench.third.subscribe(
      "p.data.to_server.*.server1.>",
      ({ subject }) => {
        if (!subject.includes(id)) return;
        bench.third.publish(
          `p.data.to_client.${id}`,
          binaryCodec.encode(id, {
            type: "reset",
            code: "unknown-tunnel",
            text: "no such tunnel",
          }),
        );
      },
    );
    bench.app.send("anybody there?");
    await bench.settle();
    assert.ok(bench.app.closed);
    const { counters } = bench.client.ingress.session;
    assert.deepEqual([...counters.closedByCode], [["unknown-tunnel", 1]]);
  });
}

Deno.test("Session of a server asks after a tunnel whose client never shows", async () => {
  using bench = new Pair();
  bench.broker.filter = ({ subject }) =>
    !subject.includes(".open.") && !subject.endsWith(".0");
  const app = bench.client.listener.connect();
  await bench.settle();
  assert.equal(bench.server.egress.session.size, 1);
  bench.client.ingress.cancelOpenings({ code: "draining", text: "stopping" });
  assert.ok(app.closed);
  await bench.wait(5_000);
  assert.equal(bench.server.egress.session.size, 0);
  assert.ok(bench.server.targets[0]?.closed);
});

for (const side of ["client", "server"] as const) {
  Deno.test(`Session goes on where it was when the link of the ${side} was cut`, async () => {
    using bench = await SessionBench.start();
    const bytes = pattern(1_500_000);
    bench.app.send(bytes);
    bench.target.send(bytes);
    const { bus } = bench[side];
    for (const down of [0, 50, 1_000, 6_000]) {
      bench.cutAfter(30, bus);
      await bench.wait(500);
      assert.ok(!bus.connected, "all went through before the cut");
      await bench.wait(down);
      bus.restore();
    }
    await bench.finish(bytes);
    const { counters } = bench.client.ingress.session;
    assert.deepEqual([...counters.closedByCode], [["ok", 1]]);
    const other = bench.server.egress.session.counters;
    assert.ok(
      counters.ended.replays + other.ended.replays > 0,
      "nothing was lost",
    );
  });
}

Deno.test("Session finds out at once about a tunnel whose RESET was lost with the link, though the next is open", async () => {
  using bench = await SessionBench.start();
  await bench.wait(1_000); // at rest: neither end waits for anything
  bench.broker.filter = () => false;
  bench.target.reset();
  await bench.settle();
  bench.broker.filter = () => true;
  bench.server.bus.cut();
  assert.ok(bench.target.closed && !bench.app.closed);
  bench.server.bus.restore();
  const next = await bench.open();
  await bench.wait(1_000);
  assert.ok(bench.app.closed);
  assert.ok(!next.app.closed);
});

Deno.test("Session goes on when both links were cut, and one end came meanwhile", async () => {
  using bench = await SessionBench.start();
  const bytes = pattern(300_000);
  bench.client.bus.cut();
  bench.server.bus.cut();
  bench.app.send(bytes);
  bench.target.send(bytes);
  bench.app.end();
  await bench.wait(5_000);
  bench.server.bus.restore();
  await bench.wait(5_000);
  bench.client.bus.restore();
  await bench.finish(bytes);
});

Deno.test("Session loses no byte on a broker that loses messages", async () => {
  using bench = await SessionBench.start();
  const bytes = pattern(400_000);
  let state = 7;
  bench.broker.filter = () => {
    state = Math.imul(state, 48_271) & 0x7fff_ffff;
    return (state >> 8) % 10 !== 0;
  };
  bench.app.send(bytes);
  bench.target.send(bytes);
  await bench.finish(bytes, 600_000);
  const { counters } = bench.server.egress.session;
  assert.ok(counters.ended.replays > 0, "nothing was lost");
});

Deno.test("Session counts what was lost and sent again while the tunnel is open", async () => {
  using bench = await SessionBench.start();
  let lost = 0;
  bench.broker.filter = ({ from, data }) =>
    from !== bench.client.bus || data[0] !== DATA_TYPE || lost++ > 0;
  const expected = bench.target.received + 100_000;
  bench.app.send(pattern(100_000));
  for (let i = 0; i < 100 && bench.target.received < expected; i++) {
    await bench.wait(100);
  }
  assert.equal(bench.target.received, expected);
  const { client, server } = bench;
  assert.equal(client.ingress.session.size, 1);
  assert.ok(client.ingress.session.totals.replays > 0);
  assert.ok(server.egress.session.totals.gaps > 0);
});

Deno.test("Session cuts both applications off when NATS is away for longer than the resume time", async () => {
  using bench = await SessionBench.start();
  bench.client.bus.cut();
  bench.server.bus.cut();
  await bench.wait(29_000);
  assert.ok(!bench.app.closed && !bench.target.closed);
  await bench.wait(2_000);
  assert.ok(bench.app.closed && bench.target.closed);
  for (const { session } of [bench.client.ingress, bench.server.egress]) {
    assert.deepEqual([...session.counters.closedByCode], [["nats-down", 1]]);
  }
});

Deno.test("Session learns of a cut that happened while its link was down", async () => {
  using bench = await SessionBench.start();
  bench.client.bus.cut();
  bench.target.reset(); // the RESET finds nobody
  await bench.wait(3_000);
  assert.ok(!bench.app.closed);
  bench.client.bus.restore();
  await bench.wait(1_000);
  assert.ok(bench.app.closed);
  const { counters } = bench.client.ingress.session;
  assert.deepEqual([...counters.closedByCode], [["aborted", 1]]);
});

Deno.test("Session cuts frames anew for a broker that takes less", async () => {
  using bench = await SessionBench.start();
  const bytes = pattern(200_000);
  bench.client.bus.cut();
  bench.app.send(bytes);
  bench.target.send(bytes);
  bench.client.bus.maxPayload = 2_000;
  await bench.wait(500);
  bench.client.bus.restore();
  let largest = 0;
  bench.broker.filter = ({ from, data }) => {
    if (from === bench.client.bus) largest = Math.max(largest, data.length);
    return true;
  };
  await bench.finish(bytes);
  assert.ok(largest > 1_000 && largest <= 2_000, `${largest} bytes`);
});

/** A version 1 server's tunnels at the client of a pair. */
class V1Bench extends Pair {
  readonly #id = "66840b31340ea8b4";
  /** What the server hears, as text. */
  readonly heard: string[] = [];
  readonly #server = this.broker.connect().subscribe(
    `p.data.to_server.${this.#id}`,
    ({ data }) => void this.heard.push(new TextDecoder().decode(data)),
  );

  openV1(id = this.#id): FakeSocket {
    const socket = new FakeSocket();
    this.client.ingress.session.addV1({
      id,
      number: 5,
      socket,
      target: "db:5",
      rate: 1 << 20,
      listenTimeout: 1_000,
    });
    return socket;
  }

  override [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

Deno.test("Session of a version 1 tunnel ends with the link", async () => {
  using bench = new V1Bench();
  const before = bench.openV1();
  await bench.settle();
  bench.client.bus.cut();
  const during = bench.openV1("another");
  await bench.settle();
  assert.ok(before.closed && during.closed);
  const { counters } = bench.client.ingress.session;
  assert.deepEqual([...counters.closedByCode], [["nats-down", 2]]);
});

Deno.test("Session.shutDown() sends the close of version 1 also while the way to NATS is full", async () => {
  using bench = new V1Bench();
  const app = bench.openV1();
  await bench.settle();
  app.send("said");
  await bench.settle();
  bench.client.bus.congested = true;
  app.send("unsaid");
  await bench.settle();
  const { session } = bench.client.ingress;
  session.shutDown({ code: "shutdown", text: "stopped" });
  await bench.settle();
  assert.ok(app.closed);
  assert.match(bench.heard.at(-1) ?? "", /"Metadata":\{"type":"close"\}/);
});

Deno.test("Session ends the one tunnel that a fault of ours befell, and tells its peer", async () => {
  using log = captureLog();
  using bench = await SessionBench.start();
  const other = await bench.open();
  const { bus } = bench.client;
  const publish = bus.publish.bind(bus);
  let faults = 0;
  bus.publish = (subject, message, options) => {
    if (subject.includes(bench.id) && faults++ === 0) {
      throw new RangeError("a fault of ours");
    }
    return publish(subject, message, options);
  };
  bench.app.send("lost");
  other.app.send("kept");
  await bench.settle();
  assert.ok(bench.app.closed && bench.target.closed);
  assert.equal(other.target.text, "kept");
  assert.ok(!other.app.closed);
  const { session } = bench.client.ingress;
  assert.equal(session.size, 1);
  assert.deepEqual([...session.counters.closedByCode], [["internal", 1]]);
  const faulty = log.records.filter(({ rawMessage }) =>
    rawMessage === "tunnel failed"
  );
  assert.equal(faulty.length, 1);
});

Deno.test("Session goes on after a fault at the end of a tunnel", async () => {
  using log = captureLog();
  using bench = new V1Bench();
  const { bus } = bench.client;
  const subscribe = bus.subscribe.bind(bus);
  bus.subscribe = (...args) => ({
    ...subscribe(...args),
    [Symbol.dispose]: () => {
      throw new TypeError("a fault of ours");
    },
  });
  const faulty = bench.openV1();
  const { app, target } = await bench.open();
  faulty.reset();
  await bench.settle();
  app.send("unharmed");
  await bench.settle();
  assert.equal(target.text, "unharmed");
  assert.ok(faulty.closed);
  assert.equal(bench.client.ingress.session.size, 1);
  assert.ok(
    log.records.some(({ rawMessage }) => rawMessage === "tunnel failed"),
  );
});

Deno.test("Session blames NATS for the end of a tunnel that was opened while it was away", async () => {
  using bench = await SessionBench.start();
  const { session } = bench.client.ingress;
  bench.client.bus.cut();
  const socket = new FakeSocket();
  session.addNative({
    id: { client: "client1", server: "server2", number: 5 },
    socket,
    target: "db:5",
    codec: "binary",
    peerWindow: 1 << 16,
    express: true,
  });
  await bench.wait(31_000);
  assert.ok(socket.closed);
  assert.deepEqual([...session.counters.closedByCode], [["nats-down", 2]]);
});
