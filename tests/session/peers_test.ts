/** The table of peers: pings, who is lost and why, the goodbye. */
import assert from "node:assert/strict";
import { binaryCodec } from "../../lib/wire/binary.ts";
import type { Decider, Reason } from "../../lib/base/errors.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { type Peer, Peers, type PeerTunnel } from "../../lib/session/peers.ts";
import { FrameCounts } from "../../lib/session/frame_counts.ts";
import { MemoryBroker } from "../support/memory_bus.ts";
import { SUBJECTS } from "../support/shell_pair.ts";

const TIMES = {
  pingInterval: 2_000,
  peerTimeout: 10_000,
  resumeTimeout: 30_000,
};

/** A tunnel that counts how often its peer has resumed, and keeps what is to go by way of it. */
class FakeTunnel implements PeerTunnel {
  resumed = 0;
  readonly sent: Frame[] = [];

  sendPairFrame(frame: Frame): void {
    this.sent.push(frame);
  }

  peerResumed(): void {
    this.resumed++;
  }
}

/** The peers of a server, and what is published to them. */
class Bench {
  readonly broker = new MemoryBroker();
  readonly bus = this.broker.connect();
  readonly lost: { peer: Peer<FakeTunnel>; reason: Reason; by: Decider }[] = [];
  readonly frames = {
    sent: new FrameCounts(),
    received: new FrameCounts(),
  };
  readonly roundTrips: number[] = [];
  readonly published: { subject: string; reply: string; frame: Frame }[] = [];
  readonly peers = new Peers<FakeTunnel>({
    bus: this.bus,
    subjects: SUBJECTS,
    role: "server",
    token: "server1",
    times: TIMES,
    frames: this.frames,
    onRoundTrip: (ms) => void this.roundTrips.push(ms),
    onLost: (peer, reason, by) => void this.lost.push({ peer, reason, by }),
  });

  constructor() {
    this.broker.filter = ({ subject, reply, data }) => {
      const frame = binaryCodec.decode(data);
      assert.ok(frame);
      this.published.push({ subject, reply, frame });
      return true;
    };
  }

  /** A peer that shares a tunnel. */
  add(token: string, now = 0): { peer: Peer<FakeTunnel>; tunnel: FakeTunnel } {
    const peer = this.peers.get({ token }, binaryCodec, now);
    const tunnel = new FakeTunnel();
    this.peers.add(peer, tunnel, now);
    this.take(); // the first ping
    return { peer, tunnel };
  }

  /** What was published since the last call. */
  take(): { subject: string; reply: string; frame: Frame }[] {
    return this.published.splice(0);
  }
}

Deno.test("Peers.get() keeps one peer for each token while it has tunnels, and 30 s more", () => {
  const { peers } = new Bench();
  const peer = peers.get({ token: "a" }, binaryCodec, 0);
  assert.equal(peers.get({ token: "a" }, binaryCodec, 1), peer);
  assert.equal(peer.id, "a.server1.0");
  const tunnel = new FakeTunnel();
  peer.tunnels.add(tunnel);
  assert.equal(peers.find({ token: "a" }), peer);
  peers.releaseIfIdle(peer, 1_000);
  assert.equal(peers.size, 1);
  peer.tunnels.delete(tunnel);
  peers.releaseIfIdle(peer, 1_000);
  assert.equal(peers.size, 0);
  assert.equal(peers.find({ token: "a" }), undefined);
  peers.sweep(30_999);
  assert.equal(peers.get({ token: "a" }, binaryCodec, 30_999), peer);
  peers.releaseIfIdle(peer, 40_000);
  peers.sweep(70_000);
  assert.notEqual(peers.get({ token: "a" }, binaryCodec, 70_000), peer);
});

Deno.test("Peers.add() pings a new peer at once, and not one it knows", () => {
  const bench = new Bench();
  const peer = bench.peers.get({ token: "a" }, binaryCodec, 0);
  const tunnel = new FakeTunnel();
  bench.peers.add(peer, tunnel, 0);
  assert.deepEqual(bench.take().map(({ frame }) => frame.type), ["ping"]);
  peer.tunnels.delete(tunnel);
  bench.peers.releaseIfIdle(peer, 1_000);
  bench.peers.sweep(5_000); // one without tunnels is left in peace
  const again = bench.peers.get({ token: "a" }, binaryCodec, 6_000);
  bench.peers.add(again, tunnel, 6_000);
  assert.deepEqual(bench.take(), []);
});

