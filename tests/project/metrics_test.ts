/** The reference of metrics, and what names them: documents, dashboard, alerts. */
import assert from "node:assert/strict";
import { load } from "js-yaml";
import { ALL_OPTIONS } from "../../lib/config/options.ts";
import type { MetricSpec } from "../../lib/process/metric.ts";
import { METRICS } from "../../lib/process/metric_table.ts";
import { readAlerts, withTables } from "../../tools/update_metrics.ts";

const SPECS: Readonly<Record<string, MetricSpec>> = METRICS;

/** Labels that Prometheus itself sets, and those of a histogram. */
const COMMON_LABELS = ["job", "instance", "le"] as const;

/** What of PromQL could be taken for a label between braces and in `by (…)`. */
const LABEL = /\b([a-z_]+)\s*(?:=~|!~|!=|=)\s*"|\b(?:by|on) \(([a-z_, ]*)\)/g;

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: Readonly<Record<"x" | "y" | "w" | "h", number>>;
  readonly targets?: readonly { readonly expr: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly {
      readonly name: string;
      readonly definition?: string;
    }[];
  };
}

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
}

const dashboard: Dashboard = JSON.parse(
  await read("deploy/grafana/tcp-sproxy.json"),
);
const alerts = await readAlerts();
const panels = dashboard.panels.filter(({ type }) => type !== "row");

/** All queries of the dashboard. */
const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({ where: title, expr }))
);

/** Without what the formatter adds to a table. */
function plain(markdown: string): string {
  return markdown.replaceAll(/-{2,}/g, "-").replaceAll(/\s+/g, " ");
}

/** Names of metrics in a text, with what a histogram adds to them. */
function namesIn(text: string): string[] {
  return text.match(/\b(?:sproxy|process)_[a-z_]*[a-z]\b(?!\.ts)/g) ?? [];
}

/** The metric that a name is of; undefined for none. */
function metricOf(name: string): MetricSpec | undefined {
  if (Object.hasOwn(SPECS, name)) {
    return SPECS[name]?.type === "histogram" ? undefined : SPECS[name];
  }
  const spec = SPECS[name.replace(/_(bucket|sum|count)$/, "")];
  return spec?.type === "histogram" ? spec : undefined;
}

/** What is wrong with a query. */
function faultsOf(expr: string): string[] {
  const names = namesIn(expr);
  const specs = names.map(metricOf);
  const labels = [...expr.matchAll(LABEL)].flatMap(([, one, list]) =>
    one !== undefined ? [one] : (list ?? "").split(", ")
  );
  const known = [
    ...COMMON_LABELS,
    ...specs.flatMap((spec) => spec?.labels ?? []),
  ];
  return [
    ...(names.length === 0 && !/\bup\b/.test(expr) ? ["no metric"] : []),
    ...names.filter((_, at) => specs[at] === undefined),
    ...labels.filter((label) => !known.includes(label)),
  ];
}

Deno.test("docs/metrics.md has the tables of metrics and alerts (tools/update_metrics.ts makes them)", async () => {
  const reference = await read("docs/metrics.md");
  const same = plain(reference) === plain(withTables(reference, alerts));
  assert.ok(same, "run tools/update_metrics.ts, then deno fmt docs/metrics.md");
  for (const name of Object.keys(METRICS)) {
    assert.match(reference, new RegExp(`^\\| \`${name}\` +\\|`, "m"));
  }
});

Deno.test("metrics and alerts name flags that there are", () => {
  const flags = new Set(ALL_OPTIONS.map(({ flag }) => `--${flag}`));
  const texts = [
    ...Object.values(SPECS).map(({ help }) => help),
    ...alerts.map(({ annotations }) => annotations.description),
  ];
  const named = texts.flatMap((text) => text.match(/--[a-z][a-z0-9-]+/g) ?? []);
  assert.ok(named.length > 10);
  assert.deepEqual(named.filter((flag) => !flags.has(flag)), []);
});

Deno.test("documents name metrics that there are", async () => {
  const files = ["README.md"];
  for await (
    const { name } of Deno.readDir(new URL("../../docs/", import.meta.url))
  ) {
    if (name.endsWith(".md")) files.push(`docs/${name}`);
  }
  const unknown: string[] = [];
  let count = 0;
  for (const file of files) {
    for (const name of namesIn(await read(file))) {
      count++;
      if (!Object.hasOwn(METRICS, name)) unknown.push(`${file}: ${name}`);
    }
  }
  assert.ok(count > Object.keys(METRICS).length);
  assert.deepEqual(unknown, []);
});

