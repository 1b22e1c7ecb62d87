import assert from "node:assert/strict";
import { type Line, numbersOf, Pipe } from "../../bench/lab/pipe.ts";

/** Nothing is lost. */
const never = (): number => 1;

function pipe(line: Partial<Line>, random = never): Pipe<number> {
  return new Pipe({ delay: 0, loss: 0, queue: Infinity, ...line }, random);
}

/** All that has come through by `now`, as packets with their times. */
function taken(of: Pipe<number>, now = Infinity): [number, number][] {
  const all: [number, number][] = [];
  for (let one = of.take(now); one !== undefined; one = of.take(now)) {
    all.push([one.packet, one.at]);
  }
  return all;
}

Deno.test("a packet takes the line's delay", () => {
  const line = pipe({ delay: 30 });
  assert.equal(line.dueAt, Infinity);
  line.push(1, 1_500, 100);
  line.push(2, 1_500, 101);
  assert.equal(line.dueAt, 130);
  assert.deepEqual(taken(line, 129.9), []);
  assert.deepEqual(taken(line, 130), [[1, 130]]);
  assert.deepEqual(taken(line), [[2, 131]]);
  assert.equal(line.dueAt, Infinity);
});

Deno.test("packets wait for the line's rate, and are dropped when that takes too long", () => {
  const line = pipe({ delay: 5, rate: 8e6, queue: 2 }); // 1,000 bytes a ms
  const pushed = [1, 2, 3, 4].map((packet) => line.push(packet, 1_000, 0));
  assert.deepEqual(pushed, [true, true, true, false]);
  assert.deepEqual(taken(line), [[1, 6], [2, 7], [3, 8]]);
  line.push(5, 1_000, 10);
  assert.deepEqual(taken(line), [[5, 16]]);
});

Deno.test("a line that becomes shorter lets no packet overtake another, one that becomes longer neither", () => {
  const line = pipe({ delay: 100 });
  line.push(1, 1, 0);
  line.line = { ...line.line, delay: 10 };
  line.push(2, 1, 1);
  line.push(3, 1, 95);
  line.line = { ...line.line, delay: 100 };
  line.push(4, 1, 96);
  assert.deepEqual(taken(line), [[1, 100], [2, 100], [3, 105], [4, 196]]);
});

Deno.test("what is lost follows from the seed, and is the share that was asked for", () => {
  const lost = (seed: number) => {
    const line = pipe({ loss: 0.1 }, numbersOf(seed));
    return Array.from({ length: 10_000 }, (_, i) => i)
      .filter((packet) => !line.push(packet, 1, 0));
  };
  assert.deepEqual(lost(1), lost(1));
  assert.notDeepEqual(lost(1), lost(2));
  for (const seed of [1, 2, 3]) {
    // Six times the deviation of a binomial distribution.
    assert.ok(Math.abs(lost(seed).length - 1_000) < 6 * 30);
  }
});

Deno.test("a long queue comes out whole and in order", () => {
  const line = pipe({ delay: 1 });
  let next = 0;
  for (let at = 0; at < 20_000; at++) {
    line.push(at, 1, at);
    if (at % 3 === 0) continue; // more waits all the time
    const one = line.take(Infinity);
    assert.equal(one?.packet, next++);
  }
  assert.deepEqual(
    taken(line).map(([packet]) => packet),
    Array.from({ length: 20_000 - next }, (_, i) => next + i),
  );
});
