/** Frames that nobody should send, and what becomes of them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { binaryCodec } from "../../lib/wire/binary.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { formatId, parseId } from "../../lib/wire/subjects.ts";
import { SessionBench } from "./session_bench.ts";
import { TestClient } from "../support/shell_pair.ts";

const DATA: Frame = {
  type: "data",
  offset: 0,
  ack: 0,
  limit: 1_000,
  payload: new Uint8Array([1]),
};

Deno.test("Session answers frames for a tunnel it never knew with RESET", async () => {
  using bench = await SessionBench.start();
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
  using clean = await SessionBench.start();
  clean.app.end();
  clean.target.end();
  await clean.wait(100);
  assert.deepEqual(clean.sizes, [0, 0]);
  const late = await clean.answers(
    clean.id,
    () => clean.forge("server", clean.id, DATA),
  );
  assert.deepEqual(late, [{ type: "ack", ack: 2, limit: 2, gap: false }]);

  using cut = await SessionBench.start();
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
  using bench = await SessionBench.start();
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
  using bench = await SessionBench.start();
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
    using bench = await SessionBench.start();
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
  using bench = await SessionBench.start();
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
  using bench = await SessionBench.start();
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
