/** Two processes and everything that goes wrong between them. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { binaryCodec } from "../lib/binary_codec.ts";
import type { Encodable } from "../lib/bus.ts";
import type { Frame } from "../lib/frame.ts";
import { JsonMessage } from "../lib/json_codec.ts";
import { formatId, parseId } from "../lib/subjects.ts";
import { captureLog } from "./capture_log.ts";
import { FakeSocket } from "./fake_socket.ts";
import type { MemoryBus } from "./memory_bus.ts";
import { Pair, type PairOptions, TestClient } from "./shell_pair.ts";

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes that say where they are, so that a shift is seen. */
function pattern(length: number): Uint8Array {
  return new Uint8Array(length).map((_, at) => at * 31 + (at >> 8) * 7 & 0xff);
}

/** A pair with one tunnel, and a third connection for the test to speak on. */
class Bench extends Pair {
  readonly third: MemoryBus = this.broker.connect();
  /** ID of the tunnel. */
  id = "";
  app: FakeSocket = new FakeSocket();
  target: FakeSocket = new FakeSocket();

  static async start(options: PairOptions = {}): Promise<Bench> {
    const bench = new Bench(options);
    const ids = new Set<string>();
    bench.broker.filter = ({ subject }) => {
      const id = subject.split(".").slice(3).join(".");
      if (id.startsWith("client1.server1.")) ids.add(id);
      return true;
    };
    const { app, target } = await bench.open();
    app.send("a");
    target.send("b");
    await bench.settle();
    bench.app = app;
    bench.target = target;
    bench.id = [...ids].find((id) => !id.endsWith(".0")) ?? "";
    assert.ok(parseId(bench.id), "the tunnel's ID was not seen");
    bench.broker.filter = () => true;
    return bench;
  }

  /** Publishes to the server, or the client, as a third party could. */
  async forge(
    to: "server" | "client",
    id: string,
    message: Encodable | Frame,
  ): Promise<void> {
    const encoded = "type" in message
      ? binaryCodec.encode(id, message)
      : message;
    this.third.publish(`p.data.to_${to}.${id}`, encoded);
    await this.settle();
  }

  /** The frames that `act` makes the server send to connection `id`. */
  async answers(id: string, act: () => Promise<void>): Promise<Frame[]> {
    const frames: Frame[] = [];
    using _listening = this.third.subscribe(
      `p.data.to_client.${id}`,
      ({ data }) => {
        const frame = binaryCodec.decode(data);
        if (frame) frames.push(frame);
      },
    );
    await act();
    await this.settle();
    return frames;
  }

  /** Cuts the link of `bus` when `count` more messages went, whoever sent them. */
  cutAfter(count: number, bus: MemoryBus): void {
    let left = count;
    this.broker.filter = () => {
      if (--left === 0) queueMicrotask(() => bus.cut());
      return true;
    };
  }

  /** Whether bytes still go both ways, unharmed. */
  async assertWell(): Promise<void> {
    const [up, down] = [this.target.text, this.app.text];
    this.app.send("ping");
    this.target.send("pong");
    await this.settle();
    assert.equal(this.target.text, up + "ping");
    assert.equal(this.app.text, down + "pong");
  }

  /** Lets time pass until both have all bytes and both ends. */
  async finish(bytes: Uint8Array, limit = 120_000): Promise<void> {
    this.app.end();
    this.target.end();
    for (
      let ms = 0;
      ms < limit && !(this.app.closed && this.target.closed);
      ms += 100
    ) {
      await this.wait(100);
    }
    const up = this.target.bytes.subarray(1);
    const down = this.app.bytes.subarray(1);
    assert.equal(up.length, bytes.length);
    assert.equal(hash(up), hash(bytes));
    assert.equal(hash(down), hash(bytes));
    assert.ok(this.app.ended && this.target.ended);
  }
}

const DATA: Frame = {
  type: "data",
  offset: 0,
  ack: 0,
  limit: 1_000,
  payload: new Uint8Array([1]),
};

Deno.test("Session answers frames for a tunnel it never knew with RESET", async () => {
  using bench = await Bench.start();
  const id = "client1.server1.zz";
  for (const frame of [DATA, { ...DATA, type: "fin" }] as Frame[]) {
    const answers = await bench.answers(
      id,
      () => bench.forge("server", id, frame),
    );
    assert.deepEqual(
      answers.map((answer) => answer.type === "reset" && answer.code),
      ["unknown-tunnel"],
    );
  }
  // A RESET is not answered: two processes would go on for ever.
  const reset: Frame = { type: "reset", code: "aborted", text: "" };
  assert.deepEqual(
    await bench.answers(id, () => bench.forge("server", id, reset)),
    [],
  );
  assert.equal(bench.server.egress.session.counters.unknownTunnel, 2);
  await bench.assertWell();
});

