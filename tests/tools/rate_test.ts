/** The measured transfer: bounded, also where the bus is full or nothing comes back. */
import assert from "node:assert/strict";
import { measureRate } from "../../lib/tools/rate.ts";
import { MemoryBroker } from "../support/memory_bus.ts";

const { signal } = new AbortController();

Deno.test("rate: 8 MiB go there and back, or there alone", async () => {
  const broker = new MemoryBroker();
  const bus = broker.connect();
  for (const loop of [true, false]) {
    const how = { subject: "x", loop, timeout: 60_000, signal };
    const { bytes, ms } = await measureRate(bus, how);
    assert.equal(bytes, 8 * 2 ** 20);
    assert.ok(ms > 0);
  }
  assert.equal(broker.subscriptions, 0);
});

Deno.test("rate: messages are no larger than the broker takes, and what does not come back is said", async () => {
  const broker = new MemoryBroker();
  const bus = broker.connect();
  bus.maxPayload = 5_000;
  let largest = 0;
  broker.filter = ({ data }) => {
    largest = Math.max(largest, data.length);
    return false;
  };
  const how = { subject: "x", loop: true, timeout: 60_000, signal };
  await assert.rejects(measureRate(bus, how), /nothing of it came back/);
  assert.equal(largest, 5_000);
});

Deno.test("rate: it waits for room, and ends with its time or when given up", async () => {
  const bus = new MemoryBroker().connect();
  let published = 0;
  const full = new Proxy(bus, {
    get(target, key): unknown {
      if (key === "publish") {
        return (...args: Parameters<typeof bus.publish>) => {
          bus.congested = ++published % 4 === 0;
          if (bus.congested) queueMicrotask(() => bus.drained());
          return target.publish(...args);
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const how = { subject: "x", loop: false, timeout: 60_000, signal };
  const { bytes } = await measureRate(full, how);
  assert.equal(bytes, 8 * 2 ** 20);
  const stop = new AbortController();
  bus.congested = true;
  const given = measureRate(bus, { ...how, signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(given, /enough/);
  bus.congested = false;
  const none = measureRate(bus, { ...how, timeout: 0 });
  await assert.rejects(none, /nothing/);
});
