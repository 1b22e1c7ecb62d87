/** Several ways, tried in turn and side by side. */
import assert from "node:assert/strict";
import { tryInTurn } from "../../lib/base/happy_eyeballs.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { turn } from "../support/memory_bus.ts";

/** Ways that lead somewhere when the test says so. */
class Ways {
  readonly clock = new FakeClock();
  readonly stop = new AbortController();
  readonly discarded: string[] = [];
  readonly tried = new Map<string, PromiseWithResolvers<string>>();
  readonly ended: string[] = [];

  run(...ways: string[]): Promise<string> {
    return tryInTurn(ways, {
      attempt: (way, signal) => {
        signal.addEventListener("abort", () => void this.ended.push(way));
        const { promise, ...rest } = Promise.withResolvers<string>();
        this.tried.set(way, { promise, ...rest });
        return promise;
      },
      discard: (late) => void this.discarded.push(late),
      clock: this.clock,
      signal: this.stop.signal,
    });
  }

  get names(): string[] {
    return [...this.tried.keys()];
  }
}

Deno.test("tryInTurn() tries the next after the head start, or a failure; takes the first and ends the others", async () => {
  const ways = new Ways();
  const result = ways.run("a", "b", "c", "d");
  await ways.clock.advance(249, turn);
  assert.deepEqual(ways.names, ["a"]);
  await ways.clock.advance(1, turn);
  assert.deepEqual(ways.names, ["a", "b"]);
  ways.tried.get("b")?.reject(new Error("no"));
  await turn();
  assert.deepEqual(ways.names, ["a", "b", "c"]);
  ways.tried.get("a")?.resolve("A");
  ways.tried.get("c")?.resolve("C");
  assert.equal(await result, "A");
  await turn();
  assert.deepEqual(ways.discarded, ["C"]);
  assert.deepEqual(ways.ended, ["a", "b", "c"]);
  assert.equal(ways.clock.timers, 0);
});

Deno.test("tryInTurn() tells every failure when none leads anywhere", async () => {
  const ways = new Ways();
  const failed = assert.rejects(ways.run("a", "b"), (error: unknown) => {
    assert.ok(error instanceof AggregateError);
    return error.errors.map(({ message }) => message).join() === "a,b";
  });
  for (const way of ["a", "b"]) {
    ways.tried.get(way)?.reject(new Error(way));
    await turn();
  }
  await failed;
  await assert.rejects(ways.run(), AggregateError);
  assert.equal(ways.clock.timers, 0);
});

Deno.test("tryInTurn() gives up when its signal aborts", async () => {
  const ways = new Ways();
  const result = ways.run("a", "b");
  const reason = new Error("enough");
  ways.stop.abort(reason);
  await assert.rejects(result, reason);
  assert.deepEqual(ways.ended, ["a"]);
  ways.tried.get("a")?.resolve("A");
  await turn();
  assert.deepEqual(ways.discarded, ["A"]);
  assert.deepEqual(ways.names, ["a"]);
  assert.equal(ways.clock.timers, 0);
  await assert.rejects(ways.run("c"), reason);
  assert.deepEqual(ways.names, ["a"]);
});
