import assert from "node:assert/strict";
import { ByteSource, digestOf } from "./support/hash.ts";
import { startFaultRelay } from "./support/fault_relay.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startEcho, startSink } from "./support/targets.ts";
import {
  dial,
  readEnding,
  readExactly,
  readToEnd,
  receiveAll,
  sendAll,
  writeAll,
} from "./support/transfer.ts";

const MIB = 1024 * 1024;
const HELLO = new TextEncoder().encode("hello");

integrationTest(
  "startFaultRelay() forwards both directions byte for byte",
  async () => {
    await using target = startEcho();
    await using relay = startFaultRelay(target.endpoint);
    using conn = await dial(relay.endpoint);
    const [sent, received] = await Promise.all([
      sendAll(conn, new ByteSource(1, 20 * MIB)),
      receiveAll(conn),
    ]);
    assert.deepEqual(received, sent);
    assert.deepEqual(sent, digestOf(1, 20 * MIB));
    assert.equal(relay.forwarded("up"), 20 * MIB);
    assert.equal(relay.forwarded("down"), 20 * MIB);
  },
);

integrationTest(
  "startFaultRelay() forwards a half-close and what follows it",
  async () => {
    await using target = startSink(HELLO);
    await using relay = startFaultRelay(target.endpoint);
    using conn = await dial(relay.endpoint);
    await sendAll(conn, new ByteSource(2, 1000));
    assert.deepEqual(await readToEnd(conn), HELLO);
    assert.deepEqual(await target.digest(0), digestOf(2, 1000));
  },
);

integrationTest("cutAfter() lets exactly that many bytes through", async () => {
  for (const limit of [0, 1, 4, 65_535, 65_536, 100_001]) {
    await using target = startSink();
    await using relay = startFaultRelay(target.endpoint);
    using conn = await dial(relay.endpoint);
    await relay.whenAccepted(1);
    relay.cutAfter(limit, { direction: "up" });
    const sending = sendAll(conn, new ByteSource(3, 200_000));
    await relay.whenCut(1);
    // Whether the sender notices depends on when it writes; that it sees the end does not.
    await sending.catch(() => {});
    await readEnding(conn);
    assert.equal(relay.forwarded("up"), limit);
    await target.whenOpenAtMost(0);
  }
});

integrationTest(
  "cutAfter() counts one direction, or both together",
  async () => {
    await using target = startEcho();
    await using relay = startFaultRelay(target.endpoint);
    using conn = await dial(relay.endpoint);
    relay.cutAfter(3, { direction: "down" });
    await writeAll(conn, HELLO);
    await relay.whenCut(1);
    assert.equal(relay.forwarded("up"), 5);
    assert.equal(relay.forwarded("down"), 3);

    using next = await dial(relay.endpoint);
    relay.cutAfter(7);
    await writeAll(next, HELLO);
    await relay.whenCut(2);
    assert.equal(relay.forwarded("up"), 10);
    assert.equal(relay.forwarded("down"), 5);
  },
);

integrationTest("cut() ends all connections and new ones work", async () => {
  await using target = startEcho();
  await using relay = startFaultRelay(target.endpoint);
  const conns = await Promise.all(
    Array.from({ length: 10 }, () => dial(relay.endpoint)),
  );
  await target.whenAccepted(10);
  assert.equal(relay.open, 10);
  relay.cut();
  for (const conn of conns) {
    assert.equal((await readEnding(conn)).bytes, 0);
    conn.close();
  }
  await target.whenOpenAtMost(0);
  using again = await dial(relay.endpoint);
  await roundTrip(again);
});

integrationTest(
  "refuse() refuses new connections, open ones go on; accept() ends it",
  async () => {
    await using target = startEcho();
    await using relay = startFaultRelay(target.endpoint);
    using open = await dial(relay.endpoint);
    await target.whenAccepted(1);
    await relay.refuse();
    await assert.rejects(dial(relay.endpoint), Deno.errors.ConnectionRefused);
    await roundTrip(open);
    await relay.accept();
    using again = await dial(relay.endpoint);
    await roundTrip(again);
  },
);

integrationTest(
  "blackhole() forwards nothing; resume() forwards what waited",
  async () => {
    await using target = startEcho();
    await using relay = startFaultRelay(target.endpoint);
    using conn = await dial(relay.endpoint);
    await writeAll(conn, HELLO);
    await readExactly(conn, 5);
    relay.blackhole();
    const size = 4 * MIB; // More than the kernel and the relay hold.
    const sending = sendAll(conn, new ByteSource(4, size));
    using second = await dial(relay.endpoint);
    await relay.whenAccepted(2);
    await writeAll(second, HELLO);
    assert.equal(relay.forwarded("up"), 5);
    await relay.resume();
    assert.deepEqual(await receiveAll(conn), await sending);
    assert.deepEqual(await readExactly(second, 5), HELLO);
  },
);

integrationTest(
  "delay() keeps the order and takes its time each way",
  async () => {
    await using target = startEcho();
    await using relay = startFaultRelay(target.endpoint);
    using conn = await dial(relay.endpoint);
    relay.delay(20);
    const started = performance.now();
    await writeAll(conn, HELLO);
    await readExactly(conn, 5);
    // Only a lower bound: a timer never fires early, a busy machine may be late.
    assert.ok(performance.now() - started >= 39);
    const [sent, received] = await Promise.all([
      sendAll(conn, new ByteSource(5, 8 * MIB)),
      receiveAll(conn),
    ]);
    assert.deepEqual(received, sent);
  },
);

integrationTest(
  "startFaultRelay() ends a connection whose upstream is not there",
  async () => {
    const gone = startEcho();
    const { endpoint } = gone;
    await gone[Symbol.asyncDispose]();
    await using relay = startFaultRelay(endpoint);
    using conn = await dial(relay.endpoint);
    assert.equal((await readEnding(conn)).bytes, 0);
    assert.equal(relay.open, 0);
  },
);
