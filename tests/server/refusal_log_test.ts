/** Refused opens in the log: the first of each cause, and how many. */
import assert from "node:assert/strict";
import { type Refusal, RefusalLog } from "../../lib/server/refusal_log.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";

const REASON = { code: "denied", text: "no" } as const;

const TARGET = { host: "db", port: 5 };

/** A log of refusals, and what it has written since it was last asked. */
function stage(): Disposable & {
  readonly clock: FakeClock;
  readonly refusals: RefusalLog;
  /** What others were told of. */
  readonly shown: readonly (readonly [Refusal, number])[];
  readonly lines: () => string[];
} {
  const log = captureLog();
  const clock = new FakeClock();
  const shown: (readonly [Refusal, number])[] = [];
  const refusals = new RefusalLog(clock, (...told) => shown.push(told));
  let read = 0;
  return {
    clock,
    refusals,
    shown,
    lines: () => {
      const fresh = log.records.slice(read);
      read += fresh.length;
      return fresh.map(({ rawMessage, properties: { client, count } }) =>
        [rawMessage, client, count ?? ""].join(" ").trim()
      );
    },
    [Symbol.dispose]: () => {
      refusals[Symbol.dispose]();
      log[Symbol.dispose]();
    },
  };
}

Deno.test("RefusalLog says what was refused, why, and whom", () => {
  using log = captureLog();
  using refusals = new RefusalLog(new FakeClock());
  const source = "10.0.0.7:5000";
  refusals.note({
    ...{ client: "a", payer: "a", target: TARGET, source, reason: REASON },
  });
  assert.deepEqual(Object.entries(log.records[0]?.properties ?? {}), [
    ["target", "db:5"],
    ["reason", "denied"],
    ["why", "no"],
    ["client", "a"],
    ["source", source],
  ]);
});

Deno.test("RefusalLog writes the first of each client and cause, then counts every 10 s", async () => {
  using it = stage();
  const { clock, refusals, shown, lines } = it;
  const refuse = (client: string, port = 5): void =>
    refusals.note({
      ...{ client, payer: client, target: { host: "db", port } },
      reason: REASON,
    });
  for (let i = 0; i < 1_000; i++) refuse("a");
  refuse("b");
  refuse("a", 6);
  assert.deepEqual(lines(), [
    "open refused a",
    "open refused b",
    "open refused a",
  ]);
  // A flood does not push out what others were refused.
  assert.equal(shown.length, 3);
  const refusedAt = clock.now();
  await clock.advance(10_000);
  assert.deepEqual(lines(), ["open refused a 999"]);
  assert.equal(shown.at(-1)?.[1], refusedAt, "not when it was told");
  await clock.advance(10_000);
  assert.deepEqual(lines(), []);
  assert.equal(clock.timers, 0);
  refuse("a");
  assert.deepEqual(lines(), ["open refused a"]);
});

Deno.test("RefusalLog is bounded for clients that ask for ever other targets", async () => {
  using it = stage();
  const { clock, refusals, lines } = it;
  for (let port = 1; port <= 5_000; port++) {
    refusals.note({
      ...{ client: "a", payer: "a", target: { host: "db", port } },
      reason: REASON,
    });
  }
  const told = lines();
  assert.equal(told.length, 21);
  assert.equal(told.at(-1), "more opens refused a 1");
  await clock.advance(10_000);
  assert.deepEqual(lines(), [`more opens refused a ${5_000 - 21}`]);
});

Deno.test("RefusalLog is bounded for clients that change their names", () => {
  using it = stage();
  const { refusals, lines } = it;
  for (let i = 0; i < 2_000; i++) {
    refusals.note({ client: `c${i}`, payer: `c${i}`, reason: REASON });
  }
  assert.equal(lines().length, 256 + 20 + 1);
  refusals[Symbol.dispose]();
  assert.deepEqual(lines(), [`more opens refused others ${2_000 - 277}`]);
});
