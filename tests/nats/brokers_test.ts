/** Which broker is dialled next. */
import assert from "node:assert/strict";
import { type Broker, Brokers } from "../../lib/nats/brokers.ts";
import { brokers as addresses } from "../support/brokers.ts";

const NOBODY: ReadonlySet<Broker> = new Set();

/** Waits are as long as they may be. */
function make(...servers: string[]): Brokers {
  return new Brokers(addresses(...servers), () => 1);
}

/** The broker that is next at `now`. */
function next(brokers: Brokers, now = 0, busy = NOBODY): Broker {
  const found = brokers.next(now, busy);
  assert.ok(found);
  return found.broker;
}

/** All of them, in the order in which they would be dialled side by side. */
function all(brokers: Brokers, now = 0): Broker[] {
  const busy = new Set<Broker>();
  for (;;) {
    const found = brokers.next(now, busy);
    if (found === undefined) return [...busy];
    busy.add(found.broker);
  }
}

function order(brokers: Brokers): string[] {
  return all(brokers).map(({ name }) => name);
}

Deno.test("Brokers gives the configured ones in their order, then the announced ones", () => {
  const brokers = make("a", "b:2", "a");
  brokers.discovered(["c:3", "[::1]:4", "A:4222", "b:2"], next(brokers));
  assert.deepEqual(order(brokers), [
    "a:4222",
    "b:2",
    "c:3",
    "[::1]:4",
    "A:4222",
  ]);
  brokers.discovered(["d:5"], next(brokers));
  assert.deepEqual(order(brokers), ["a:4222", "b:2", "d:5"]);
});

Deno.test("Brokers passes over what is no address, and remembers only so many", () => {
  const brokers = make("a");
  const many = Array.from({ length: 100 }, (_, i) => `10.0.0.${i}:4222`);
  brokers.discovered(
    ["", ":1", "x", "nats://x:1", "\n:1", ...many],
    next(brokers),
  );
  assert.equal(order(brokers).length, 65);
});

Deno.test("Brokers makes one that failed wait, longer each time, and others go first", () => {
  const brokers = make("a", "b");
  const a = next(brokers);
  for (const wait of [50, 100, 200, 400, 800, 1600, 2000, 2000]) {
    brokers.failed(a, 0);
    assert.equal(next(brokers).name, "b:4222");
    const b = next(brokers);
    const later = brokers.next(0, new Set([b]));
    assert.deepEqual(later, { broker: a, at: wait });
    assert.equal(next(brokers, wait).name, "b:4222", "it failed less often");
  }
});

Deno.test("Brokers puts a configured one that may be dialled again before the announced ones", () => {
  const brokers = make("a");
  const a = next(brokers);
  brokers.discovered(["c:3", "d:4"], a);
  brokers.failed(a, 0);
  assert.equal(next(brokers, 49).name, "c:3");
  assert.equal(next(brokers, 50).name, "a:4222");
});

Deno.test("Brokers puts the one that worked last first, though it was only announced, and is so no more", () => {
  const brokers = make("a", "b");
  const a = next(brokers);
  brokers.discovered(["c:3", "d:4"], a);
  const d = all(brokers).find(({ name }) => name === "d:4");
  assert.ok(d);
  brokers.failed(a, 0);
  brokers.lost(d);
  assert.deepEqual(order(brokers), ["d:4", "a:4222", "b:4222", "c:3"]);
  brokers.discovered([], a);
  assert.deepEqual(order(brokers), ["d:4", "a:4222", "b:4222"]);
  brokers.failed(d, 0);
  assert.deepEqual(order(brokers), ["a:4222", "b:4222", "d:4"]);
});

Deno.test("Brokers keeps what it knows of one that is announced again", () => {
  const brokers = make("a");
  const a = next(brokers);
  brokers.discovered(["c:3"], a);
  const c = next(brokers, 0, new Set([a]));
  brokers.failed(c, 0);
  brokers.discovered(["c:3"], a);
  assert.deepEqual(brokers.next(0, new Set([a])), { broker: c, at: 50 });
});

Deno.test("Brokers holds an announced one to the name that was configured", () => {
  const brokers = make("nats.example.com", "10.0.0.1", "[fe80::1%eth0]");
  const [named, plain, zoned] = all(brokers);
  assert.ok(named && plain && zoned);
  assert.equal(named.tlsName, "nats.example.com");
  assert.equal(plain.tlsName, "10.0.0.1");
  assert.equal(zoned.tlsName, "fe80::1");
  const announced = ["10.0.0.2:1", "evil.example.org:1"];
  const tlsNames = (by: Broker): string[] => {
    brokers.discovered([], by);
    brokers.discovered(announced, by);
    return all(brokers).slice(3).map(({ tlsName }) => tlsName);
  };
  assert.deepEqual(tlsNames(named), ["nats.example.com", "nats.example.com"]);
  // An address vouches for nothing but itself.
  assert.deepEqual(tlsNames(plain), ["10.0.0.2", "evil.example.org"]);
});

Deno.test("Brokers knows when every other configured one has failed", () => {
  const brokers = make("a", "b");
  const a = next(brokers);
  const b = next(brokers, 0, new Set([a]));
  brokers.discovered(["c:3"], a);
  assert.ok(!brokers.othersFailed(a));
  brokers.failed(b, 0, { untried: true });
  assert.ok(!brokers.othersFailed(a), "it was not tried");
  brokers.failed(b, 0);
  assert.ok(brokers.othersFailed(a));
  assert.ok(!brokers.othersFailed(b));
  const alone = make("a");
  assert.ok(alone.othersFailed(next(alone)));
});
