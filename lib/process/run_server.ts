/**
 * The server, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Address, formatAddress, parseIp } from "../base/address.ts";
import type { ServerConfig } from "../config/config.ts";
import { Egress } from "../server/server.ts";
import { TunnelError } from "../base/errors.ts";
import {
  random,
  RoleFrame,
  type RoleHost,
  sessionOptions,
} from "./lifecycle.ts";
import { makeToken } from "../wire/subjects.ts";
import { matchTarget, type TargetRule } from "../base/target_rules.ts";
import { dial, type DialLimits, resolve } from "../net/tcp.ts";

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
  await using frame = await RoleFrame.open("server", { config: nats, host });
  const { bus } = frame;
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
      dial(
        await allowedAddress(target, {
          rules: server.allowTarget,
          timeout: server.dialTimeout,
          signal,
        }),
        { timeout: server.dialTimeout, signal, pool: egress.session.pool },
      ),
  });
  const { session } = egress;
  frame.observe(session, { opening: () => egress.opening });
  await frame.ready();
  host.onStarted();
  log.info("ready", { request: nats.requestSubject, queue: nats.queueGroup });

  await frame.untilStopped();
  await frame.atMostGoodbye(egress.drain());
  await frame.leave(session, tunnel.drainTimeout);
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
  options: { readonly rules: readonly TargetRule[] } & DialLimits,
): Promise<Address> {
  const { host, port } = target;
  const { rules } = options;
  if (rules.length === 0 || matchTarget(rules, target)) return { host, port };
  const byNetwork = rules.some((rule) => rule.host.kind === "network");
  if (byNetwork && parseIp(host) === undefined) {
    for (const resolvedIp of await resolve(host, options)) {
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
