import assert from "node:assert/strict";
import { tunnel } from "../support/snapshots.ts";
import {
  conditionOf,
  formatAge,
  formatBytes,
  formatCount,
  formatRate,
  formatTrip,
} from "../../lib/status/format.ts";

Deno.test("numbers and times are short, with no more digits than tell something", () => {
  const table: readonly (readonly [string, string])[] = [
    [formatBytes(0), "0 B"],
    [formatBytes(1023), "1023 B"],
    [formatBytes(1024), "1.0 KiB"],
    [formatBytes(1024 * 99.96), "100 KiB"],
    [formatBytes(1024 * 1023.6), "1.0 MiB"],
    [formatBytes(3.5 * 2 ** 40), "3.5 TiB"],
    [formatBytes(-1), "0 B"],
    [formatRate(undefined), "–"],
    [formatRate(2048), "2.0 KiB/s"],
    [formatAge(-5), "0s"],
    [formatAge(59_999), "59s"],
    [formatAge(723_000), "12m 03s"],
    [formatAge(15_120_000), "4h 12m"],
    [formatAge(3 * 86_400_000 + 4 * 3_600_000), "3d 4h"],
    [formatTrip(0.421), "0.42 ms"],
    [formatTrip(1.26), "1.3 ms"],
    [formatTrip(12.4), "12 ms"],
    [formatTrip(1_234), "1.2 s"],
    [formatCount(999), "999"],
    [formatCount(1_234_567), "1,234,567"],
  ];
  for (const [text, wanted] of table) assert.equal(text, wanted);
});

Deno.test("conditionOf() names who does not read, at either end", () => {
  const stalled = (side: "here" | "there") =>
    tunnel({ condition: "stalled", stalled: { side, ms: 12_000 } });
  const table = [
    [stalled("here"), "client", "stalled 12s: application does not read"],
    [stalled("there"), "client", "stalled 12s: target does not read"],
    [stalled("here"), "server", "stalled 12s: target does not read"],
    [stalled("there"), "server", "stalled 12s: application does not read"],
    [tunnel({ condition: "silent" }), "client", "other end silent"],
    [tunnel(), "server", "open"],
  ] as const;
  for (const [row, role, wanted] of table) {
    assert.equal(conditionOf(row, role), wanted);
  }
});
