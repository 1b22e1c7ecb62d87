/** What is believed of the round trip to a peer. */
import assert from "node:assert/strict";
import {
  DOUBT_SAMPLES,
  PathEstimate,
  REST_PAUSE_MS,
  REST_SAMPLES,
} from "../../lib/tunnel/rtt.ts";

/** Samples of round trips one after the other, each measured when it is over. */
class Way {
  readonly path = new PathEstimate();
  now = 0;

  /** Measures round trips of `rtt` ms, `count` times. */
  take(rtt: number, count = 1): void {
    for (let i = 0; i < count; i++) {
      this.now += rtt;
      this.path.sample(rtt, this.now);
    }
  }

  get rests(): boolean {
    return this.path.rests(this.now);
  }
}

Deno.test("PathEstimate believes what is less at once", () => {
  const way = new Way();
  way.take(200);
  assert.equal(way.path.minRtt, 200);
  way.take(20);
  assert.equal(way.path.minRtt, 20);
});

Deno.test("PathEstimate believes a way that became longer after six round trips, and lets bulk rest for it", () => {
  const way = new Way();
  way.take(20, 5);
  assert.equal(way.path.doubted(way.now), false);
  const changedAt = way.now;
  way.take(200, DOUBT_SAMPLES - 1);
  assert.equal(way.rests, false);
  assert.equal(way.path.doubted(way.now), true);
  way.take(200);
  assert.equal(way.rests, true);
  way.take(205, REST_SAMPLES - 1);
  assert.equal(way.rests, true);
  assert.equal(way.path.minRtt, 20);
  way.take(210);
  assert.equal(way.path.minRtt, 200);
  assert.equal(way.rests, false);
  assert.equal(way.path.doubted(way.now), false);
  assert.ok(way.now - changedAt <= 10 * 210);
});

Deno.test("PathEstimate finds that its own queues made round trips long, and asks again after a while", () => {
  const way = new Way();
  way.take(20);
  for (let time = 0; time < 3; time++) {
    way.take(120, DOUBT_SAMPLES);
    assert.equal(way.rests, true);
    way.take(60); // the queue becomes shorter
    way.take(22);
    assert.equal(way.rests, false);
    assert.equal(way.path.minRtt, 20);
    const until = way.now + REST_PAUSE_MS;
    while (way.now + 80 < until) {
      way.take(80); // it is back
      assert.equal(way.rests, false);
      assert.equal(way.path.doubted(way.now), false);
    }
    way.take(22); // for once
    way.now = until;
  }
});

Deno.test("PathEstimate does not wait when the way is longer than queues made it", () => {
  const way = new Way();
  way.take(20);
  way.take(40, DOUBT_SAMPLES);
  way.take(20); // a queue of 20 ms
  way.take(200, DOUBT_SAMPLES + REST_SAMPLES);
  assert.equal(way.path.minRtt, 200);
});

Deno.test("PathEstimate doubts nothing for what processes wait, nor for one packet that was lost", () => {
  const way = new Way();
  way.take(0.3);
  way.take(10, 50);
  assert.equal(way.path.doubted(way.now), false);
  way.take(300);
  way.take(8);
  way.take(300, DOUBT_SAMPLES - 1);
  way.take(8);
  assert.equal(way.rests, false);
  assert.equal(way.path.minRtt, 0.3);
});

Deno.test("PathEstimate lets bulk go on when no more round trips are measured", () => {
  const way = new Way();
  way.take(20);
  way.take(100, DOUBT_SAMPLES);
  assert.equal(way.rests, true);
  assert.equal(way.path.rests(way.now + 599), true);
  assert.equal(way.path.rests(way.now + 600), false);
});

Deno.test("PathEstimate knows nothing of a way that may be another one", () => {
  const way = new Way();
  way.take(20);
  way.take(100, DOUBT_SAMPLES);
  way.path.reset();
  assert.equal(way.path.minRtt, 0);
  assert.equal(way.rests, false);
  way.take(300);
  assert.equal(way.path.minRtt, 300);
});

Deno.test("PathEstimate believes a bound below all that was measured, once it has measured", () => {
  const path = new PathEstimate();
  path.atMost(5);
  assert.equal(path.minRtt, 0);
  path.sample(10, 0);
  path.atMost(12);
  assert.equal(path.minRtt, 10);
  path.atMost(5);
  assert.equal(path.minRtt, 5);
});
