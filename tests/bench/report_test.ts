import assert from "node:assert/strict";
import type { Series } from "../../bench/measure.ts";
import {
  formatNumber,
  formatReach,
  markdownReport,
  type Results,
  terminalTable,
} from "../../bench/report.ts";

const BULK: Series = {
  figure: {
    title: "one stream up",
    unit: "Gbit/s",
    reach: [
      { way: "tunnel", of: "ratio", atLeast: 0.85 },
      { way: "json", of: "ratio", atLeast: 0.25 },
    ],
  },
  samples: {
    direct: [{ round: 0, value: 20 }],
    ssh: [{ round: 0, value: 2 }, { round: 1, value: 4 }],
    tunnel: [{ round: 0, value: 1 }, { round: 1, value: 3 }],
  },
};

const CPU: Series = {
  figure: { title: "CPU time", unit: "s/GB" },
  samples: {
    ssh: [{ round: 0, value: 3, parts: { ssh: 2, sshd: 1 } }],
    tunnel: [{ round: 0, value: 6, parts: { client: 4, server: 2 } }],
  },
};

const PAIRED: Series = {
  figure: { title: "one after the other", unit: "connections/s" },
  samples: {
    tunnel: [{ round: 0, value: 300 }, { round: 1, value: 400 }],
    other: [{ round: 0, value: 200 }, { round: 1, value: 400 }],
  },
};

const SEALED: Series = {
  figure: {
    title: "GET",
    unit: "requests/s",
    reach: [
      { way: "tunnel", of: "ratio", atLeast: 1 },
      { way: "sealed", of: "ratio", to: "tunnel", atLeast: 0.9 },
    ],
  },
  samples: {
    tunnel: [{ round: 0, value: 400 }, { round: 1, value: 300 }],
    sealed: [{ round: 0, value: 300 }, { round: 1, value: 315 }],
  },
};

const RESULTS: Results = {
  date: "2026-03-01T10:00:00.000Z",
  version: "1.2.3",
  rounds: 2,
  seconds: 130,
  machine: {
    processor: "Test CPU, 2 cores",
    memory: "8.0 GiB",
    iperf3: "missing",
  },
  groups: [
    { title: "Bulk", method: "`iperf3 -c 127.0.0.1`", series: [BULK, CPU] },
    { title: "Redis", method: "redis-benchmark", series: [] },
  ],
  skipped: [
    { what: "Redis", why: "redis-server is missing", failed: false },
  ],
};

Deno.test("formatNumber() keeps three digits", () => {
  const table: readonly (readonly [number, string])[] = [
    [0, "0"],
    [0.0123, "0.012"],
    [0.123456, "0.123"],
    [0.99999, "1.00"],
    [1.006, "1.01"],
    [45.64, "45.6"],
    [456.4, "456"],
    [999.7, "1,000"],
    [12_345, "12,300"],
    [1_234_567, "1,230,000"],
    [-4.2, "-4.20"],
  ];
  for (const [value, text] of table) assert.equal(formatNumber(value), text);
});

Deno.test("formatReach() names way, bound and unit", () => {
  assert.equal(
    formatReach({ way: "tunnel", of: "ratio", atLeast: 0.85 }, "Gbit/s"),
    "≥ 0.85× ssh",
  );
  assert.equal(
    formatReach({ way: "json", of: "value", atMost: 20 }, "KiB"),
    "json ≤ 20 KiB",
  );
  assert.equal(
    formatReach(
      { way: "sealed", of: "ratio", to: "tunnel", atLeast: 0.7 },
      "Gbit/s",
    ),
    "sealed ≥ 0.7× tunnel",
  );
});

Deno.test("terminalTable() has medians, the ratio, its spread and the verdict", () => {
  const lines = terminalTable([BULK, CPU]).split("\n");
  // 1/2 and 3/4: the median ratio is 0.625, the ratio of medians is 0.667.
  assert.match(
    lines[1] ?? "",
    /one stream up +Gbit\/s +20\.0 +3\.00 +2\.00 +0\.63× +0\.50–0\.75 +≥ 0\.85× ssh: NO$/,
  );
  assert.match(lines[2] ?? "", /CPU time .* 2\.00×$/);
  assert.equal(lines[3], "    ssh -L: ssh 2.00, sshd 1.00");
  assert.equal(lines[4], "    tunnel: client 4.00, server 2.00");
});

Deno.test("terminalTable() lines its columns up", () => {
  const [head = "", row = ""] = terminalTable([BULK]).split("\n");
  assert.equal(head.indexOf("direct") + 6, row.indexOf("20.0") + 4);
});

Deno.test("terminalTable() compares with another checkout, where there is one", () => {
  const [head = "", row = ""] = terminalTable([PAIRED]).split("\n");
  assert.match(head, / tunnel +other +tunnel : other +spread/);
  assert.match(row, / 350 +300 +1\.25× +1\.00–1\.50$/);
});

Deno.test("terminalTable() compares the sealed tunnel with the tunnel", () => {
  const lines = terminalTable([SEALED]).split("\n");
  assert.match(
    lines[0] ?? "",
    / tunnel +tunnel, sealed +sealed : tunnel +spread +to reach$/,
  );
  assert.match(
    lines[1] ?? "",
    / 350 +308 +0\.90× +0\.75–1\.05 +sealed ≥ 0\.9× tunnel: 0\.90, yes$/,
  );
});

Deno.test("markdownReport() says what, where, with what and what is missing", () => {
  const report = markdownReport(RESULTS, "## Notes\n\nBecause of this.\n");
  for (
    const part of [
      "Version 1.2.3, measured on 2026-03-01 in 3 minutes",
      "| Bulk: one stream up | Gbit/s | 20.0 | 3.00 | 2.00 | 0.63× | 0.50–0.75 | ≥ 0.85× ssh: NO |",
      "| processor | Test CPU, 2 cores |",
      "| memory | 8.0 GiB |",
      "| iperf3 | missing |",
      "- CPU time (s/GB): ssh -L: ssh 2.00, sshd 1.00; tunnel: client 4.00, server 2.00",
      "How it is measured: `iperf3 -c 127.0.0.1`.",
      "- Redis: redis-server is missing",
      "Because of this.",
    ]
  ) assert.ok(report.includes(part), `no "${part}" in\n${report}`);
  assert.ok(!report.includes("json ≥"), "nothing of JSON was measured");
  assert.ok(!report.includes("## Redis"), "a group without figures");
});

Deno.test("markdownReport() makes tables with as many cells in each row", () => {
  const counts: number[][] = [[]];
  for (const line of markdownReport(RESULTS).split("\n")) {
    if (line.startsWith("|")) counts.at(-1)?.push(line.split(" | ").length);
    else counts.push([]);
  }
  const tables = counts.filter((rows) => rows.length > 0);
  assert.equal(tables.length, 3);
  for (const rows of tables) assert.equal(new Set(rows).size, 1);
});
