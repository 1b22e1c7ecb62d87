/** What the log says of an end is true at both ends. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { QUICK, type Stage, startStage } from "./support/chaos_stage.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type LogEntry, type Role, startTunnel } from "./support/roles.ts";
import { dial } from "./support/transfer.ts";
import { soon } from "./support/waits.ts";

const ROLES = ["client", "server"] as const;

/** The line about the end of a tunnel. */
async function closed(role: Role): Promise<LogEntry> {
  return await soon(
    `the ${role.process.name} says how the tunnel ended`,
    role.entry(({ msg }) => msg === "tunnel closed"),
  );
}

/** A tunnel on a broker of its own, whose tunnels wait for it only for a second. */
async function startQuick(): Promise<Stage> {
  return await startStage({ args: [...QUICK, "--resume-timeout", "1s"] });
}

for (const name of ROLES) {
  integrationTest(
    `a ${name} that is stopped says that it was, and the other end that it was the peer`,
    async () => {
      await using tunnel = await startTunnel({
        [`${name}Args`]: ["--drain-timeout", "0"],
      });
      using conn = await dial(tunnel.endpoint);
      await roundTrip(conn);
      const [here, there] = name === "client"
        ? [tunnel.client, tunnel.server]
        : [tunnel.server, tunnel.client];
      here.process.signal("SIGTERM");
      const [own, others] = await Promise.all([closed(here), closed(there)]);
      assert.equal(own.reason, "shutdown");
      assert.equal(own.by, "local", JSON.stringify(own));
      assert.doesNotMatch(String(own.why), /other end/, JSON.stringify(own));
      assert.equal(others.reason, "shutdown");
      assert.equal(others.by, "peer", JSON.stringify(others));
      assert.match(String(others.why), /other end/, JSON.stringify(others));
    },
  );

  integrationTest(
    `a ${name} whose broker is gone for too long does not say that its peer ended the tunnel`,
    async () => {
      await using tunnel = await startQuick();
      using conn = await dial(tunnel.endpoint);
      await roundTrip(conn);
      await tunnel.nats.kill();
      const end = await closed(tunnel[name]);
      assert.equal(end.reason, "nats-down", JSON.stringify(end));
      assert.equal(end.by, "local", JSON.stringify(end));
    },
  );

  integrationTest(
    `the first attempt of a ${name} that fails is told as the first`,
    async () => {
      await using tunnel = await startQuick();
      await tunnel.nats.kill();
      const failed = await soon(
        "an attempt fails",
        tunnel[name].entry(({ msg }) => msg === "cannot connect to NATS"),
      );
      assert.equal(failed.failures, 1, JSON.stringify(failed));
    },
  );
}
