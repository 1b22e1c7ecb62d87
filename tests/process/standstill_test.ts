/** Whether a process that did not run says so. */
import assert from "node:assert/strict";
import { LATE_MS, LOOK_MS, Standstill } from "../../lib/process/standstill.ts";
import { captureLog } from "../support/capture_log.ts";

/** A clock whose timers fire when the test says. */
class HandClock {
  time = 0;
  #fire: (() => void) | undefined;

  now(): number {
    return this.time;
  }

  after(_delay: number, callback: () => void): Disposable {
    this.#fire = callback;
    return { [Symbol.dispose]: () => void (this.#fire = undefined) };
  }

  /** Its timer fires `late` ms after it was due. */
  fire(late: number): void {
    this.time += LOOK_MS + late;
    this.#fire?.();
  }

  get waits(): boolean {
    return this.#fire !== undefined;
  }
}

Deno.test("a process that stood still says for how long, and one that is busy nothing", () => {
  using log = captureLog();
  const clock = new HandClock();
  {
    using _standstill = new Standstill(clock);
    clock.fire(0);
    clock.fire(LATE_MS - 1);
    assert.equal(log.records.length, 0);
    clock.fire(40_000);
    clock.fire(1);
    assert.equal(log.records.length, 1);
    const [record] = log.records;
    assert.equal(record?.level, "warning");
    assert.equal(record?.properties.ms, 40_000);
    assert.ok(clock.waits);
  }
  assert.ok(!clock.waits);
});