Deno.test("Session remembers how a tunnel ended, for frames that come late", async () => {
  using clean = await Bench.start();
  clean.app.end();
  clean.target.end();
  await clean.wait(100);
  assert.deepEqual(clean.sizes, [0, 0]);
  const late = await clean.answers(
    clean.id,
    () => clean.forge("server", clean.id, DATA),
  );
  assert.deepEqual(late, [{ type: "ack", ack: 2, limit: 2, gap: false }]);

  using cut = await Bench.start();
  cut.target.reset();
  await cut.wait(100);
  const answers = await cut.answers(
    cut.id,
    () => cut.forge("server", cut.id, DATA),
  );
  assert.equal(answers.length, 1);
  assert.ok(answers[0]?.type === "reset" && answers[0].code === "aborted");
});

Deno.test("Session does not let itself be used to amplify a flood", async () => {
  using bench = await Bench.start();
  let answers = 0;
  bench.broker.filter = ({ from }) => {
    if (from === bench.server.bus) answers++;
    return true;
  };
  for (let i = 1; i <= 10_000; i++) {
    const id = formatId({ client: "client1", server: "server1", number: i });
    bench.third.publish(`p.data.to_server.${id}`, binaryCodec.encode(id, DATA));
  }
  await bench.settle();
  assert.ok(answers >= 4_000 && answers <= 4_200, `${answers} answers`);
  await bench.assertWell();
});

Deno.test("Session keeps clients apart: no frame of one reaches a tunnel of another", async () => {
  using bench = await Bench.start();
  using other = new TestClient(bench.broker, bench.clock, { token: "client2" });
  other.listener.connect();
  await bench.settle();
  assert.equal(bench.server.egress.session.size, 2);
  const { number = 0 } = parseId(bench.id) ?? {};
  const id = formatId({ client: "client2", server: "server1", number });
  for (
    const frame of [DATA, {
      type: "reset",
      code: "aborted",
      text: "",
    }] as Frame[]
  ) {
    await bench.forge("server", id, frame);
  }
  assert.equal(bench.server.egress.session.size, 2);
  // Nor does what is said of one pair of processes touch another.
  await bench.forge("server", "client2.server1.0", {
    type: "reset",
    code: "shutdown",
    text: "",
  });
  assert.equal(bench.server.egress.session.size, 1);
  await bench.assertWell();
});

const LIES: Record<string, Frame | Uint8Array> = {
  "nothing": new Uint8Array(0),
  "a type without its fields": new Uint8Array([1, 0]),
  "JSON": new TextEncoder().encode('{"ID":"x"}'),
  "data beyond the credit": { ...DATA, offset: 1 << 28 } as Frame,
  "an ack of bytes never sent": {
    type: "ack",
    ack: 1 << 20,
    limit: 1 << 21,
    gap: false,
  },
  "an end before what has arrived": {
    type: "fin",
    offset: 0,
    ack: 0,
    limit: 1_000,
  },
  "an end beyond the credit": {
    type: "fin",
    offset: 1 << 28,
    ack: 0,
    limit: 1_000,
  },
};

for (const [lie, message] of Object.entries(LIES)) {
  Deno.test(`Session ends the one tunnel whose peer says ${lie}`, async () => {
    using bench = await Bench.start();
    const other = await bench.open();
    const encoded = message instanceof Uint8Array
      ? new JsonMessage(message)
      : message;
    await bench.forge("server", bench.id, encoded);
    await bench.wait(100);
    assert.ok(bench.target.closed && bench.app.closed);
    const { counters } = bench.server.egress.session;
    assert.deepEqual([...counters.closedByCode], [["protocol", 1]]);
    const { closedByCode } = bench.client.ingress.session.counters;
    assert.deepEqual([...closedByCode], [["protocol", 1]]);
    other.app.send("unharmed");
    await bench.settle();
    assert.equal(other.target.text, "unharmed");
  });
}

Deno.test("Session skips frames of a later version", async () => {
  using bench = await Bench.start();
  for (const type of [7, 31]) {
    await bench.forge(
      "server",
      bench.id,
      new JsonMessage(new Uint8Array([type, 1, 2, 3])),
    );
    await bench.forge(
      "client",
      bench.id,
      new JsonMessage(new Uint8Array([type])),
    );
  }
  await bench.assertWell();
});

