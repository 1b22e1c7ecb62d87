import assert from "node:assert/strict";
import { formatMetrics } from "../../lib/process/prometheus.ts";

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

Deno.test("formatMetrics() escapes help and labels, and writes odd numbers", () => {
  assert.equal(
    formatMetrics([{
      name: "a",
      help: 'back\\slash\n"line"',
      type: "gauge",
      samples: [
        { labels: { x: 'q"b\\s\nn' }, value: Infinity },
        { value: -Infinity },
        { value: NaN },
      ],
    }]),
    String.raw`# HELP a back\\slash\n"line"
# TYPE a gauge
a{x="q\"b\\s\nn"} +Inf
a -Inf
a NaN
`,
  );
});

Deno.test("formatMetrics() refuses names that the format forbids", () => {
  for (const name of ["", "1a", "a-b", "a b", "é", "a\n"]) {
    assert.throws(
      () => formatMetrics([{ name, help: "", type: "gauge", samples: [] }]),
      RangeError,
    );
    assert.throws(
      () =>
        formatMetrics([{
          name: "a",
          help: "",
          type: "gauge",
          samples: [{ labels: { [name]: "x" }, value: 1 }],
        }]),
      RangeError,
    );
  }
});
