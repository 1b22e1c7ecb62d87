import assert from "node:assert/strict";
import type { Metric } from "../../lib/process/metric.ts";
import { type MetricName, METRICS } from "../../lib/process/metric_table.ts";
import { collectMetrics, type Counted } from "../../lib/process/metrics.ts";
import type { CountedLink } from "../../lib/process/metrics.ts";
import { lasting, sumMetrics } from "../../lib/process/metrics_sum.ts";
import { processMetrics } from "../../lib/process/process_metrics.ts";
import { ClientDirectory } from "../../lib/server/clients.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import {
  CLIENT_SEAL,
  KEYS,
  knownClient,
  Pair,
  SERVER_SEAL,
  TARGET,
} from "../support/shell_pair.ts";

/** A connection to NATS that has been away for two seconds. */
const LINK: CountedLink = {
  connected: true,
  maxPayload: 1024,
  stats: () => ({
    ...{ messagesIn: 1, bytesIn: 2, dropped: 3, messagesOut: 4, bytesOut: 5 },
    ...{ congestions: 6, congestedMs: 500, reconnects: 1, downMs: 2_000 },
  }),
};

/** The samples of metric `name` of a role, by their labels. */
function samplesOf(
  counted: Counted | undefined,
  name: MetricName,
): Record<string, number> {
  const found = collectMetrics({ counted, link: LINK }).find((it) =>
    it.name === name
  );
  return Object.fromEntries(
    found?.samples.map(({ suffix, labels, value }) => [
      [...suffix ? [suffix] : [], ...Object.values(labels ?? {})].join(" "),
      value,
    ]) ?? [],
  );
}

/** A pair with all that is counted apart: a way in, a service, a client. */
function everything(): Pair {
  const pair = new Pair({
    client: { seal: CLIENT_SEAL },
    server: {
      seal: SERVER_SEAL,
      services: [{ name: "db", target: { host: "db", port: 1 } }],
    },
  });
  pair.client.ingress.session.counters.forwards.keep(["6380"]);
  return pair;
}

Deno.test("every metric of either role is in the table, once, with its labels, and is there from the start", () => {
  using pair = everything();
  const seen = new Set<string>();
  for (
    const [role, counted] of [
      ["client", pair.client.ingress],
      ["server", pair.server.egress],
    ] as const
  ) {
    const metrics = [
      ...processMetrics({
        role,
        status: { notReadyReason: undefined },
        descriptors: { open: 12, limit: 1024 },
      }),
      ...collectMetrics({ counted, link: LINK }),
    ];
    const names = metrics.map(({ name }) => name);
    assert.deepEqual(names, [...new Set(names)]);
    for (const { name, type, samples } of metrics) {
      seen.add(name);
      assert.ok(Object.hasOwn(METRICS, name), name);
      const { labels = [], role: of = role } = METRICS[name as MetricName];
      assert.equal(of, role, `${name} at ${role}`);
      assert.ok(samples.length > 0, name);
      for (const { labels: own = {}, suffix } of samples) {
        const known = Object.keys(own).filter((label) => label !== "le");
        assert.deepEqual(known, [...labels], name);
        assert.equal(suffix !== undefined, type === "histogram", name);
        assert.equal("le" in own, suffix === "_bucket", name);
      }
    }
  }
  assert.deepEqual(Object.keys(METRICS).filter((it) => !seen.has(it)), []);
});

Deno.test("every metric has a name as its type and unit want it", () => {
  for (const [name, { type }] of Object.entries(METRICS)) {
    assert.match(name, /^(sproxy|process)_[a-z_]+$/);
    assert.equal(name.endsWith("_total"), type === "counter", name);
    assert.equal(name.endsWith("_info"), type === "info", name);
    if (type === "histogram") assert.match(name, /_seconds$/);
    assert.doesNotMatch(name, /_(ms|milliseconds|kb|mb|count|sum|bucket)$/);
  }
});

Deno.test("a reason is there before it has occurred, and a link before there is one", () => {
  using pair = new Pair();
  const { ingress } = pair.client;
  const refused = samplesOf(ingress, "sproxy_opens_refused_total");
  assert.equal(refused["no-server"], 0);
  assert.ok(!("ok" in refused));
  assert.equal(samplesOf(ingress, "sproxy_tunnels_closed_total").ok, 0);
  assert.deepEqual(samplesOf(ingress, "sproxy_tunnels_paused"), {
    ...{ credit: 0, window: 0, pace: 0, nats: 0 },
  });
  const nothing = collectMetrics({});
  assert.deepEqual(nothing.map(({ name, samples }) => [name, samples]), [
    ["sproxy_nats_connected", [{ value: 0 }]],
    ["sproxy_descriptors_short", [{ value: 0 }]],
  ]);
});

