import assert from "node:assert/strict";
import {
  logStops,
  type SignalSource,
  watchSignals,
} from "../../lib/process/signals.ts";
import { captureLog } from "../support/capture_log.ts";

/** Signals that a test sends itself. */
class FakeSignals implements SignalSource {
  readonly listeners = new Map<Deno.Signal, Set<() => void>>();
  readonly #missing: Deno.Signal | undefined;
  /** What of the process is a person's terminal. */
  terminal: "stdin" | "stderr" | undefined;
  readonly stdin = { isTerminal: (): boolean => this.terminal === "stdin" };
  readonly stderr = { isTerminal: (): boolean => this.terminal === "stderr" };

  /** Has every signal but `missing`. */
  constructor(missing?: Deno.Signal) {
    this.#missing = missing;
  }

  addSignalListener(signal: Deno.Signal, listener: () => void): void {
    if (signal === this.#missing) throw new TypeError("no such signal");
    const listeners = this.listeners.get(signal) ?? new Set();
    this.listeners.set(signal, listeners.add(listener));
  }

  removeSignalListener(signal: Deno.Signal, listener: () => void): void {
    assert.ok(this.listeners.get(signal)?.delete(listener), signal);
  }

  send(signal: Deno.Signal): void {
    for (const listener of this.listeners.get(signal) ?? []) listener();
  }

  get size(): number {
    return [...this.listeners.values()].reduce((sum, it) => sum + it.size, 0);
  }
}

/** What is to happen at other signals where a test does not care. */
const IGNORED = { onHangup: (): void => {}, onUser1: (): void => {} };

Deno.test("watchSignals() drains on the first signal and ends on the second", () => {
  for (const first of ["SIGINT", "SIGTERM"] as const) {
    for (const second of ["SIGINT", "SIGTERM"] as const) {
      const signals = new FakeSignals();
      using shutdown = watchSignals(IGNORED, signals);
      const aborted = (): boolean[] => [
        shutdown.drain.aborted,
        shutdown.now.aborted,
      ];
      assert.deepEqual(aborted(), [false, false]);
      signals.send(first);
      assert.deepEqual(aborted(), [true, false]);
      assert.equal(shutdown.drain.reason.message, `received ${first}`);
      signals.send(second);
      assert.deepEqual(aborted(), [true, true]);
      assert.equal(shutdown.now.reason.message, `received ${second}`);
      signals.send(first);
      assert.equal(shutdown.now.reason.message, `received ${second}`);
    }
  }
});

Deno.test("watchSignals(): an operator has it drain, and a signal after that is the first one", () => {
  const signals = new FakeSignals();
  using shutdown = watchSignals(IGNORED, signals);
  shutdown.askDrain();
  shutdown.askDrain();
  assert.ok(shutdown.drain.aborted);
  signals.send("SIGTERM");
  assert.ok(!shutdown.now.aborted);
  signals.send("SIGTERM");
  assert.ok(shutdown.now.aborted);
});

Deno.test("watchSignals() stops listening when disposed, once", () => {
  const signals = new FakeSignals();
  const shutdown = watchSignals(IGNORED, signals);
  assert.equal(signals.size, 4);
  shutdown[Symbol.dispose]();
  shutdown[Symbol.dispose]();
  assert.equal(signals.size, 0);
  signals.send("SIGINT");
  assert.equal(shutdown.drain.aborted, false);
});

Deno.test("watchSignals() does without a signal that the platform lacks", () => {
  const signals = new FakeSignals("SIGTERM");
  using shutdown = watchSignals(IGNORED, signals);
  assert.equal(signals.size, 3);
  signals.send("SIGINT");
  assert.ok(shutdown.drain.aborted);
});

Deno.test("watchSignals() drains on SIGHUP where the terminal is gone, and goes on as a service", () => {
  for (const terminal of ["stdin", "stderr", undefined] as const) {
    const signals = new FakeSignals();
    signals.terminal = terminal;
    let hangups = 0;
    let others = 0;
    using shutdown = watchSignals({
      onHangup: () => hangups++,
      onUser1: () => others++,
    }, signals);
    signals.send("SIGUSR1");
    assert.equal(shutdown.drain.aborted, false);
    signals.send("SIGHUP");
    assert.equal(shutdown.drain.aborted, terminal !== undefined);
    assert.equal(hangups, terminal === undefined ? 1 : 0);
    assert.equal(others, 1);
  }
});

Deno.test("watchSignals() passes on a failure that is not of the platform", () => {
  const broken: SignalSource = {
    addSignalListener(): void {
      throw new Error("broken");
    },
    removeSignalListener(): void {},
    stdin: { isTerminal: () => false },
    stderr: { isTerminal: () => false },
  };
  assert.throws(() => watchSignals(IGNORED, broken), /broken/);
});

Deno.test({
  name: "watchSignals() hears a process's signals, and keeps it up until then",
  ignore: Deno.build.os === "windows",
  async fn(): Promise<void> {
    const code = `
      import { watchSignals } from ${
      JSON.stringify(import.meta.resolve("../../lib/process/signals.ts"))
    };
      const aborted = (signal) => new Promise((resolve) =>
        signal.addEventListener("abort", () => resolve(signal.reason.message))
      );
      using shutdown = watchSignals({ onHangup() {}, onUser1() {} });
      const { drain, now } = shutdown;
      const [first, second] = [aborted(drain), aborted(now)];
      console.log("listening");
      console.log("drain:", await first);
      console.log("now:", await second);
    `;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", code],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const lines: string[] = [];
    // Each line is the child's word that it is ready for the next signal.
    const next: Deno.Signal[] = ["SIGTERM", "SIGINT"];
    for await (
      const text of child.stdout.pipeThrough(new TextDecoderStream())
    ) {
      lines.push(...text.trimEnd().split("\n"));
      const signal = next.shift();
      if (signal === undefined) continue;
      if (signal === "SIGTERM") {
        // These end nothing. Not beside the last one: after that it listens
        // no more, and would end.
        for (const other of ["SIGHUP", "SIGUSR1"] as const) child.kill(other);
      }
      child.kill(signal);
    }
    const { code: exitCode } = await child.status;
    assert.deepEqual(lines, [
      "listening",
      "drain: received SIGTERM",
      "now: received SIGINT",
    ]);
    assert.equal(exitCode, 0);
  },
});

Deno.test("logStops() says which signal ended the process, and how", () => {
  using log = captureLog();
  const source = new FakeSignals();
  using stop = watchSignals(IGNORED, source);
  logStops(stop);
  source.send("SIGTERM");
  source.send("SIGINT");
  source.send("SIGINT");
  assert.deepEqual(
    log.records.map(({ properties }) => [properties.signal, properties.how]),
    [["SIGTERM", "drain"], ["SIGINT", "now"]],
  );
});