Deno.test("Session lives through garbage on every subject", async () => {
  using bench = await Bench.start();
  const token = fc.constantFrom(
    "client1",
    "server1",
    "open",
    "x",
    "0",
    "1",
    "zz",
    "$",
    "é",
  );
  const id = fc.array(token, { minLength: 1, maxLength: 4 }).map((parts) =>
    parts.join(".")
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.tuple(fc.integer({ min: 0, max: 8 }), fc.uint8Array({ maxLength: 40 }))
      .map(([type, rest]) => new Uint8Array([type, ...rest])),
    fc.json().map((json) => new TextEncoder().encode(json)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<"client" | "server">("client", "server"),
      id,
      bytes,
      async (to, id, data) => {
        // What ends the tunnel, or all of this peer, has tests of its own.
        if (id === bench.id || id === "client1.server1.0") return;
        await bench.forge(to, id, new JsonMessage(data));
      },
    ),
    { numRuns: 2_000 },
  );
  assert.deepEqual(bench.sizes, [1, 1]);
  await bench.assertWell();
  for (const { session } of [bench.server.egress, bench.client.ingress]) {
    assert.ok(session.counters.malformed > 0);
  }
});

Deno.test("Session ends the tunnels of a peer that NATS says is gone, after the peer time", async () => {
  using log = captureLog();
  using bench = await Bench.start();
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
  assert.equal(lost?.properties.peer, "server1");
  assert.match(String(lost?.properties.why), /10000 ms/);
  assert.equal(bench.client.ingress.session.peerCount, 0);
});

Deno.test("Session gives a silent peer the resume time", async () => {
  using bench = await Bench.start();
  bench.broker.filter = ({ from }) => from !== bench.server.bus;
  await bench.wait(29_000);
  assert.ok(!bench.app.closed);
  await bench.wait(3_000);
  assert.ok(bench.app.closed);
  const { counters } = bench.client.ingress.session;
  assert.deepEqual([...counters.closedByCode], [["peer-gone", 1]]);
});

Deno.test("Session ends the tunnels of a peer that leaves, at once", async () => {
  using bench = await Bench.start();
  const more = [await bench.open(), await bench.open()];
  await bench.forge("client", "client1.server1.0", {
    type: "reset",
    code: "shutdown",
    text: "stopped",
  });
  for (const { app } of [bench, ...more]) assert.ok(app.closed);
  assert.equal(bench.client.ingress.session.size, 0);
});

Deno.test("Session finds out at once that its peer was started anew", async () => {
  using bench = await Bench.start();
  bench.server.egress[Symbol.dispose](); // gone without a word
  const id = bench.id;
  // Another process with the same token answers as it must: it knows nothing.
  using _anew = bench.third.subscribe(
    "p.data.to_server.*.server1.*",
    ({ subject }) => {
      if (!subject.endsWith(id)) return;
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

Deno.test("Session of a server asks after a tunnel whose client never shows", async () => {
  using bench = new Pair();
  bench.broker.filter = ({ subject }) => !subject.includes(".open.");
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
    using bench = await Bench.start();
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
    assert.ok(counters.replays + other.replays > 0, "nothing was lost");
  });
}

Deno.test("Session goes on when both links were cut, and one end came meanwhile", async () => {
  using bench = await Bench.start();
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
  using bench = await Bench.start();
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
  assert.ok(counters.replays > 0, "nothing was lost");
});

Deno.test("Session cuts both applications off when NATS is away for longer than the resume time", async () => {
  using bench = await Bench.start();
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
  using bench = await Bench.start();
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
  using bench = await Bench.start();
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

Deno.test("Session of a version 1 tunnel ends with the link", async () => {
  using pair = new Pair();
  const id = "66840b31340ea8b4";
  using _v1 = pair.broker.connect().subscribe(
    `p.data.to_server.${id}`,
    () => {},
  );
  const { session } = pair.client.ingress;
  const make = (): FakeSocket => {
    const socket = new FakeSocket();
    session.addV1({
      id,
      number: 5,
      socket,
      target: "db:5",
      outbound: `p.data.to_server.${id}`,
      inbound: `p.data.to_client.${id}`,
      rate: 1 << 20,
      listenTimeout: 1_000,
    });
    return socket;
  };
  const before = make();
  await pair.settle();
  pair.client.bus.cut();
  const during = make();
  await pair.settle();
  assert.ok(before.closed && during.closed);
  assert.deepEqual([...session.counters.closedByCode], [["nats-down", 2]]);
});