Deno.test("Peers says all about a pair by way of one of its tunnels, where they are sealed", () => {
  const bench = new Bench();
  const name = { token: "a", key: "k" };
  const peer = bench.peers.get(name, binaryCodec, 0);
  assert.equal(bench.peers.find(name), undefined);
  const tunnels = [new FakeTunnel(), new FakeTunnel()];
  for (const tunnel of tunnels) bench.peers.add(peer, tunnel, 0);
  bench.peers.sweep(2_000);
  bench.peers.linkUp(2_500);
  bench.peers.sayGoodbye({ code: "shutdown", text: "bye" }, 3_000);
  const types = tunnels.map(({ sent }) => sent.map(({ type }) => type));
  assert.deepEqual(types, [["ping", "ping", "ping", "reset"], []]);
  // Nothing can be said to one that shares none, nor is it forgotten for that.
  peer.tunnels.clear();
  bench.peers.releaseIfIdle(peer, 4_000);
  bench.peers.linkUp(5_000);
  assert.deepEqual(bench.take(), []);
});

Deno.test("Peers takes two keys for two peers, whatever token they claim", () => {
  const { peers } = new Bench();
  const names = [{ token: "a" }, { token: "a", key: "k" }, {
    token: "a",
    key: "l",
  }];
  const all = names.map((name) => peers.get(name, binaryCodec, 0));
  assert.equal(new Set(all).size, 3);
  for (const [i, name] of names.entries()) {
    assert.equal(peers.get(name, binaryCodec, 0), all[i]);
  }
});

Deno.test("Peers does not hold a long rest against a peer", () => {
  const bench = new Bench();
  const peer = bench.peers.get({ token: "a" }, binaryCodec, 0);
  bench.peers.releaseIfIdle(peer, 20_000);
  const { tunnel } = bench.add("a", 49_000);
  bench.peers.sweep(49_000);
  assert.deepEqual(bench.lost, []);
  assert.ok(peer.tunnels.has(tunnel));
});

Deno.test("Peers.sweep() pings each peer every interval, so that NATS can say nobody listens", () => {
  const bench = new Bench();
  bench.add("a");
  bench.add("b");
  for (const now of [0, 500, 2_000, 3_999, 4_000, 4_500]) {
    bench.peers.sweep(now);
  }
  const pings = bench.take();
  assert.deepEqual(
    pings.map(({ subject, reply, frame }) => [subject, reply, frame.type]),
    ["a", "b", "a", "b"].map((token) => [
      `p.data.to_client.${token}.server1.0`,
      `p.data.to_server.${token}.server1.0`,
      "ping",
    ]),
  );
});

Deno.test("Peers.sweep() ends a peer that NATS says is gone after the peer time", () => {
  const bench = new Bench();
  const { peer } = bench.add("a");
  bench.add("b");
  peer.state.noResponders(1_000);
  bench.peers.sweep(10_999);
  assert.equal(bench.lost.length, 0);
  bench.peers.sweep(11_000);
  assert.deepEqual(
    bench.lost.map(({ peer, reason }) => [peer.token, reason.code]),
    [
      ["a", "peer-gone"],
    ],
  );
});

Deno.test("Peers.sweep() ends a silent peer after the resume time only", () => {
  const bench = new Bench();
  const { peer } = bench.add("a");
  bench.peers.receive(peer, pong(1), 5_000);
  bench.peers.sweep(34_999);
  assert.equal(bench.lost.length, 0);
  bench.peers.sweep(35_000);
  assert.equal(bench.lost[0]?.reason.code, "peer-gone");
  assert.match(
    bench.lost[0]?.reason.text ?? "",
    /^nothing was heard of the client for 30000 ms/,
  );
});

Deno.test("Peers.linkDown() gives NATS the resume time, and nothing is published meanwhile", () => {
  const bench = new Bench();
  bench.add("a");
  bench.peers.linkDown(1_000);
  for (const now of [2_000, 10_000, 30_999]) bench.peers.sweep(now);
  assert.equal(bench.lost.length, 0);
  assert.equal(bench.take().length, 0);
  bench.peers.sweep(31_000);
  assert.equal(bench.lost[0]?.reason.code, "nats-down");
});

Deno.test("Peers.get() knows that the link is down when a peer is new", () => {
  const bench = new Bench();
  bench.bus.cut();
  bench.add("a");
  bench.peers.sweep(29_999);
  assert.equal(bench.lost.length, 0);
  bench.peers.sweep(30_000);
  assert.equal(bench.lost[0]?.reason.code, "nats-down");
});

Deno.test("Peers.linkUp() tells every peer at once that this side is back", () => {
  const bench = new Bench();
  bench.add("a");
  bench.peers.sweep(0);
  bench.take();
  bench.peers.linkDown(100);
  bench.peers.linkUp(200);
  const [ping] = bench.take();
  assert.ok(ping?.frame.type === "ping" && ping.frame.resumed);
  bench.peers.sweep(2_200);
  const [next] = bench.take();
  assert.ok(next?.frame.type === "ping" && !next.frame.resumed);
});