Deno.test("the dashboard asks for metrics and labels that there are", () => {
  assert.ok(queries.length > 50);
  for (const { where, expr } of queries) {
    assert.deepEqual(faultsOf(expr), [], `${where}: ${expr}`);
    const [first] = namesIn(expr);
    // Each is narrowed by what was chosen.
    assert.match(
      expr,
      /job=~"\$job", instance=~"\$instance"/,
      `${where} ${first}`,
    );
  }
  for (const { name, definition } of dashboard.templating.list) {
    if (definition === undefined) continue;
    assert.deepEqual(namesIn(definition), ["sproxy_build_info"], name);
  }
  assert.deepEqual(
    dashboard.templating.list.map(({ name }) => name),
    ["datasource", "job", "role", "instance"],
  );
});

Deno.test("the dashboard shows every metric but for what others say", () => {
  // The limit itself; what is allowed says the same and more.
  const left = [
    "sproxy_tunnels_limit",
    "sproxy_workers",
    "sproxy_nats_max_payload_bytes",
  ];
  const shown = new Set(
    queries.flatMap(({ expr }) => namesIn(expr))
      .map((name) => name.replace(/_(bucket|sum|count)$/, "")),
  );
  assert.deepEqual(
    Object.keys(METRICS).filter((name) =>
      !shown.has(name) && !left.includes(name)
    ),
    [],
  );
});

Deno.test("panels of the dashboard have a place each, and their own number", () => {
  const ids = dashboard.panels.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)]);
  const taken = new Map<string, string>();
  for (const { title, gridPos: { x, y, w, h } } of dashboard.panels) {
    assert.ok(x >= 0 && x + w <= 24, title);
    for (let row = y; row < y + h; row++) {
      for (let column = x; column < x + w; column++) {
        const cell = `${column} ${row}`;
        assert.equal(taken.get(cell), undefined, `${title} at ${cell}`);
        taken.set(cell, title);
      }
    }
  }
});

Deno.test("alerts ask for metrics and labels that there are, and say what to do", () => {
  assert.ok(alerts.length > 10);
  const names = alerts.map(({ alert }) => alert);
  assert.deepEqual(names, [...new Set(names)]);
  for (const { alert, expr, labels, annotations } of alerts) {
    assert.match(alert, /^TcpSproxy[A-Z][A-Za-z]+$/);
    assert.deepEqual(faultsOf(expr), [], `${alert}: ${expr}`);
    assert.match(labels.severity, /^(warning|critical)$/);
    assert.match(annotations.summary, /\{\{ \$labels\.(instance|job) \}\}/);
    assert.ok(annotations.description.length > 40, alert);
    assert.deepEqual(
      namesIn(annotations.description).filter((name) =>
        !metricOf(name) &&
        !Object.hasOwn(METRICS, name)
      ),
      [],
    );
  }
});

Deno.test("each alert has a test of the rules in which it is told, and one in which it is not", async () => {
  const { tests } = load(await read("deploy/prometheus/alerts_test.yml")) as {
    readonly tests: readonly {
      readonly input_series: readonly { readonly series: string }[];
      readonly alert_rule_test: readonly {
        readonly alertname: string;
        readonly exp_alerts: readonly unknown[];
      }[];
    }[];
  };
  const cases = tests.flatMap(({ alert_rule_test: them }) => them);
  const named = (isTold: boolean): string[] =>
    [
      ...new Set(
        cases.filter(({ exp_alerts: told }) => told.length > 0 === isTold)
          .map(({ alertname }) => alertname),
      ),
    ].toSorted();
  const names = alerts.map(({ alert }) => alert).toSorted();
  assert.deepEqual(named(true), names);
  assert.deepEqual(named(false), names);
  for (const { series } of tests.flatMap(({ input_series: all }) => all)) {
    assert.deepEqual(faultsOf(series.replaceAll(", ", ",")), [], series);
  }
});

Deno.test("the readers of this test see names and labels that there are not", () => {
  assert.deepEqual(faultsOf("sum(rate(sproxy_tunnels_gone_total[5m]))"), [
    "sproxy_tunnels_gone_total",
  ]);
  assert.deepEqual(faultsOf("sproxy_tunnel_duration_seconds > 1"), [
    "sproxy_tunnel_duration_seconds",
  ]);
  assert.deepEqual(faultsOf("sproxy_tunnels_open_count"), [
    "sproxy_tunnels_open_count",
  ]);
  assert.deepEqual(
    faultsOf(
      'sum by (job, colour) (sproxy_bytes_total{direction="x",way=~"y"})',
    ),
    ["colour", "way"],
  );
  assert.deepEqual(
    faultsOf("rate(sproxy_open_duration_seconds_bucket[5m])"),
    [],
  );
  assert.deepEqual(faultsOf("1 + 1"), ["no metric"]);
});
