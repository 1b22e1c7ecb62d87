/** What a service manager asks for, and what it is told: tables of both. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  parseSupervision,
  reloadingMessage,
  type Standing,
  statusLine,
  stoppingMessage,
} from "../../lib/process/notify_messages.ts";

const PID = 4711;

Deno.test("parseSupervision(): where to send, and how often", () => {
  const path = "/run/systemd/notify";
  for (
    const [socket, usec, pid, supervision, problems] of [
      [undefined, "30000000", "", undefined, 0],
      ["", undefined, undefined, undefined, 0],
      [path, undefined, undefined, { path, watchdogMs: undefined }, 0],
      ["@a/b", undefined, undefined, {
        path: "\0a/b",
        watchdogMs: undefined,
      }, 0],
      [path, "30000000", undefined, { path, watchdogMs: 30_000 }, 0],
      [path, "30000000", "4711", { path, watchdogMs: 30_000 }, 0],
      [path, "30000000", "4712", { path, watchdogMs: undefined }, 0],
      [path, "0", undefined, { path, watchdogMs: undefined }, 1],
      [path, "99999", undefined, { path, watchdogMs: undefined }, 1],
      [path, "30s", undefined, { path, watchdogMs: undefined }, 1],
      [path, "-1", undefined, { path, watchdogMs: undefined }, 1],
      ["run/notify", undefined, undefined, undefined, 1],
      ["vsock:2:1234", undefined, undefined, undefined, 1],
      ["@", undefined, undefined, undefined, 1],
      ["/a\0b", undefined, undefined, undefined, 1],
    ] as const
  ) {
    const parsed = parseSupervision({
      notifySocket: socket,
      watchdogUsec: usec,
      watchdogPid: pid,
    }, PID);
    const of = JSON.stringify([socket, usec, pid]);
    assert.deepEqual(parsed.supervision, supervision, of);
    assert.equal(parsed.problems.length, problems, of);
  }
});

const WORKING: Standing = {
  phase: "working",
  notReadyReason: undefined,
  brokers: ["127.0.0.1:4222"],
  tunnels: 3,
  reloadFailed: false,
};

Deno.test("statusLine(): what goes on, on one line", () => {
  const away = { notReadyReason: "not connected to NATS", brokers: [] };
  for (
    const [standing, line] of [
      [{}, "connected to 127.0.0.1:4222; 3 tunnels open"],
      [
        { tunnels: 1, brokers: ["a:1", "b:2"] },
        "connected to a:1, b:2; 1 tunnel open",
      ],
      [away, "not ready: not connected to NATS; 3 tunnels open"],
      [
        { ...away, phase: "starting", tunnels: 0 },
        "starting: not connected to NATS; 0 tunnels open",
      ],
      [
        { phase: "starting", notReadyReason: "starting", tunnels: 0 },
        "starting; 0 tunnels open",
      ],
      [
        { phase: "stopping", notReadyReason: "draining" },
        "stopping; 3 tunnels open",
      ],
      [
        { workers: { ready: 1, all: 2 } },
        "connected to 127.0.0.1:4222; 3 tunnels open; 1 of 2 workers ready",
      ],
      [
        { workers: { ready: 2, all: 2 }, reloadFailed: true },
        "connected to 127.0.0.1:4222; 3 tunnels open; the last reload changed nothing, see the log",
      ],
    ] satisfies [Partial<Standing>, string][]
  ) assert.equal(statusLine({ ...WORKING, ...standing }), line);
});

Deno.test("statusLine() is one line of bounded length, whatever a broker or a reason is called", () => {
  fc.assert(fc.property(
    fc.string({ unit: "binary", maxLength: 500 }),
    fc.array(fc.string({ unit: "binary", maxLength: 500 })),
    fc.boolean(),
    (reason, brokers, ready) => {
      const notReadyReason = ready ? undefined : reason;
      const line = statusLine({ ...WORKING, notReadyReason, brokers });
      // deno-lint-ignore no-control-regex -- what must not be there
      assert.doesNotMatch(line, /[\u0000-\u001f\u007f]/);
      assert.ok(line.length <= 300);
    },
  ));
});

Deno.test("messages of a reload and an end say the time they are about in microseconds", () => {
  assert.equal(reloadingMessage(undefined), "RELOADING=1");
  assert.equal(
    reloadingMessage(67_468),
    "RELOADING=1\nMONOTONIC_USEC=67468000000",
  );
  assert.equal(
    stoppingMessage(30_000),
    "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000",
  );
});
