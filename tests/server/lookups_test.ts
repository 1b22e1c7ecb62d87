/** Whose names are looked up, and when. */
import assert from "node:assert/strict";
import { Lookups } from "../../lib/server/lookups.ts";
import { turn } from "../support/memory_bus.ts";

/** Look-ups whose end the test decides. */
class Bench {
  readonly begun: string[] = [];
  readonly lookups = new Lookups((host) => {
    this.begun.push(host);
    const { promise, ...end } = Promise.withResolvers<string[]>();
    this.#ends.set(host, end);
    return promise;
  });
  readonly #ends = new Map<
    string,
    Omit<PromiseWithResolvers<string[]>, "promise">
  >();

  /** Names `count` names of a payer; what comes of them. */
  ask(
    payer: string,
    count: number,
    signal = new AbortController().signal,
  ): Promise<string[]>[] {
    return Array.from({ length: count }, (_, at) => {
      const looking = this.lookups.resolve(`${payer}${at}`, { payer, signal });
      looking.catch(() => {});
      return looking;
    });
  }

  /** How many of a payer's have begun. */
  count(payer: string): number {
    return this.begun.filter((host) => host.startsWith(payer)).length;
  }

  end(host: string): void {
    this.#ends.get(host)?.resolve(["127.0.0.1"]);
  }

  fail(host: string): void {
    this.#ends.get(host)?.reject(new Error("no such host"));
  }
}

Deno.test("Lookups.resolve() gives what is found, or throws what the look-up throws", async () => {
  const bench = new Bench();
  const [good, bad] = bench.ask("a", 2);
  await turn();
  bench.end("a0");
  bench.fail("a1");
  assert.deepEqual(await good, ["127.0.0.1"]);
  await assert.rejects(bad ?? Promise.resolve(), /no such host/);
});

Deno.test("Lookups.resolve() leaves a place for each who comes, however many names of others are not answered", async () => {
  const bench = new Bench();
  bench.ask("a", 1_000);
  bench.ask("b", 1_000);
  bench.ask("c", 1);
  await turn();
  assert.deepEqual([bench.count("a"), bench.count("b")], [14, 7]);
  assert.equal(bench.count("c"), 1);
});

Deno.test("Lookups.resolve() goes on with those that wait, in their order, as places become free", async () => {
  const bench = new Bench();
  const all = bench.ask("a", 100);
  await turn();
  for (let at = 0; at < 100; at++) {
    assert.equal(bench.begun.length, Math.min(100, 14 + at));
    bench.end(`a${at}`);
    await turn();
  }
  assert.deepEqual(bench.begun, all.map((_, at) => `a${at}`));
  await Promise.all(all);
});

Deno.test("Lookups.resolve() that is given up begins no more, and what has begun keeps its place until it ends", async () => {
  const bench = new Bench();
  const stop = new AbortController();
  const all = bench.ask("a", 20, stop.signal);
  await turn();
  stop.abort(new Error("given up"));
  for (const one of all) await assert.rejects(one, /given up/);
  const later = bench.ask("later", 20);
  await turn();
  assert.deepEqual([bench.count("a"), bench.count("later")], [14, 7]);
  for (let at = 0; at < 14; at++) bench.fail(`a${at}`);
  await turn();
  assert.equal(bench.count("later"), 14);
  const gone = AbortSignal.abort(new Error("gone"));
  for (const one of bench.ask("gone", 1, gone)) {
    await assert.rejects(one, /gone/);
  }
  for (let at = 0; at < 14; at++) bench.end(`later${at}`);
  await turn();
  assert.equal(bench.count("later"), 20);
  assert.equal(bench.count("gone"), 0);
  await Promise.all(later.slice(0, 14));
});
