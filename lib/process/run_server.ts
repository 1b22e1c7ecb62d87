/**
 * The server, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { systemClock } from "../base/clock.ts";
import type { TargetRules } from "../base/target_judge.ts";
import type { ServerConfig } from "../config/config.ts";
import { Egress } from "../server/server.ts";
import { random, RoleFrame, type RoleHost, roleOptions } from "./lifecycle.ts";
import { makeToken } from "../wire/subjects.ts";
import { dial, resolve } from "../net/dial.ts";
import { dialTarget } from "../server/targets.ts";

/**
 * Serves opens until told to stop.
 *
 * @throws {UsageError | RunError} when it cannot start or go on.
 */
export async function runServer(
  config: ServerConfig,
  host: RoleHost,
): Promise<void> {
  const log = getLogger(["sproxy", "server"]);
  const { nats, server, tunnel } = config;
  const rules: TargetRules = {
    allow: server.allowTarget,
    deny: server.denyTarget,
    called: { allow: "--allow-target", deny: "--deny-target" },
  };
  await using frame = await RoleFrame.open("server", { config: nats, host });
  const { bus, reserve } = frame;
  using egress: Egress = new Egress({
    ...roleOptions(config, host),
    bus,
    token: makeToken(random),
    queueGroup: nats.queueGroup,
    maxTunnelsPerClient: server.maxTunnelsPerClient,
    maxOpenRate: server.maxOpenRate,
    listenTimeout: server.dialTimeout,
    dial: (target, signal) =>
      dialTarget(target, {
        rules: [rules],
        timeout: server.dialTimeout,
        signal,
        clock: systemClock,
        resolve: (host, signal) => resolve(host, signal, reserve),
        connect: (address, signal) =>
          dial(address, { signal, reserve, pool: egress.session.pool }),
      }),
  });
  const { session } = egress;
  await frame.ready(egress);
  host.onStarted();
  log.info("ready", { request: nats.requestSubject, queue: nats.queueGroup });

  await frame.untilStopped();
  await frame.atMostGoodbye(egress.drain());
  await frame.leave(session, tunnel.drainTimeout);
  log.info("stopped");
}