Deno.test("times and limits are in base units", () => {
  using pair = new Pair({ client: { maxWindow: 1 << 16, maxOpening: 7 } });
  const { ingress } = pair.client;
  const one = (name: MetricName): number | undefined =>
    samplesOf(ingress, name)[""];
  assert.equal(one("sproxy_nats_down_seconds_total"), 2);
  assert.equal(one("sproxy_nats_congested_seconds_total"), 0.5);
  assert.equal(one("sproxy_nats_max_payload_bytes"), 1024);
  assert.equal(one("sproxy_window_limit_bytes"), 1 << 16);
  assert.equal(one("sproxy_tunnels_opening_limit"), 7);
  assert.deepEqual(samplesOf(ingress, "sproxy_nats_bytes_total"), {
    ...{ sent: 5, received: 2 },
  });
});

Deno.test("descriptors that are kept for NATS and not there are told", () => {
  for (const whole of [true, false]) {
    const [, short] = collectMetrics({ reserve: { whole } });
    assert.equal(short?.name, "sproxy_descriptors_short");
    assert.deepEqual(short?.samples, [{ value: whole ? 0 : 1 }]);
  }
});

Deno.test("processMetrics() tells the process, and its workers", () => {
  const value = (
    name: MetricName,
    status: Parameters<typeof processMetrics>[0]["status"],
  ): number | undefined =>
    processMetrics({ role: "server", status, descriptors: {} })
      .find((metric) => metric.name === name)?.samples[0]?.value;
  const ready = { notReadyReason: undefined };
  assert.ok((value("process_cpu_seconds_total", ready) ?? 0) > 0);
  assert.ok((value("process_resident_memory_bytes", ready) ?? 0) > 1e6);
  const since = value("process_start_time_seconds", ready) ?? 0;
  assert.ok(since <= Date.now() / 1000 && since > Date.now() / 1000 - 3600);
  assert.equal(value("sproxy_ready", ready), 1);
  assert.equal(value("sproxy_workers_ready", ready), 1);
  const starting = {
    notReadyReason: "starting",
    details: { workers: 4, ready: 0 },
    workerFailures: 2,
  };
  assert.equal(value("sproxy_ready", starting), 0);
  assert.equal(value("sproxy_workers", starting), 4);
  assert.equal(value("sproxy_workers_ready", starting), 0);
  assert.equal(value("sproxy_worker_failures_total", starting), 2);
});

Deno.test("opens, dials and lives are timed, by how they ended", async () => {
  using pair = new Pair({
    server: { dial: () => Promise.reject(new Error("out of luck")) },
  });
  pair.client.listener.connect();
  await pair.wait(20_000);
  const { ingress } = pair.client;
  const { egress } = pair.server;
  const opens = samplesOf(ingress, "sproxy_open_duration_seconds");
  assert.deepEqual([opens["_count ok"], opens["_count failed"]], [0, 1]);
  const dials = samplesOf(egress, "sproxy_dial_duration_seconds");
  assert.equal(dials["_count ok"], 0);
  assert.ok((dials["_count failed"] ?? 0) > 0);
  assert.equal(dials["_bucket failed 0.001"], dials["_count failed"]);
  using other = new Pair();
  const { app, target } = await other.open();
  await other.wait(70_000);
  app.end();
  target.end();
  await other.wait(100);
  const { ingress: client } = other.client;
  assert.equal(
    samplesOf(client, "sproxy_open_duration_seconds")["_count ok"],
    1,
  );
  assert.equal(
    samplesOf(other.server.egress, "sproxy_dial_duration_seconds")["_count ok"],
    1,
  );
  const lives = samplesOf(client, "sproxy_tunnel_duration_seconds");
  assert.deepEqual([lives["_bucket 60"], lives["_bucket 300"]], [0, 1]);
  assert.ok((lives._sum ?? 0) >= 70);
});

