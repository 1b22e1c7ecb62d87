/** When to ask, and what an answer says. */
import assert from "node:assert/strict";
import { PathEstimate } from "../../lib/tunnel/rtt.ts";
import {
  PROBE_MAX_MS,
  PROBE_MIN_MS,
  ProbeTimer,
  REST_PROBE_MS,
  restProbeOf,
} from "../../lib/tunnel/probe_timer.ts";

function prober(rtt?: number): ProbeTimer {
  const path = new PathEstimate();
  if (rtt !== undefined) path.sample(rtt, 0);
  const made = new ProbeTimer(path, 0);
  made.progress();
  return made;
}

Deno.test("arm() asks after 250 ms, or four round trips if they take longer", () => {
  for (
    const [rtt, wait] of [
      [undefined, PROBE_MIN_MS],
      [1, PROBE_MIN_MS],
      [100, 400],
      [60_000, PROBE_MAX_MS],
    ] as const
  ) {
    const made = prober(rtt);
    made.arm(1_000);
    assert.equal(made.at, 1_000 + wait);
  }
});

Deno.test("arm() does not put off a question, rearm() does", () => {
  const made = prober();
  made.arm(0);
  made.arm(200);
  assert.equal(made.at, 250);
  made.rearm(200);
  assert.equal(made.at, 450);
});

Deno.test("tick() asks with waits that double up to five seconds, until there is progress", () => {
  const made = prober();
  made.arm(0);
  made.tick(249);
  assert.equal(made.due, false);
  const waits: number[] = [];
  for (let time = 0; time < 7; time++) {
    const { at } = made;
    made.tick(at);
    assert.equal(made.due, true);
    made.next(0, 0);
    assert.equal(made.due, false);
    waits.push(made.at - at);
  }
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
  made.progress();
  made.rearm(0);
  assert.equal(made.at, PROBE_MIN_MS);
});

Deno.test("rest() asks every five minutes", () => {
  const made = prober();
  assert.equal(made.at, REST_PROBE_MS);
  made.rest(10);
  assert.equal(made.at, 10 + REST_PROBE_MS);
  made.armSlowly(10);
  assert.equal(made.at, 10 + PROBE_MAX_MS);
});

Deno.test("answered() says what the last question was about, once", () => {
  const made = prober();
  assert.equal(made.answered(0, 0), -1, "nothing was asked");
  made.ask(0);
  const first = made.next(100, 0);
  made.ask(0);
  const second = made.next(200, 0);
  assert.deepEqual([first, second], [
    { id: 1, resumed: false },
    { id: 2, resumed: false },
  ]);
  assert.equal(made.answered(first.id, 0), -1, "a later question counts");
  assert.equal(made.answered(second.id, 0), 200);
  assert.equal(made.answered(second.id, 0), -1);
});

Deno.test("rewound() leaves what was sent again out of the answer", () => {
  const made = prober();
  made.ask(0);
  const { id } = made.next(200, 0);
  made.rewound(150, 0);
  made.rewound(180, 0);
  assert.equal(made.answered(id, 0), 150);
});

Deno.test("crossed() says what cannot be an answer to what was sent again", () => {
  const made = prober(200);
  assert.equal(made.crossed(0), false, "nothing was sent again");
  made.rewound(0, 1_000);
  assert.equal(made.crossed(1_199), true);
  assert.equal(made.crossed(1_200), false);
  const unmeasured = prober();
  unmeasured.rewound(0, 1_000);
  assert.equal(unmeasured.crossed(1_000), false);
});

Deno.test("crossed() believes an answer that took less than any round trip before", () => {
  const made = prober(200);
  made.ask(0);
  const { id } = made.next(0, 10);
  made.answered(id, 60);
  made.rewound(0, 100);
  assert.equal(made.crossed(149), true);
  assert.equal(made.crossed(150), false);
});

Deno.test("resume() asks until there is an answer to a question of after it", () => {
  const made = prober();
  made.ask(0);
  const old = made.next(50, 0);
  made.resume(100);
  assert.ok(made.resuming && made.due);
  assert.equal(made.answered(old.id, 0), -1);
  assert.ok(made.resuming);
  const { id, resumed } = made.next(50, 0);
  assert.ok(resumed);
  made.tick(made.at);
  assert.ok(made.next(50, 0).resumed, "asked again, it is still said");
  assert.equal(made.answered(id, 0), -1);
  assert.ok(made.resuming);
  assert.equal(made.answered(id + 1, 0), 50);
  assert.equal(made.resuming, false);
});

Deno.test("peerResumed() ends the wait: the peer has said where it stands", () => {
  const made = prober();
  made.resume(0);
  made.peerResumed();
  assert.equal(made.resuming, false);
});

Deno.test("restProbeOf() spreads tunnels opened one after the other over half of the time", () => {
  const first = 2 ** 47 + 5;
  const waits = Array.from({ length: 64 }, (_, at) => restProbeOf(first + at));
  waits.sort((a, b) => a - b);
  assert.equal(waits[0], REST_PROBE_MS * 0.75);
  assert.equal(waits.at(-1), REST_PROBE_MS * 1.25);
  const steps = waits.slice(1).map((wait, at) => wait - (waits[at] ?? 0));
  assert.ok(Math.max(...steps) < REST_PROBE_MS / 100);
});
