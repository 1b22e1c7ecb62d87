/** What happens again and again: the first, each other cause, and counts. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { REPEAT_MS, Repeats } from "../../lib/base/repeats.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** Repeats whose lines are kept. */
function stage(): {
  readonly clock: FakeClock;
  readonly repeats: Repeats;
  readonly note: (cause: string, what?: string) => void;
  readonly lines: () => string[];
  readonly pass: (ms: number) => Promise<void>;
} {
  const clock = new FakeClock();
  const repeats = new Repeats(clock);
  let told: string[] = [];
  return {
    clock,
    repeats,
    note: (cause, what = cause) =>
      repeats.note(cause, (count) => void told.push(`${what} ${count}`)),
    lines: () => {
      const lines = told;
      told = [];
      return lines;
    },
    pass: (ms) => clock.advance(ms, () => Promise.resolve()),
  };
}

Deno.test("Repeats tells the first at once, then each other cause, then counts", async () => {
  const { repeats, note, lines, pass, clock } = stage();
  note("refused");
  assert.deepEqual(lines(), ["refused 1"]);
  note("refused");
  note("timeout");
  note("refused", "refused lately");
  assert.deepEqual(lines(), ["timeout 1"]);
  await pass(REPEAT_MS);
  assert.deepEqual(lines(), ["refused lately 2"]);
  note("refused");
  assert.deepEqual(lines(), [], "an interval begins with each line");
  await pass(REPEAT_MS);
  assert.deepEqual(lines(), ["refused 1"]);
  await pass(REPEAT_MS);
  assert.deepEqual(lines(), []);
  assert.equal(clock.timers, 0);
  note("refused");
  assert.deepEqual(lines(), ["refused 1"], "after a quiet interval it is news");
  repeats[Symbol.dispose]();
  assert.equal(clock.timers, 0);
});

Deno.test("Repeats tells what is left when it is over", () => {
  const { repeats, note, lines, clock } = stage();
  for (let i = 0; i < 5; i++) note("refused");
  note("timeout");
  assert.deepEqual(lines(), ["refused 1", "timeout 1"]);
  repeats.clear();
  assert.deepEqual(lines(), ["refused 4"]);
  assert.equal(clock.timers, 0);
  note("refused");
  assert.deepEqual(lines(), ["refused 1"]);
  repeats.clear();
});

Deno.test("Repeats is bounded where each cause is another one", async () => {
  const { repeats, note, lines, pass, clock } = stage();
  for (let i = 0; i < 10_000; i++) note(`cause ${i}`);
  assert.equal(lines().length, 65);
  assert.equal(clock.timers, 65);
  await pass(REPEAT_MS);
  assert.deepEqual(lines(), [`cause 9999 ${10_000 - 65}`]);
  repeats.clear();
});

Deno.test("Repeats loses no count, and tells of a cause at most once an interval", async () => {
  const step = fc.oneof(
    fc.constantFrom("a", "b", "c"),
    fc.nat(REPEAT_MS * 2),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new FakeClock();
      const repeats = new Repeats(clock);
      const noted = new Map<string, number>();
      const told = new Map<string, number>();
      const toldAt = new Map<string, number>();
      let ending = false;
      for (const step of steps) {
        if (typeof step === "number") {
          await clock.advance(step, () => Promise.resolve());
          continue;
        }
        noted.set(step, (noted.get(step) ?? 0) + 1);
        repeats.note(step, (count) => {
          const before = toldAt.get(step) ?? -Infinity;
          assert.ok(clock.now() >= before + REPEAT_MS || ending);
          toldAt.set(step, clock.now());
          told.set(step, (told.get(step) ?? 0) + count);
        });
      }
      ending = true;
      repeats.clear();
      assert.deepEqual(told, noted);
      assert.equal(clock.timers, 0);
    }),
  );
});
