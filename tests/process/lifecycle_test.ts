/** How a role waits for NATS, and that it never waits for ever. */
import assert from "node:assert/strict";
import { RunError } from "../../lib/base/errors.ts";
import { parseCommandLine } from "../../lib/config/cli.ts";
import { RoleFrame } from "../../lib/process/lifecycle.ts";
import { Reloads } from "../../lib/process/reload.ts";
import type { Session } from "../../lib/session/session.ts";
import { fakeSources } from "../support/option_values.ts";
import { ScriptedBroker } from "../support/scripted_broker.ts";

/** A role that is connected to `broker`. */
async function connected(broker: ScriptedBroker): Promise<RoleFrame> {
  const args = ["--nats-url", broker.url];
  const command = parseCommandLine("server", args, fakeSources());
  assert.ok(command.kind === "run");
  const { signal } = new AbortController();
  return await RoleFrame.open("server", {
    config: command.config.nats,
    host: {
      stop: { drain: signal, now: signal },
      pipes: new Map(),
      readAuth: () => command.config.nats.auth,
      keys: undefined,
      reloads: new Reloads(),
      askDrain: () => {},
      showStatus: () => {},
      onStarted: () => {},
    },
  });
}

/** What is shown of a role without tunnels, if anybody asks. */
const COUNTED = {
  opening: 0,
  missing: () => undefined,
  get session(): Session {
    return assert.fail("nobody asked for metrics");
  },
};

Deno.test("ready() ends when the bus has ended before, or ends meanwhile", async () => {
  for (const early of [true, false]) {
    await using broker = new ScriptedBroker(async (connection) => {
      await connection.login();
      await connection.serve();
    });
    await using frame = await connected(broker);
    const closed = frame.bus.close(0);
    // Closing takes turns of the event loop: not closed yet is the other case.
    if (early) await closed;
    await assert.rejects(
      frame.ready(COUNTED),
      (error: unknown) =>
        error instanceof RunError &&
        /ended for good: closed/.test(error.message),
    );
    await assert.rejects(frame.untilStopped(), /ended for good/);
    await closed;
  }
});
