import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatDuration,
  formatRough,
  formatSize,
  MAX_DURATION,
  parseDuration,
  parseSize,
} from "../../lib/base/units.ts";

Deno.test("parseDuration() reads durations as Go writes them", () => {
  for (
    const [text, duration] of [
      ["0", 0],
      ["0s", 0],
      ["500ms", 500],
      ["30s", 30_000],
      ["1m30s", 90_000],
      ["1.5s", 1_500],
      ["4.35s", 4_350],
      ["1h0m0s", 3_600_000],
      ["1h1m1s1ms", 3_661_001],
      ["2147483647ms", MAX_DURATION],
    ] as const
  ) assert.equal(parseDuration(text), duration, text);
});

Deno.test("parseDuration() refuses what is no duration, and names it", () => {
  for (
    const [text, problem] of [
      ["", /^"" is not a duration/],
      ["30", /^"30" is not a duration: it has no unit/],
      ["-1s", /^"-1s" is not a duration/],
      ["1w", /^"1w" is not a duration/],
      ["1S", /^"1S" is not a duration/],
      ["1 s", /^"1 s" is not a duration/],
      ["s", /^"s" is not a duration/],
      [".5s", /^".5s" is not a duration/],
      ["1e3s", /^"1e3s" is not a duration/],
      ["1s\n", /^"1s\\n" is not a duration/],
      ["0.5ms", /^"0.5ms" is not a duration: it has parts of a millisecond/],
      ["2147483648ms", /^"2147483648ms" is too long.* 596h31m23.647s$/],
      ["9".repeat(400) + "s", /is too long/],
    ] as const
  ) assert.throws(() => parseDuration(text), { message: problem }, text);
});

Deno.test("formatDuration() writes what parseDuration() reads", () => {
  fc.assert(fc.property(fc.nat({ max: MAX_DURATION }), (duration) => {
    assert.equal(parseDuration(formatDuration(duration)), duration);
  }));
  for (
    const [duration, text] of [
      [0, "0s"],
      [0.4, "0s"],
      [999.6, "1s"],
      [250, "250ms"],
      [1_500, "1.5s"],
      [90_000, "1m30s"],
      [3_600_000, "1h"],
      [86_400_000, "24h"],
    ] as const
  ) assert.equal(formatDuration(duration), text);
});

Deno.test("parseSize() reads sizes with and without units", () => {
  for (
    const [text, size] of [
      ["0", 0],
      ["1048576", 1_048_576],
      ["512B", 512],
      ["256KiB", 262_144],
      ["32MiB", 33_554_432],
      ["10MB", 10_000_000],
      ["1kb", 1_000],
      ["1.5GiB", 1_610_612_736],
      ["0.1MB", 100_000],
    ] as const
  ) assert.equal(parseSize(text), size, text);
});

Deno.test("parseSize() refuses what is no size, and names it", () => {
  for (
    const [text, problem] of [
      ["", /^"" is not a size/],
      ["8T", /^"8T" is not a size/],
      ["-1", /^"-1" is not a size/],
      ["1 MiB", /^"1 MiB" is not a size/],
      ["MiB", /^"MiB" is not a size/],
      ["1TiB", /^"1TiB" is not a size/],
      ["0x10", /^"0x10" is not a size/],
      ["0.5", /^"0.5" is not a size: it has parts of a byte/],
      ["9007199254740992", /is too large to be a size$/],
      ["9".repeat(400), /is too large to be a size$/],
    ] as const
  ) assert.throws(() => parseSize(text), { message: problem }, text);
});

Deno.test("formatSize() writes what parseSize() reads", () => {
  fc.assert(fc.property(fc.maxSafeNat(), (size) => {
    assert.equal(parseSize(formatSize(size)), size);
  }));
  assert.equal(formatSize(8 * 1024 * 1024), "8MiB");
  assert.equal(formatSize(1_000), "1000B");
  assert.equal(formatSize(0), "0B");
});

Deno.test("durations and sizes are read as people write them elsewhere", () => {
  assert.equal(parseDuration("1d"), 86_400_000);
  assert.equal(parseDuration("1d12h"), 129_600_000);
  for (const text of ["8M", "8m", "8Mi", "8MiB", "8mib"]) {
    assert.equal(parseSize(text), 8 * 2 ** 20, text);
  }
});

Deno.test("formatRough() says how long something took as people do", () => {
  const [s, m, h, d] = [1_000, 60_000, 3_600_000, 86_400_000];
  for (
    const [ms, text] of [
      [0, "0ms"],
      [-1, "0ms"],
      [0.4, "0ms"],
      [350, "350ms"],
      [999, "999ms"],
      [999.6, "1s"],
      [1_200, "1.2s"],
      [1_250, "1.3s"],
      [12_000, "12s"],
      [59_949, "59.9s"],
      [59_950, "1m"],
      [60_400, "1m"],
      [4 * m + 12 * s, "4m12s"],
      [h - 501, "59m59s"],
      [h - 500, "1h"],
      [4 * h + 12 * m + 20 * s, "4h12m"],
      [d - 30_001, "23h59m"],
      [d - 30_000, "1d"],
      [3 * d + 4 * h, "3d4h"],
      [400 * d, "400d"],
    ] as const
  ) assert.equal(formatRough(ms), text, String(ms));
});
