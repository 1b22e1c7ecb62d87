import assert from "node:assert/strict";
import {
  collectMetrics,
  formatMetrics,
  type Metric,
  processMetrics,
  sumMetrics,
} from "../../lib/process/metrics.ts";
import { ClientDirectory } from "../../lib/server/clients.ts";
import {
  CLIENT_SEAL,
  KEYS,
  knownClient,
  Pair,
  SERVER_SEAL,
} from "../support/shell_pair.ts";

Deno.test("formatMetrics() writes counters and gauges", () => {
  assert.equal(
    formatMetrics([
      {
        name: "sproxy_tunnels_total",
        help: "Tunnels, by outcome",
        type: "counter",
        samples: [
          { labels: { code: "ok" }, value: 3 },
          { labels: { code: "refused", peer: "a" }, value: 1e21 },
        ],
      },
      { name: "up", help: "Up", type: "gauge", samples: [{ value: 1.5 }] },
      { name: "none", help: "None", type: "gauge", samples: [] },
    ]),
    `# HELP sproxy_tunnels_total Tunnels, by outcome
# TYPE sproxy_tunnels_total counter
sproxy_tunnels_total{code="ok"} 3
sproxy_tunnels_total{code="refused",peer="a"} 1e+21
# HELP up Up
# TYPE up gauge
up 1.5
# HELP none None
# TYPE none gauge
`,
  );
  assert.equal(formatMetrics([]), "");
});

Deno.test("formatMetrics() escapes help and labels", () => {
  assert.equal(
    formatMetrics([{
      name: "a",
      help: 'back\\slash\n"line"',
      type: "gauge",
      samples: [
        { labels: { x: 'q"b\\s\nn' }, value: 1 },
      ],
    }]),
    String.raw`# HELP a back\\slash\n"line"
# TYPE a gauge
a{x="q\"b\\s\nn"} 1
`,
  );
});

Deno.test("every metric has a name that the format allows, once, and its samples have labels that it allows", () => {
  using pair = new Pair();
  const { ingress } = pair.client;
  const { counters } = ingress.session;
  counters.refused("refused");
  counters.closed("ok", counters.ended);
  const metrics = [
    ...collectMetrics(ingress, { connected: true, reconnects: 0 }),
    ...processMetrics(),
  ];
  const names = metrics.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)]);
  for (const { name, type, samples } of metrics) {
    assert.match(name, /^sproxy_[a-z_]+$/);
    assert.equal(name.endsWith("_total"), type === "counter", name);
    assert.ok(samples.length > 0, name);
    for (const label of samples.flatMap((it) => Object.keys(it.labels ?? {}))) {
      assert.match(label, /^[a-z_]+$/);
    }
  }
});

/** The samples of metric `name` of a server, by their labels. */
function samplesOf(
  { server: { egress } }: Pair,
  name: string,
): Record<string, number> {
  const nats = { connected: true, reconnects: 0 };
  const found = collectMetrics(egress, nats).find((it) => it.name === name);
  return Object.fromEntries(
    found?.samples.map(({ labels, value }) => [
      Object.values(labels ?? {}).join(" "),
      value,
    ]) ?? [],
  );
}

Deno.test("a known client has its tunnels and bytes counted, as long as it is known, and nobody else has", async () => {
  using plain = new Pair();
  await plain.open();
  assert.deepEqual(samplesOf(plain, "sproxy_client_tunnels"), {});
  const clients = new ClientDirectory([
    knownClient("edge", KEYS.client.publicKey),
    knownClient("other", KEYS.otherClient.publicKey),
  ]);
  using pair = new Pair({
    client: { seal: CLIENT_SEAL },
    server: { seal: { ...SERVER_SEAL, clients } },
  });
  const ended = await pair.open();
  const open = await pair.open();
  for (const { app, target } of [ended, open]) {
    app.send("hello");
    target.send("me");
  }
  ended.app.end();
  ended.target.end();
  await pair.wait(1_000);
  assert.deepEqual(samplesOf(pair, "sproxy_client_tunnels"), {
    edge: 1,
    other: 0,
  });
  assert.deepEqual(samplesOf(pair, "sproxy_client_bytes_total"), {
    "edge sent": 4,
    "edge received": 10,
    "other sent": 0,
    "other received": 0,
  });
  const left = knownClient("other", KEYS.otherClient.publicKey);
  pair.server.egress.reload({
    ...SERVER_SEAL,
    clients: new ClientDirectory([left]),
  });
  await pair.wait(1_000);
  assert.deepEqual(samplesOf(pair, "sproxy_client_tunnels"), { other: 0 });
});

Deno.test("sumMetrics() adds samples of the same labels", () => {
  const metric = (values: Record<string, number>): Metric => ({
    name: "m_total",
    help: "help",
    type: "counter",
    samples: Object.entries(values).map(([reason, value]) => ({
      labels: { reason },
      value,
    })),
  });
  assert.deepEqual(
    sumMetrics([[metric({ ok: 1, idle: 2 })], [metric({ ok: 10, limit: 5 })]]),
    [metric({ ok: 11, idle: 2, limit: 5 })],
  );
});
