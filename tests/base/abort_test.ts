/** Waiting that is given up. */
import assert from "node:assert/strict";
import { untilAborted } from "../../lib/base/abort.ts";

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
