/**
 * The server, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { systemClock } from "../base/clock.ts";
import { TunnelError } from "../base/errors.ts";
import { isAddress } from "../base/target.ts";
import type { TargetRules } from "../base/target_judge.ts";
import type { ClientEntry } from "../config/clients.ts";
import type { ServerConfig } from "../config/config.ts";
import { ClientDirectory, rulesOf } from "../server/clients.ts";
import type { ServerSeal } from "../server/reception.ts";
import { Lookups } from "../server/lookups.ts";
import { Egress } from "../server/server.ts";
import { type KeyTexts, ownKeys } from "./key_files.ts";
import { loadAead } from "./sodium.ts";
import { random, RoleFrame, type RoleHost, roleOptions } from "./lifecycle.ts";
import { makeToken } from "../wire/subjects.ts";
import { dial, lookUp } from "../net/dial.ts";
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
  await using frame = await RoleFrame.open("server", { config: nats, host });
  const { bus, reserve } = frame;
  const general: TargetRules = {
    allow: server.allowTarget,
    deny: server.denyTarget,
    called: { allow: "--allow-target", deny: "--deny-target" },
  };
  const options = roleOptions(config, host);
  const lookups = new Lookups((host) => lookUp(host, reserve));
  using egress: Egress = new Egress({
    ...options,
    bus,
    token: makeToken(random),
    queueGroup: nats.queueGroup,
    inboxPrefix: nats.inboxPrefix,
    maxTunnelsPerClient: server.maxTunnelsPerClient,
    maxOpenRate: server.maxOpenRate,
    listenTimeout: server.dialTimeout,
    seal: host.keys && sealOf(host.keys, config.clients, general),
    aead: host.keys && await loadAead(),
    dial: async (target, signal, { known, payer }) => {
      if (!isAddress(target)) {
        throw new TunnelError("denied", "the server offers only addresses");
      }
      return await dialTarget(target, {
        rules: known?.targets ?? [general],
        timeout: server.dialTimeout,
        signal,
        clock: systemClock,
        resolve: (host, signal) => lookups.resolve(host, { payer, signal }),
        connect: (address, signal) =>
          dial(address, { signal, reserve, pool: egress.session.pool }),
      });
    },
  });
  host.onReload(({ config, keys }) => {
    if (config.role !== "server") return;
    egress.reload(sealOf(keys, config.clients, general));
  });
  const { session } = egress;
  await frame.ready(egress);
  host.onStarted();
  const { subjects } = options;
  log.info("ready", {
    // Which of the two it hears, where NATS refuses the other.
    request: bus.refusedSubjects.includes(subjects.request)
      ? subjects.requestPattern()
      : subjects.request,
    queue: nats.queueGroup,
  });

  await frame.untilStopped();
  await frame.atMostGoodbye(egress.drain());
  await frame.leave(session, tunnel.drainTimeout);
  log.info("stopped");
}

/** What opens are read with, and whose are taken; `general` is what all may reach. */
function sealOf(
  keys: KeyTexts,
  clients: readonly ClientEntry[],
  general: TargetRules,
): ServerSeal {
  const known = clients.map(({ allow, deny, ...client }) => ({
    ...client,
    targets: rulesOf({ name: client.name, allow, deny }, general),
  }));
  return { ...ownKeys(keys), clients: new ClientDirectory(known) };
}
