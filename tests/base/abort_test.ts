/** Waiting that is given up. */
import assert from "node:assert/strict";
import { Deadline, untilAborted } from "../../lib/base/abort.ts";
import { FakeClock } from "../support/fake_clock.ts";

Deno.test("untilAborted() gives what a promise comes to, or the reason of a signal that aborts first", async () => {
  const stop = new AbortController();
  const { signal } = stop;
  assert.equal(await untilAborted(Promise.resolve(5), signal), 5);
  const failure = Promise.reject(new Error("failed"));
  await assert.rejects(untilAborted(failure, signal), /failed/);
  const late = Promise.withResolvers<never>();
  const waiting = untilAborted(late.promise, signal);
  const reason = new Error("given up");
  stop.abort(reason);
  for (const one of [waiting, untilAborted(Promise.resolve(5), signal)]) {
    await assert.rejects(one, reason);
  }
  late.reject(new Error("of no interest any more"));
});

Deno.test("Deadline aborts with who wants it, when time is up, or at its end, and leaves nothing behind", async () => {
  const clock = new FakeClock();
  const outer = new AbortController();
  const late = new Error("late");
  const begin = (): Deadline =>
    new Deadline(outer.signal, { clock, ms: 10, late: () => late });
  const slow = begin();
  await clock.advance(9);
  assert.equal(slow.signal.aborted, false);
  await clock.advance(1);
  assert.equal(slow.signal.reason, late);
  const given = begin();
  const ended = begin();
  ended[Symbol.dispose]();
  assert.equal(ended.signal.aborted, true);
  const reason = new Error("given up");
  outer.abort(reason);
  assert.equal(given.signal.reason, reason);
  assert.notEqual(ended.signal.reason, reason);
  const early = begin();
  assert.equal(early.signal.reason, reason);
  for (const one of [slow, given, early]) one[Symbol.dispose]();
  assert.equal(clock.timers, 0);
});
