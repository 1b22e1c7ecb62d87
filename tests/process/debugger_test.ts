/** The runtime's debugger: blocked and closed whenever a signal may open it. */
import assert from "node:assert/strict";
import {
  DebuggerGuard,
  type RuntimeDebugger,
} from "../../lib/process/debugger.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** A debugger that opens unless it is blocked. */
class FakeDebugger implements RuntimeDebugger {
  isOpen = false;
  /** How many hold its port. */
  blocks = 0;
  /** Whether the port can be taken. */
  blockable = true;

  open(): void {
    if (this.blocks === 0) this.isOpen = true;
  }

  close(): void {
    this.isOpen = false;
  }

  block(): Disposable | undefined {
    if (!this.blockable || this.isOpen) return undefined;
    this.blocks++;
    return { [Symbol.dispose]: () => void this.blocks-- };
  }
}

Deno.test("DebuggerGuard keeps the debugger from opening for a second after a signal", async () => {
  using log = captureLog();
  const clock = new FakeClock();
  const runtime = new FakeDebugger();
  using guard = new DebuggerGuard(clock, runtime);
  guard.onSignal();
  for (const ms of [0, 5, 50, 900]) {
    await clock.advance(ms);
    runtime.open();
    assert.equal(runtime.isOpen, false);
  }
  await clock.advance(1_000);
  assert.equal(runtime.blocks, 0);
  assert.equal(clock.timers, 0);
  assert.deepEqual(log.records.map(({ level }) => level), ["warning"]);
});

Deno.test("DebuggerGuard closes what was opened before the signal came to it, or where the port cannot be taken", async () => {
  using _log = captureLog();
  for (const delay of [-1, 0, 5, 50, 1_000]) {
    const clock = new FakeClock();
    const runtime = new FakeDebugger();
    runtime.blockable = false;
    using guard = new DebuggerGuard(clock, runtime);
    if (delay < 0) runtime.open();
    guard.onSignal();
    if (delay < 0) assert.equal(runtime.isOpen, false);
    await clock.advance(delay);
    runtime.open();
    await clock.advance(2_000);
    assert.equal(runtime.isOpen, false, `opened after ${delay} ms`);
  }
});

Deno.test("DebuggerGuard begins anew with each signal, with one timer and one port, until disposed", async () => {
  using _log = captureLog();
  const clock = new FakeClock();
  const runtime = new FakeDebugger();
  {
    using guard = new DebuggerGuard(clock, runtime);
    for (let i = 0; i < 20; i++) {
      guard.onSignal();
      await clock.advance(500);
      assert.equal(clock.timers, 1);
      assert.equal(runtime.blocks, 1);
    }
  }
  assert.equal(clock.timers, 0);
  assert.equal(runtime.blocks, 0);
});
