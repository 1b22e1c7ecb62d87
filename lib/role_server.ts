/**
 * The server, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Address, formatAddress, parseIp } from "./address.ts";
import type { ServerConfig } from "./config.ts";
import { Egress } from "./egress.ts";
import { TunnelError } from "./errors.ts";
import { openNats } from "./nats_setup.ts";
import {
  drainSession,
  leaveNats,
  random,
  type RoleHost,
  sessionOptions,
  StatusBoard,
  untilStopped,
} from "./role.ts";
import { collectMetrics } from "./role_metrics.ts";
import { makeToken } from "./subjects.ts";
import { matchTarget, type TargetRule } from "./target_rules.ts";
import { dial, resolve } from "./tcp.ts";

/**
 * Serves opens until told to stop.
 *
 * @throws {UsageError | RunError} when it cannot start or go on.
 */
export async function runServer(
  config: ServerConfig,
  host: RoleHost,
): Promise<void> {
  const { stop } = host;
  const log = getLogger(["sproxy", "server"]);
  const { nats, server, tunnel } = config;
  const board = new StatusBoard();
  let metrics = (): ReturnType<typeof collectMetrics> => [];
  host.showStatus({
    readiness: () => board.readiness(),
    metrics: () => metrics(),
  });
  await using bus = await openNats(nats, {
    name: "tcp-sproxy server",
    signal: AbortSignal.any([stop.drain, stop.now]),
    onSubscriptionError: (subject, reason) => {
      board.obstacle = `NATS refuses the subscription to ${subject}`;
      log.error("NATS refuses a subscription", { subject, why: reason });
    },
  });
  board.bus = bus;
  using egress: Egress = new Egress({
    ...sessionOptions(config),
    bus,
    token: makeToken(random),
    queueGroup: nats.queueGroup,
    maxOpening: tunnel.maxOpening,
    maxTunnelsPerClient: server.maxTunnelsPerClient,
    refuseV1: tunnel.refuseV1,
    v1Rate: tunnel.v1Rate,
    listenTimeout: server.dialTimeout,
    random,
    dial: async (target, signal) =>
      dial(await allowedAddress(target, server.allowTarget), {
        timeout: server.dialTimeout,
        signal,
        pool: egress.session.pool,
      }),
  });
  const { session } = egress;
  metrics = () =>
    collectMetrics({
      session,
      opening: egress.opening,
      connected: bus.connected,
      reconnects: bus.stats().reconnects,
    });
  await bus.flush();
  board.started = true;
  host.onStarted();
  log.info("ready", { request: nats.requestSubject, queue: nats.queueGroup });

  await untilStopped(bus, stop);
  board.draining = true;
  egress.drain();
  await drainSession(session, { timeout: tunnel.drainTimeout, stop });
  await leaveNats(bus);
  log.info("stopped");
}

/**
 * What to dial for a target under the rules: the target itself, or, where only
 * a rule for a network allows it, the address that its name leads to. What is
 * not allowed is never dialled.
 *
 * @throws {TunnelError} `denied`, or `no-such-host`.
 */
export async function allowedAddress(
  target: Address,
  rules: readonly TargetRule[],
): Promise<Address> {
  const { host, port } = target;
  if (rules.length === 0 || matchTarget(rules, target)) return { host, port };
  const byNetwork = rules.some((rule) => rule.host.kind === "network");
  if (byNetwork && parseIp(host) === undefined) {
    for (const resolvedIp of await resolve(host)) {
      if (matchTarget(rules, { host, port, resolvedIp })) {
        return { host: resolvedIp, port };
      }
    }
  }
  throw new TunnelError(
    "denied",
    `${formatAddress(target)} is not an allowed target (--allow-target)`,
  );
}
