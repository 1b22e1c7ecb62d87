/** Metrics as text, in both formats, and who is given which. */
import assert from "node:assert/strict";
import type { Metric } from "../../lib/process/metric.ts";
import {
  formatMetrics,
  pageFormatFor,
} from "../../lib/process/metrics_page.ts";

const METRICS: readonly Metric[] = [
  {
    name: "sproxy_tunnels_total",
    help: 'Tunnels, by "outcome"',
    type: "counter",
    samples: [
      { labels: { code: "ok" }, value: 3 },
      { labels: { code: "refused", peer: "a" }, value: 1e21 },
    ],
  },
  { name: "up", help: "Up", type: "gauge", samples: [{ value: 1.5 }] },
  { name: "none", help: "None", type: "gauge", samples: [] },
  {
    name: "sproxy_build_info",
    help: "Which",
    type: "info",
    samples: [{ labels: { version: "1.2.3" }, value: 1 }],
  },
  {
    name: "h_seconds",
    help: "Times",
    type: "histogram",
    samples: [
      { suffix: "_bucket", labels: { r: "ok", le: "0.5" }, value: 1 },
      { suffix: "_bucket", labels: { r: "ok", le: "1" }, value: 2 },
      { suffix: "_bucket", labels: { r: "ok", le: "+Inf" }, value: 2 },
      { suffix: "_sum", labels: { r: "ok" }, value: 0.75 },
      { suffix: "_count", labels: { r: "ok" }, value: 2 },
    ],
  },
];

Deno.test("formatMetrics() writes the text format of Prometheus", () => {
  assert.equal(
    formatMetrics(METRICS),
    `# HELP sproxy_tunnels_total Tunnels, by "outcome"
# TYPE sproxy_tunnels_total counter
sproxy_tunnels_total{code="ok"} 3
sproxy_tunnels_total{code="refused",peer="a"} 1e+21
# HELP up Up
# TYPE up gauge
up 1.5
# HELP none None
# TYPE none gauge
# HELP sproxy_build_info Which
# TYPE sproxy_build_info gauge
sproxy_build_info{version="1.2.3"} 1
# HELP h_seconds Times
# TYPE h_seconds histogram
h_seconds_bucket{r="ok",le="0.5"} 1
h_seconds_bucket{r="ok",le="1"} 2
h_seconds_bucket{r="ok",le="+Inf"} 2
h_seconds_sum{r="ok"} 0.75
h_seconds_count{r="ok"} 2
`,
  );
  assert.equal(formatMetrics([]), "");
});

Deno.test("formatMetrics() writes OpenMetrics", () => {
  assert.equal(
    formatMetrics(METRICS, "openmetrics"),
    `# HELP sproxy_tunnels Tunnels, by \\"outcome\\"
# TYPE sproxy_tunnels counter
sproxy_tunnels_total{code="ok"} 3
sproxy_tunnels_total{code="refused",peer="a"} 1e+21
# HELP up Up
# TYPE up gauge
up 1.5
# HELP none None
# TYPE none gauge
# HELP sproxy_build Which
# TYPE sproxy_build info
sproxy_build_info{version="1.2.3"} 1
# HELP h_seconds Times
# TYPE h_seconds histogram
h_seconds_bucket{r="ok",le="0.5"} 1
h_seconds_bucket{r="ok",le="1.0"} 2
h_seconds_bucket{r="ok",le="+Inf"} 2
h_seconds_sum{r="ok"} 0.75
h_seconds_count{r="ok"} 2
# EOF
`,
  );
  assert.equal(formatMetrics([], "openmetrics"), "# EOF\n");
});

Deno.test("formatMetrics() escapes help and labels", () => {
  assert.equal(
    formatMetrics([{
      name: "a",
      help: 'back\\slash\n"line"',
      type: "gauge",
      samples: [{ labels: { x: 'q"b\\s\nn' }, value: 1 }],
    }]),
    String.raw`# HELP a back\\slash\n"line"
# TYPE a gauge
a{x="q\"b\\s\nn"} 1
`,
  );
});

Deno.test("pageFormatFor() gives OpenMetrics to who prefers it, and nobody else", () => {
  const open = [
    // Prometheus 2.42
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text",
    "APPLICATION/OPENMETRICS-TEXT; version=1.0.0; Q=0.5",
    "text/*;q=0.2, application/openmetrics-text;q=0.2",
  ];
  const plain = [
    undefined,
    "",
    "*/*",
    "text/plain",
    "text/html,application/xhtml+xml,*/*;q=0.8",
    "application/openmetrics-text;q=0",
    "application/openmetrics-text;q=nonsense",
    "application/openmetrics-text;q=0.5,text/plain",
    "application/openmetrics-textual",
    ",;=,",
  ];
  for (const it of open) assert.equal(pageFormatFor(it), "openmetrics", it);
  for (const it of plain) assert.equal(pageFormatFor(it), "prometheus", it);
});