Deno.test("a way in has its tunnels, refusals and bytes counted", async () => {
  using pair = new Pair();
  const { ingress } = pair.client;
  ingress.session.counters.forwards.keep(["orders", "other"]);
  const socket = await connected(pair);
  socket.send("hello");
  await pair.wait(100);
  assert.deepEqual(samplesOf(ingress, "sproxy_forward_tunnels_open"), {
    ...{ orders: 1, other: 0 },
  });
  assert.equal(
    samplesOf(ingress, "sproxy_forward_bytes_total")["orders sent"],
    5,
  );
  socket.reset();
  await pair.wait(10_000);
  assert.equal(samplesOf(ingress, "sproxy_forward_tunnels_open").orders, 0);
  assert.equal(
    samplesOf(ingress, "sproxy_forward_bytes_total")["orders sent"],
    5,
  );
  pair.server.egress[Symbol.dispose]();
  await connected(pair);
  await pair.wait(20_000);
  assert.deepEqual(samplesOf(ingress, "sproxy_forward_opens_refused_total"), {
    ...{ orders: 1, other: 0 },
  });
});

/** An application that came in by the way "orders". */
async function connected(pair: Pair): Promise<FakeSocket> {
  const socket = new FakeSocket();
  const way = { label: "orders" };
  pair.client.ingress.open({ socket, target: TARGET, way });
  await pair.settle();
  return socket;
}

Deno.test("a known client has its tunnels and bytes counted, as long as it is known, and nobody else has", async () => {
  using plain = new Pair();
  await plain.open();
  assert.deepEqual(
    samplesOf(plain.server.egress, "sproxy_client_tunnels_open"),
    {},
  );
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
  assert.deepEqual(
    samplesOf(pair.server.egress, "sproxy_client_tunnels_open"),
    {
      edge: 1,
      other: 0,
    },
  );
  assert.deepEqual(samplesOf(pair.server.egress, "sproxy_client_bytes_total"), {
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
  assert.deepEqual(
    samplesOf(pair.server.egress, "sproxy_client_tunnels_open"),
    { other: 0 },
  );
});

Deno.test("a service has its tunnels and refusals counted, and no name that somebody made up has", async () => {
  using pair = new Pair({
    server: {
      services: [{ name: "db", target: { host: "db", port: 1 } }],
    },
  });
  const { ingress } = pair.client;
  const { egress } = pair.server;
  for (const service of ["db", "made-up"]) {
    ingress.open({ socket: new FakeSocket(), target: { service } });
    await pair.wait(5_000);
  }
  assert.deepEqual(samplesOf(egress, "sproxy_service_tunnels_open"), { db: 1 });
  assert.deepEqual(samplesOf(egress, "sproxy_service_tunnels_opened_total"), {
    db: 1,
  });
  assert.deepEqual(samplesOf(egress, "sproxy_service_opens_refused_total"), {
    db: 0,
  });
  egress.setServices([]);
  assert.deepEqual(samplesOf(egress, "sproxy_service_up"), {});
  assert.deepEqual(samplesOf(egress, "sproxy_service_tunnels_open"), { db: 1 });
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

Deno.test("sumMetrics() adds histograms bucket by bucket", () => {
  const histogram = (...counts: readonly number[]): Metric => ({
    name: "h_seconds",
    help: "help",
    type: "histogram",
    samples: [
      ...["1", "+Inf"].map((le, at) => ({
        suffix: "_bucket" as const,
        labels: { result: "ok", le },
        value: counts[at] ?? 0,
      })),
      { suffix: "_sum", labels: { result: "ok" }, value: counts[2] ?? 0 },
      { suffix: "_count", labels: { result: "ok" }, value: counts[1] ?? 0 },
    ],
  });
  assert.deepEqual(
    sumMetrics([[histogram(1, 2, 3.5)], [histogram(10, 20, 30)]]),
    [histogram(11, 22, 33.5)],
  );
});

Deno.test("sumMetrics() has the least or the most of what is no sum", () => {
  const gauge = (of: "least" | "most", value: number): Metric => ({
    ...{ name: of, help: "help", type: "gauge", of, samples: [{ value }] },
  });
  assert.deepEqual(
    sumMetrics([
      [gauge("least", 1), gauge("most", 1)],
      [gauge("least", 0), gauge("most", 5)],
    ]),
    [gauge("least", 0), gauge("most", 5)],
  );
});

Deno.test("of a worker that failed counters and histograms last", () => {
  const all = (["counter", "gauge", "histogram", "info"] as const).map((
    type,
  ): Metric => ({ name: type, help: "help", type, samples: [] }));
  assert.deepEqual(lasting(all).map(({ type }) => type), [
    ...["counter", "histogram"],
  ]);
});
