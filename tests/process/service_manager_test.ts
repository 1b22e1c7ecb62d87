/** When a service manager is told what, and when it is told nothing. */
import assert from "node:assert/strict";
import { ServiceManager } from "../../lib/process/service_manager.ts";
import type { Status } from "../../lib/process/status.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** A manager that keeps what it is told, and can be away or slow. */
class Stage {
  readonly clock = new FakeClock();
  readonly stop = new AbortController();
  readonly told: string[] = [];
  status: Status = { notReadyReason: "starting", metrics: [] };
  reads: () => Promise<void> = () => Promise.resolve();
  closed = false;
  readonly service: ServiceManager;

  constructor(watchdogMs?: number) {
    this.service = new ServiceManager({
      supervision: { path: "\0test", watchdogMs },
      read: () => this.status,
      drainTimeout: 5_000,
      sender: {
        send: async (message) => {
          await this.reads();
          this.told.push(message);
        },
        [Symbol.dispose]: () => void (this.closed = true),
      },
      uptime: () => 12,
      clock: this.clock,
    });
    this.service.endsAt({ drain: this.stop.signal });
  }

  /** It is ready and connected, with so many tunnels. */
  works(tunnels = 0): void {
    this.status = {
      notReadyReason: undefined,
      brokers: ["a:1"],
      tunnels,
      metrics: [],
    };
  }

  /** What was said since the last call, after `ms`. */
  async after(ms: number): Promise<string[]> {
    await this.clock.advance(ms, async () => {
      for (let turn = 0; turn < 200; turn++) await Promise.resolve();
    });
    return this.told.splice(0);
  }
}

Deno.test("ServiceManager: ready, reloading and stopping, each at once and once", async () => {
  const stage = new Stage();
  const { service } = stage;
  // Before it is ready nothing may be taken for readiness.
  service.reloading();
  service.reloaded(false);
  assert.deepEqual(await stage.after(0), []);
  assert.deepEqual(await stage.after(1_000), [
    "STATUS=starting; 0 tunnels open",
  ]);
  stage.works();
  service.ready();
  const ready = "READY=1\nSTATUS=connected to a:1; 0 tunnels open";
  assert.deepEqual(await stage.after(0), [ready]);
  service.reloading();
  service.reloaded(true);
  const failed = "; the last reload changed nothing, see the log";
  assert.deepEqual(await stage.after(0), [
    "RELOADING=1\nMONOTONIC_USEC=12000000",
    ready + failed,
  ]);
  service.reloading();
  service.reloaded(false);
  assert.equal((await stage.after(0)).at(-1), ready);
  stage.stop.abort();
  assert.deepEqual(await stage.after(0), [
    "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\nSTATUS=stopping; 0 tunnels open",
  ]);
  // A reload under way, or a start that comes late, does not take that back.
  service.ready();
  service.reloaded(false);
  assert.deepEqual(await stage.after(0), []);
  await service[Symbol.asyncDispose]();
  assert.ok(stage.closed);
  assert.equal(stage.clock.timers, 0);
});

Deno.test("ServiceManager: what goes on is told when it changes, and at most once a second", async () => {
  const stage = new Stage();
  stage.works();
  stage.service.ready();
  await stage.after(0);
  assert.deepEqual(await stage.after(10_000), []);
  for (let tunnels = 1; tunnels <= 100; tunnels++) {
    stage.works(tunnels);
    await stage.clock.advance(50);
  }
  const told = await stage.after(1_000);
  assert.ok(told.length >= 5 && told.length <= 6, told.join("\n"));
  assert.equal(told.at(-1), "STATUS=connected to a:1; 100 tunnels open");
  await stage.service[Symbol.asyncDispose]();
});

Deno.test("ServiceManager: the watchdog hears from us at half its time, and not while a worker hangs", async () => {
  using log = captureLog();
  const stage = new Stage(600);
  stage.works();
  stage.service.ready();
  await stage.after(0);
  const alive = (told: string[]): number =>
    told.filter((message) => message === "WATCHDOG=1").length;
  assert.equal(alive(await stage.after(3_000)), 10);
  // A broker that is away is nothing that a new start would mend.
  stage.status = { ...stage.status, notReadyReason: "not connected to NATS" };
  assert.equal(alive(await stage.after(3_000)), 10);
  const hung = "worker 2 has said nothing for 6s";
  stage.status = { ...stage.status, hung };
  assert.equal(alive(await stage.after(3_000)), 0);
  const errors = log.records.filter(({ level }) => level === "error");
  assert.deepEqual(errors.map(({ properties }) => properties.why), [hung]);
  stage.works();
  assert.equal(alive(await stage.after(600)), 2);
  await stage.service[Symbol.asyncDispose]();
});

Deno.test("ServiceManager: a manager that is away is a line in the log, and is told all when it is back", async () => {
  using log = captureLog();
  const stage = new Stage(1_000);
  stage.works(2);
  stage.reads = () => Promise.reject(new Error("nobody is there"));
  stage.service.ready();
  assert.deepEqual(await stage.after(10_000), []);
  const warnings = log.records.filter(({ level }) => level === "warning");
  assert.equal(warnings.length, 1);
  assert.deepEqual(warnings[0]?.properties, {
    why: "nobody is there",
    socket: "@test",
  });
  stage.reads = () => Promise.resolve();
  const told = await stage.after(1_000);
  assert.ok(
    told.includes("STATUS=connected to a:1; 2 tunnels open"),
    `${told}`,
  );
  await stage.service[Symbol.asyncDispose]();
});

Deno.test("ServiceManager: a manager that does not read costs a bounded number of messages, and holds nothing up", async () => {
  const stage = new Stage(200);
  stage.works();
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.reads = () => promise;
  stage.service.ready();
  for (let i = 0; i < 1_000; i++) {
    stage.works(i);
    stage.service.reloading();
    stage.service.reloaded(false);
    await stage.clock.advance(1_000);
  }
  resolve();
  const told = await stage.after(0);
  assert.equal(told.length, 16);
  assert.match(told[0] ?? "", /^READY=1\n/);
  stage.reads = () => new Promise(() => {});
  stage.stop.abort();
  const ended = stage.service[Symbol.asyncDispose]();
  await stage.clock.advance(200);
  await ended;
  assert.ok(stage.closed);
});
