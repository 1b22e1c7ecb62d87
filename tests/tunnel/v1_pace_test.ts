/** How fast a version 1 peer is sent to, and what no history may do to its tunnel. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Role } from "../../lib/wire/subjects.ts";
import { EVENTS, listening, V1Bench, type V1Event } from "./v1_bench.ts";

/** Most messages, and messages a second, that may be sent: as in docs/protocol.md. */
const BURST_MESSAGES = 64;
const MESSAGES_PER_MS = 2;
/** Most bytes in one burst, but for the end of the last message. */
const BURST_BYTES = 512 * 1024;

/** Whether no interval holds more than `burst` and `rate` per ms allow. */
function worstBurst(
  sent: readonly { readonly at: number; readonly count: number }[],
  rate: number,
): number {
  let total = 0;
  let least = Infinity;
  let worst = 0;
  for (const { at, count } of sent) {
    least = Math.min(least, total - rate * at);
    total += count;
    worst = Math.max(worst, total - rate * at - least);
  }
  return worst;
}

Deno.test("V1State never sends faster than the rate, nor in larger bursts, and keeps the order", () => {
  const source = new Uint8Array(4 << 20);
  const step = fc.record({
    writes: fc.array(fc.integer({ min: 1, max: 30_000 }), { maxLength: 100 }),
    wait: fc.constantFrom(0, 0, 1, 5, 25, 100, 1_000),
  });
  const history = fc.record({
    steps: fc.array(step, { minLength: 1, maxLength: 20 }),
    rate: fc.constantFrom(32 * 1024, 1 << 20, 1 << 24, 1 << 30),
    dataBytes: fc.constantFrom(100, 3_000, 32 * 1024),
  });
  fc.assert(
    fc.property(history, ({ steps, rate, dataBytes }) => {
      const bench = new V1Bench({ rate, dataBytes });
      bench.listen();
      const messages: { at: number; count: number }[] = [];
      const bytes: { at: number; count: number }[] = [];
      /** Bytes the application has written, that were read, and that were sent. */
      let wrote = 0;
      let read = 0;
      let sent = 0;
      const drive = (): void => {
        for (;;) {
          for (const frame of bench.frames()) {
            if (frame.type === "probe") {
              bench.state.passed(frame.id, bench.now);
              continue;
            }
            assert.ok(frame.type === "data");
            const { byteOffset, length } = frame.payload;
            assert.equal(byteOffset, sent, "out of order");
            assert.ok(length > 0 && length <= dataBytes);
            sent += length;
            messages.push({ at: bench.now, count: 1 });
            bytes.push({ at: bench.now, count: length });
          }
          const size = Math.min(wrote - read, bench.state.readAllowance);
          if (size === 0) return;
          bench.state.read(source.subarray(read, read + size), bench.now);
          read += size;
        }
      };
      // In as few messages as bound the time of the test.
      const most = Math.min(source.length, 1_000 * dataBytes);
      for (const { writes, wait } of steps) {
        for (const size of writes) {
          wrote = Math.min(most, wrote + size);
          drive();
        }
        bench.now += wait;
        bench.state.tick(bench.now);
        drive();
      }
      for (let i = 0; i < 2_000 && sent < wrote; i++) {
        bench.now = Math.max(bench.now, bench.state.nextTimeout);
        bench.state.tick(bench.now);
        drive();
      }
      assert.equal(sent, wrote, "not all was sent");
      assert.equal(bench.sendBudget.used, 0);
      const burst = worstBurst(messages, MESSAGES_PER_MS);
      assert.ok(burst <= BURST_MESSAGES + 0.001, `${burst} messages at once`);
      const load = worstBurst(bytes, rate / 1000);
      assert.ok(load <= BURST_BYTES + dataBytes + 1, `${load} bytes at once`);
    }),
    { numRuns: 200 },
  );
});

Deno.test("V1State does not overflow a queue of 100 whose reader stands still for 18 ms", () => {
  const bench = listening("client");
  let waiting = 0;
  let most = 0;
  let sent = 0;
  for (let ms = 0; ms < 5_000; ms++) {
    // The application writes as fast as it can, a byte at a time.
    while (bench.state.readAllowance > 0) {
      bench.read(".");
      waiting += bench.frames().filter(({ type }) => type === "data").length;
    }
    most = Math.max(most, waiting);
    const stalled = ms % 100 < 18;
    const taken = stalled ? 0 : Math.min(waiting, 10);
    waiting -= taken;
    sent += taken;
    bench.now++;
    bench.state.tick(bench.now);
  }
  assert.ok(most > 64 && most <= 100, `${most} messages waited`);
  assert.ok(sent > 9_000, `only ${sent} messages in 5 s`);
});

Deno.test("V1State survives any history, and gives back what it holds", () => {
  const names = Object.keys(EVENTS) as V1Event[];
  const event = fc.oneof(
    fc.constantFrom(...names.filter((name) => !/link|fails|error/.test(name))),
    fc.constantFrom(...names),
  );
  const action = fc.oneof(
    event.map((name) => (bench: V1Bench) => EVENTS[name](bench)),
    fc.constant((bench: V1Bench) => bench.write()),
    fc.constant((bench: V1Bench) => {
      for (const frame of bench.frames()) {
        if (frame.type === "probe") bench.state.passed(frame.id, bench.now);
      }
    }),
    fc.nat({ max: 3_000 }).map((ms) => (bench: V1Bench) => bench.wait(ms)),
  );
  fc.assert(
    fc.property(
      fc.constantFrom<Role>("client", "server"),
      fc.array(action, { maxLength: 60 }),
      (role, actions) => {
        const bench = new V1Bench({ role });
        let outcome: unknown;
        for (const act of actions) {
          act(bench);
          if (outcome !== undefined) assert.equal(bench.state.outcome, outcome);
          outcome = bench.state.outcome;
        }
        // Whatever happened, time ends it when the peer is gone.
        bench.broker = "no responders";
        bench.state.noResponders(bench.now); // to a probe under way
        for (let i = 0; i < 20 && bench.outcome === undefined; i++) {
          bench.write();
          bench.wait(5_000);
        }
        assert.ok(bench.outcome, "it goes on for ever");
        assert.equal(bench.state.nextTimeout, Infinity);
        assert.equal(bench.sendBudget.used, 0);
        assert.equal(bench.receiveBudget.used, 0);
        assert.deepEqual(bench.state.held, { send: 0, receive: 0 });
      },
    ),
    { numRuns: 5_000 },
  );
});