Deno.test("Peers.linkUp() tells a peer without tunnels too, however long and often the link was down", () => {
  const bench = new Bench();
  const { peers, bus } = bench;
  const { peer, tunnel } = bench.add("a");
  peer.tunnels.delete(tunnel);
  peers.releaseIfIdle(peer, 0);
  for (const down of [0, 42_000]) {
    bus.cut(); // and with it, perhaps, the RESET of the last tunnel
    peers.linkDown(down);
    peers.sweep(down + 40_000);
    bus.restore();
    peers.linkUp(down + 41_000);
    peers.sweep(down + 41_500);
    const [told] = bench.take();
    assert.ok(told?.frame.type === "ping" && told.frame.resumed);
  }
});

Deno.test("Peers.receive() asks after tunnels of one that has resumed again and again twice a second at most, the last time too", () => {
  const bench = new Bench();
  const { peer, tunnel } = bench.add("a");
  const ping = { type: "ping", id: 9, sent: 0, ack: 0, limit: 0 } as const;
  const say = (now: number): void =>
    bench.peers.receive(peer, { ...ping, resumed: true }, now);
  for (let now = 1_000; now < 1_100; now++) say(now);
  assert.equal(tunnel.resumed, 1);
  bench.peers.sweep(1_300);
  assert.equal(tunnel.resumed, 1);
  bench.peers.sweep(1_500);
  assert.equal(tunnel.resumed, 2);
  bench.peers.sweep(2_000);
  assert.equal(tunnel.resumed, 2);
  say(3_000);
  assert.equal(tunnel.resumed, 3);
});

Deno.test("Peers.releaseIfIdle() remembers a bounded number of peers, the latest", () => {
  const bench = new Bench();
  const made = Array.from({ length: 1_100 }, (_, i) => {
    const { peer, tunnel } = bench.add(`p${i}`);
    peer.tunnels.delete(tunnel);
    bench.peers.releaseIfIdle(peer, 0);
    return peer;
  });
  const kept = made.map((peer) =>
    bench.peers.get({ token: peer.token }, peer.codec, 1) === peer
  );
  assert.deepEqual([kept[0], kept[75], kept[76], kept[1_099]], [
    false,
    false,
    true,
    true,
  ]);
});

Deno.test("Peers.receive() answers a ping, and tells tunnels of one that has resumed", () => {
  const bench = new Bench();
  const { peer, tunnel } = bench.add("a");
  const ping = { type: "ping", id: 9, sent: 0, ack: 0, limit: 0 } as const;
  bench.peers.receive(peer, { ...ping, resumed: false }, 1);
  assert.equal(tunnel.resumed, 0);
  bench.peers.receive(peer, { ...ping, id: 10, resumed: true }, 2);
  assert.equal(tunnel.resumed, 1);
  assert.deepEqual(
    bench.take().map(({ subject, reply, frame }) => ({
      subject,
      reply,
      frame,
    })),
    [9, 10].map((id) => ({
      subject: "p.data.to_client.a.server1.0",
      reply: "",
      frame: pong(id),
    })),
  );
});

Deno.test("Peers.receive() ends the tunnels of a peer that leaves, and ignores what means nothing", () => {
  const bench = new Bench();
  const { peer } = bench.add("a");
  bench.peers.receive(peer, { type: "ack", ack: 5, limit: 9, gap: true }, 1);
  bench.peers.receive(peer, { type: "fin", offset: 1, ack: 0, limit: 0 }, 1);
  assert.equal(bench.lost.length, 0);
  assert.equal(bench.take().length, 0);
  bench.peers.receive(
    peer,
    { type: "reset", code: "shutdown", text: "stopped" },
    2,
  );
  assert.deepEqual(
    bench.lost.map(({ reason, by }) => [reason, by]),
    [[{ code: "shutdown", text: "stopped" }, "peer"]],
  );
});

Deno.test("Peers.sayGoodbye() tells every peer", () => {
  const bench = new Bench();
  bench.add("a");
  bench.add("b");
  bench.peers.sayGoodbye({ code: "shutdown", text: "bye" }, 0);
  assert.deepEqual(
    bench.take().map(({ subject, frame }) => [subject, frame]),
    ["a", "b"].map((token) => [
      `p.data.to_client.${token}.server1.0`,
      { type: "reset", code: "shutdown", text: "bye" },
    ]),
  );
});

function pong(id: number): Frame {
  return { type: "pong", id, sent: 0, ack: 0, limit: 0, hold: false };
}

Deno.test("Peers tells of round trips, and counts what is said of two processes", () => {
  const bench = new Bench();
  const { peer } = bench.add("a");
  bench.peers.receive(peer, pong(1), 250);
  bench.peers.receive(peer, pong(1), 260);
  bench.peers.receive(peer, {
    ...{ type: "ping", id: 9, sent: 0, ack: 0, limit: 0, resumed: false },
  }, 270);
  assert.deepEqual(bench.roundTrips, [250]);
  const { sent, received } = bench.frames;
  assert.deepEqual([sent.ping, sent.pong, received.ping, received.pong], [
    ...[1, 1, 1, 2],
  ]);
});
