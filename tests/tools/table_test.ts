/** Tables of tools, and the counts of `ping`. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { PingStatistics } from "../../lib/tools/ping_statistics.ts";
import { formatMs, renderTable } from "../../lib/tools/table.ts";

const COLUMNS = [
  { name: "ID", most: 12 },
  { name: "HOST", most: 16 },
  { name: "TUNNELS", right: true },
  { name: "SERVICES" },
] as const;

Deno.test("a table leaves out what is empty, cuts, aligns and wraps", () => {
  const rows = [
    ["abc", "", "1/16384", "db, web"],
    ["a-very-long-id-indeed", "", "12/9", Array(20).fill("service").join(" ")],
  ];
  assert.equal(
    renderTable(COLUMNS, rows),
    `ID            TUNNELS  SERVICES
abc           1/16384  db, web
a-very-long…     12/9  service service service service service service service
                       service service service service service service service
                       service service service service service service
`,
  );
});

Deno.test("no line of a table is wider than 80 columns, and foreign text moves no cursor", () => {
  const cell = fc.oneof(fc.string({ maxLength: 7 }), fc.constant("\u001b[2J"));
  const words = fc.array(fc.string({ minLength: 1, maxLength: 12 }), {
    maxLength: 30,
  });
  fc.assert(fc.property(cell, cell, words, (id, host, services) => {
    const row = [id, host, "1/1", services.join(" ")];
    const text = renderTable(COLUMNS, [row]);
    // deno-lint-ignore no-control-regex -- that is what is looked for
    assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f]/);
    for (const line of text.split("\n")) {
      const wide = Math.max(...line.split(" ").map(({ length }) => length));
      assert.ok(line.length <= 80 || wide > 40, line);
    }
  }));
});

Deno.test("times have three digits that count", () => {
  assert.deepEqual([0.0421, 1.234, 12.34, 123.4].map(formatMs), [
    "0.04",
    "1.23",
    "12.3",
    "123",
  ]);
});

Deno.test("ping counts answers, losses and their times", () => {
  const statistics = new PingStatistics();
  assert.equal(statistics.summary, "0 asked, 0 answered, 0% lost");
  for (const ms of [3, 1, 2]) statistics.note({ answered: true, ms });
  statistics.note({ answered: false, ms: 2_000 });
  assert.equal(
    statistics.summary,
    "4 asked, 3 answered, 25% lost, min/avg/max 1.00/2.00/3.00 ms",
  );
  assert.deepEqual(statistics.json, {
    asked: 4,
    answered: 3,
    lost: 1,
    min_ms: 1,
    avg_ms: 2,
    max_ms: 3,
  });
});
