/** The sealed open: what a server takes, and whose answer a client takes. */
import assert from "node:assert/strict";
import { keyPairOf } from "../../lib/seal/keys.ts";
import {
  NO_PSK,
  type OpenContext,
  type OpenedAsk,
  SealedAsk,
  SealedGate,
  type SealIdentity,
} from "../../lib/seal/open.ts";

const NOW = Date.UTC(2026, 0, 1);

const OPEN: OpenContext = {
  requestSubject: "proxy.request",
  dataPrefix: "p.data",
  client: "edge7",
  number: 4711,
  window: 262_144,
  codec: "binary",
};

const CLIENT = keyPairOf(new Uint8Array(32).fill(1));
const SERVER = keyPairOf(new Uint8Array(32).fill(2));
const OTHER = keyPairOf(new Uint8Array(32).fill(3));
const PSK = new Uint8Array(32).fill(4);

/** Bytes that are different each time, the same in each run. */
function counting(start: number): (bytes: Uint8Array) => Uint8Array {
  let next = start;
  return (bytes) => bytes.fill(next++);
}

function gate(keys = [SERVER], psk = NO_PSK): SealedGate {
  return new SealedGate({ keys, psk, random: counting(100) });
}

const random = counting(10);

function ask(
  { server = SERVER.publicKey, time = NOW, psk = NO_PSK, target = "db:5432" } =
    {},
): SealedAsk {
  const identity: SealIdentity = { key: CLIENT, psk };
  const made = SealedAsk.make(
    identity,
    server,
    { ...OPEN, target, time },
    random,
  );
  assert.ok(made !== undefined);
  return made;
}

function opened(request: OpenedAsk | undefined): OpenedAsk {
  assert.ok(request !== undefined, "it was not for us");
  return request;
}

Deno.test("a sealed open tells the server the target and the client, and the client who answered", () => {
  const asked = ask();
  const shown = new TextDecoder("latin1").decode(asked.data);
  assert.ok(!shown.includes("db") && !shown.includes("5432"));
  const { client, target, sealedAt, answer } = opened(
    gate().read(asked.data, OPEN),
  );
  assert.deepEqual([target, sealedAt], ["db:5432", NOW]);
  assert.equal(client.toHex(), CLIENT.publicKey.toHex());
  for (
    const said of [
      { type: "open", id: "edge7.s.3mz", window: 4096 },
      {
        type: "refused",
        reason: { code: "denied", text: "not for you" },
      },
      { type: "clock", time: NOW },
    ] as const
  ) {
    const again = ask();
    const answered = opened(gate().read(again.data, OPEN)).answer(said);
    assert.ok(answered !== undefined);
    const read = again.read(answered.data);
    assert.deepEqual(read?.answer, said);
    assert.deepEqual(read.keys.send, answered.keys.receive);
    assert.deepEqual(read.keys.receive, answered.keys.send);
    assert.notDeepEqual(read.keys.send, read.keys.receive);
  }
  assert.notEqual(answer({ type: "clock", time: NOW }), undefined);
  // A second answer would use the nonces of the first again.
  assert.equal(answer({ type: "clock", time: NOW }), undefined);
});

Deno.test("a sealed open tells the server where the application is and what traces it, and nobody else; lines of a later version are passed over", () => {
  const endpoints = {
    source: { host: "10.0.0.9", port: 50_000 },
    destination: { host: "::1", port: 8080 },
  };
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const asked = SealedAsk.make(
    { key: CLIENT, psk: NO_PSK },
    SERVER.publicKey,
    { ...OPEN, target: "svc:db", time: NOW, endpoints, traceparent },
    random,
  );
  assert.ok(asked !== undefined);
  assert.ok(!new TextDecoder("latin1").decode(asked.data).includes("10.0.0.9"));
  const read = opened(gate().read(asked.data, OPEN));
  assert.deepEqual(
    [read.target, read.endpoints, read.traceparent],
    ["svc:db", endpoints, traceparent],
  );
  const later = opened(
    gate().read(ask({ target: "svc:db\nmood good\nsource x" }).data, OPEN),
  );
  assert.deepEqual(
    [later.target, later.endpoints, later.traceparent],
    ["svc:db", undefined, undefined],
  );
});

Deno.test("an answer to another open, or one that was changed, is not taken, and the right one is after it", () => {
  const [one, two] = [ask(), ask()];
  const request = opened(gate().read(one.data, OPEN));
  const data: Uint8Array | undefined = request.answer({
    type: "open",
    id: "edge7.s.1",
    window: 1,
  })?.data;
  assert.ok(data !== undefined);
  assert.equal(two.read(data), undefined);
  for (let at = 0; at < data.length; at++) {
    const changed: Uint8Array = Uint8Array.from(data);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.equal(one.read(changed), undefined, `byte ${at}`);
  }
  // Nor do they keep the right one from being read.
  assert.equal(one.read(data)?.answer.type, "open");
});

Deno.test("what is said in the clear cannot be changed on the way", () => {
  for (
    const changed of [
      { requestSubject: "proxy.other" },
      { dataPrefix: "q.data" },
      { client: "edge8" },
      { number: 4712 },
      { window: 262_145 },
      { codec: "json" },
      // The same letters, differently divided.
      { requestSubject: "proxy.requestp", dataPrefix: ".data" },
    ]
  ) {
    const request = gate().read(ask().data, { ...OPEN, ...changed });
    assert.equal(request, undefined, JSON.stringify(changed));
  }
});

Deno.test("no bit of the request can be changed, and nothing shorter is read", () => {
  const { data } = ask();
  for (let at = 0; at < data.length; at++) {
    const changed: Uint8Array = Uint8Array.from(data);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.equal(gate().read(changed, OPEN), undefined);
    assert.equal(gate().read(data.subarray(0, at), OPEN), undefined);
  }
});

Deno.test("a server takes opens for each of its keys, and for no other", () => {
  const both = gate([OTHER, SERVER]);
  for (const { publicKey } of [SERVER, OTHER]) {
    opened(both.read(ask({ server: publicKey }).data, OPEN));
  }
  const wrong = ask({ server: OTHER.publicKey });
  assert.equal(gate().read(wrong.data, OPEN), undefined);
});

Deno.test("who does not have the shared secret gets no further than the answer", () => {
  for (const [theirs, ours] of [[NO_PSK, PSK], [PSK, NO_PSK]] as const) {
    const asked = ask({ psk: theirs });
    const request = opened(gate([SERVER], ours).read(asked.data, OPEN));
    const data = request.answer({ type: "open", id: "a.b.c", window: 1 })?.data;
    assert.ok(data !== undefined);
    assert.equal(asked.read(data), undefined);
  }
});

Deno.test("a gate whose keys change reads opens for the new ones, and the same one the same way", () => {
  const server = gate();
  const { data } = ask();
  const { id } = opened(server.read(data, OPEN));
  server.setKeys({ keys: [OTHER, SERVER], psk: PSK });
  assert.equal(opened(server.read(data, OPEN)).id, id);
  assert.notEqual(opened(server.read(ask().data, OPEN)).id, id);
  server.setKeys({ keys: [OTHER], psk: PSK });
  assert.equal(server.read(ask().data, OPEN), undefined);
});

Deno.test("a target of any length that can be dialled is carried; a longer one is not read", () => {
  const read = (target: string): OpenedAsk | undefined =>
    gate().read(ask({ target }).data, OPEN);
  const long = `${"a".repeat(255)}:65535`;
  assert.equal(read(long)?.target, long);
  assert.equal(read("a".repeat(600)), undefined);
});
