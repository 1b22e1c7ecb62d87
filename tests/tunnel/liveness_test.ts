/** Two clocks for one peer, its pings, and the way to it. */
import assert from "node:assert/strict";
import { Liveness } from "../../lib/tunnel/liveness.ts";

const TIMES = {
  pingInterval: 2_000,
  peerTimeout: 10_000,
  resumeTimeout: 30_000,
} as const;

function codeAt(peer: Liveness, now: number): string | undefined {
  return peer.verdict(now)?.code;
}

Deno.test("verdict() gives an absent peer the peer time", () => {
  const peer = new Liveness(TIMES, "server", 0);
  peer.heard(500);
  peer.noResponders(1_000);
  peer.noResponders(9_000); // said again: absent since the first time
  assert.equal(codeAt(peer, 10_999), undefined);
  assert.deepEqual(peer.verdict(11_000), {
    code: "peer-gone",
    text: "the server did not listen on NATS for 10000 ms (--peer-timeout)",
  });
});

Deno.test("verdict() forgets an absence once the peer is heard", () => {
  const peer = new Liveness(TIMES, "server", 0);
  peer.noResponders(1_000);
  peer.heard(10_000);
  assert.equal(codeAt(peer, 39_999), undefined);
  peer.noResponders(20_000);
  assert.equal(codeAt(peer, 29_999), undefined);
  assert.equal(codeAt(peer, 30_000), "peer-gone");
});

Deno.test("verdict() gives a silent peer the resume time", () => {
  const peer = new Liveness(TIMES, "server", 0);
  peer.heard(5_000);
  assert.equal(codeAt(peer, 34_999), undefined);
  assert.deepEqual(peer.verdict(35_000), {
    code: "peer-gone",
    text: "nothing was heard of the server for 30000 ms (--resume-timeout)",
  });
});

Deno.test("verdict() asks after the data prefix where no frame ever came", () => {
  const hint =
    ", and no frame of it ever came: is --data-prefix the same at both ends?";
  const absent = new Liveness(TIMES, "server", 0);
  absent.noResponders(0);
  const silent = new Liveness(TIMES, "client", 0);
  for (const peer of [absent, silent]) {
    peer.agreed(0); // to a tunnel more, which is no frame
  }
  absent.noResponders(0);
  assert.deepEqual(absent.verdict(10_000), {
    code: "peer-gone",
    text:
      `the server did not listen on NATS for 10000 ms (--peer-timeout)${hint}`,
  });
  assert.deepEqual(silent.verdict(30_000), {
    code: "peer-gone",
    text:
      `nothing was heard of the client for 30000 ms (--resume-timeout)${hint}`,
  });
  for (const peer of [absent, silent]) {
    peer.heard(0);
    assert.doesNotMatch(peer.verdict(60_000)?.text ?? hint, /prefix/);
  }
  silent.linkDown(0);
  assert.equal(silent.verdict(60_000)?.code, "nats-down");
});

Deno.test("verdict() gives a link that is down the resume time, whatever was said before", () => {
  const peer = new Liveness(TIMES, "server", 0);
  peer.noResponders(1_000);
  peer.linkDown(2_000);
  peer.linkDown(20_000); // still down, since the first time
  peer.noResponders(3_000); // what the broker said last, read late
  assert.equal(codeAt(peer, 31_999), undefined);
  assert.deepEqual(peer.verdict(32_000), {
    code: "nats-down",
    text: "the link to NATS was down for 30000 ms (--resume-timeout)",
  });
});

Deno.test("verdict() leaves the peer a moment after an outage of ours", () => {
  const peer = new Liveness(TIMES, "server", 0);
  peer.linkDown(1_000);
  peer.noResponders(1_500);
  peer.linkUp(30_500);
  assert.equal(codeAt(peer, 30_500), undefined);
  assert.equal(codeAt(peer, 40_499), undefined);
  assert.equal(codeAt(peer, 40_500), "peer-gone");
  peer.heard(40_400);
  assert.equal(codeAt(peer, 40_500), undefined);
});

Deno.test("verdict() never waits longer than the resume time when that is the shorter", () => {
  const peer = new Liveness({ ...TIMES, resumeTimeout: 3_000 }, "server", 0);
  peer.linkDown(0);
  peer.linkUp(2_900);
  assert.equal(codeAt(peer, 5_899), undefined);
  assert.equal(codeAt(peer, 5_900), "peer-gone");
});

Deno.test("pollPing() is due at once, then each interval, and at once after an outage", () => {
  const peer = new Liveness(TIMES, "server", 100);
  assert.equal(peer.pollPing(100), 1);
  assert.equal(peer.pollPing(100), undefined);
  assert.equal(peer.pollPing(2_099), undefined);
  assert.equal(peer.pollPing(2_100), 2);
  peer.linkDown(3_000);
  assert.equal(peer.pollPing(9_000), undefined);
  peer.linkUp(9_500);
  assert.equal(peer.pollPing(9_500), 3);
  assert.equal(peer.pollPing(9_500), undefined);
});

Deno.test("pong() measures the last ping only, and once", () => {
  const peer = new Liveness(TIMES, "server", 0);
  assert.equal(peer.path.minRtt, 0);
  assert.equal(peer.pong(1, 5), undefined);
  peer.pollPing(10);
  peer.pollPing(2_010);
  assert.equal(peer.pong(1, 2_011), undefined); // the first ping's, late
  assert.equal(peer.path.minRtt, 0);
  assert.equal(peer.pong(2, 2_050), 40);
  assert.equal(peer.pong(2, 2_051), undefined);
  assert.equal(peer.path.minRtt, 40);
  peer.pollPing(4_010);
  peer.linkDown(4_020);
  peer.pong(3, 4_021); // what crossed an outage measures nothing
  assert.equal(peer.path.minRtt, 40);
});

Deno.test("pollBusy() has pings go more often while frames come, and none beside one that is awaited", () => {
  const peer = new Liveness(TIMES, "server", 0);
  assert.equal(peer.pollPing(0), 1);
  assert.equal(peer.pollBusy(500), false);
  peer.pong(1, 500); // it took long
  assert.equal(peer.pollPing(500), undefined);
  assert.equal(peer.pollBusy(500), true);
  assert.equal(peer.pollPing(500), 2);
  peer.pong(2, 501);
  assert.equal(peer.pollBusy(599), false);
  assert.equal(peer.pollBusy(600), true);
  assert.equal(peer.pollPing(600), 3);
  assert.equal(peer.pollPing(2_599), undefined);
  assert.equal(peer.pollPing(2_600), 4); // one that is lost is not awaited for ever
});

Deno.test("pollPing() is due again with each answer while the way is in doubt", () => {
  const peer = new Liveness(TIMES, "server", 0);
  const measure = (rtt: number, at: number): boolean => {
    const id = peer.pollPing(at);
    if (id === undefined) return false;
    assert.equal(peer.pollPing(at), undefined);
    return peer.pong(id, at + rtt) === rtt;
  };
  assert.equal(measure(20, 0), true);
  assert.equal(measure(20, 20), false);
  for (let now = 2_000; now < 3_200; now += 200) {
    assert.equal(measure(200, now), true, `at ${now}`);
  }
  assert.equal(measure(200, 3_200), false);
  assert.equal(peer.path.minRtt, 200);
});
