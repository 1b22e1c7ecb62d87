/** Requests that nobody should send, and what the server answers. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeRequest, type HeaderList } from "../../lib/wire/open.ts";
import { EgressBench } from "./server_bench.ts";

Deno.test("Egress refuses every malformed request with a code", async () => {
  using bench = new EgressBench();
  const good = encodeRequest({
    target: { host: "db", port: 5 },
    native: { client: "c", number: 1, window: 1, codec: "binary" },
  });
  const change = (name: string, value: string): HeaderList =>
    good.headers.map(([key, old]) => [key, key === name ? value : old]);
  const headers: HeaderList[] = [
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
    await bench.send([], new TextEncoder().encode(body));
    assert.deepEqual(bench.take(), ["protocol"], body);
  }
  // Nobody to answer to: dropped and counted.
  await bench.send([], good.body, { reply: "" });
  await bench.send([], good.body, { reply: "elsewhere.1" });
  assert.deepEqual(bench.take(), []);
  const { counters } = bench.server.egress.session;
  assert.equal(counters.malformed, headers.length + bodies.length + 2);
  assert.deepEqual(bench.dialled, []);
});

Deno.test("Egress takes the target from the body where an old client writes it there", async () => {
  using bench = new EgressBench();
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
  using bench = new EgressBench({ maxTunnels: 1 << 20 });
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
  const reply = fc.constantFrom("", "_INBOX.f", "_INBOX.f.1", "proxy.request");
  let answered = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(name, text), { maxLength: 8 }),
      body,
      reply,
      async (headers, body, reply) => {
        await bench.send(headers, body, { reply });
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
  assert.equal(session.tunnelsOf("victim"), 1);
});

function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_, inner) => typeof inner === "bigint" ? String(inner) : inner,
  ) ?? "";
}
