/** Refused opens in the log: each, or how many. */
import assert from "node:assert/strict";
import { type Refusal, RefusalLog } from "../../lib/server/refusal_log.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";

const REASON = { code: "denied", text: "no" } as const;

Deno.test("RefusalLog writes a line for each refusal, and of a flood the count after 5 s", async () => {
  using log = captureLog();
  const clock = new FakeClock();
  const shown: Refusal[] = [];
  using refusals = new RefusalLog(clock, (refusal) => shown.push(refusal));
  let read = 0;
  const lines = (): string[] => {
    const fresh = log.records.slice(read);
    read += fresh.length;
    return fresh.map(({ rawMessage, properties }) =>
      [rawMessage, properties.client, properties.count ?? ""].join(" ").trim()
    );
  };
  const target = { host: "db", port: 5 };
  refusals.note({ client: "a", payer: "a", target, reason: REASON });
  assert.deepEqual(log.records[0]?.properties, {
    client: "a",
    target: "db:5",
    reason: "denied",
    why: "no",
  });
  assert.deepEqual(lines(), ["open refused a"]);
  for (let i = 0; i < 1_000; i++) {
    refusals.note({ client: "a", payer: "a", target, reason: REASON });
  }
  refusals.note({ client: "b", payer: "b", reason: REASON });
  const told = lines();
  assert.equal(told.length, 20);
  assert.equal(told.at(-1), "open refused b");
  // A flood does not push out what others were refused.
  assert.equal(shown.length, 21);
  await clock.advance(5_000, () => Promise.resolve());
  assert.deepEqual(lines(), ["more opens refused a 981"]);
  assert.equal(clock.timers, 0);
  refusals.note({ client: "a", payer: "a", target, reason: REASON });
  assert.deepEqual(lines(), ["open refused a"]);
});

Deno.test("RefusalLog is bounded for clients that change their names", () => {
  using log = captureLog();
  {
    using refusals = new RefusalLog(new FakeClock());
    for (let i = 0; i < 2_000; i++) {
      refusals.note({ client: `c${i}`, payer: `c${i}`, reason: REASON });
    }
    assert.equal(log.records.length, 256 + 20);
  }
  const { rawMessage, properties } = log.records.at(-1) ?? {};
  assert.equal(rawMessage, "more opens refused");
  assert.deepEqual(properties, { client: "others", count: 2_000 - 276 });
});
