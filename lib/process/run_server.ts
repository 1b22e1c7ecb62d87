/**
 * The server, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { systemClock } from "../base/clock.ts";
import type { TargetRules } from "../base/target_judge.ts";
import type { ClientEntry } from "../config/clients.ts";
import type { ServerConfig } from "../config/config.ts";
import {
  ClientDirectory,
  rulesForService,
  rulesOf,
} from "../server/clients.ts";
import type { ServerSeal } from "../server/reception.ts";
import { Lookups } from "../server/lookups.ts";
import { Egress } from "../server/server.ts";
import { type KeyTexts, ownKeys } from "./key_files.ts";
import type { Prepared, Reloaded, ReloadPart } from "./reload.ts";
import { loadAead } from "./sodium.ts";
import { random, RoleFrame, type RoleHost, roleOptions } from "./lifecycle.ts";
import { makeToken } from "../wire/subjects.ts";
import { dial, dialUnix, lookUp } from "../net/dial.ts";
import { dialPath, dialTarget } from "../server/targets.ts";

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
  const general = generalRules(config);
  // Before anything is waited for: what is read anew from now on counts.
  const clients = new KnownClients(config, host, general);
  host.reloads.join(clients);
  await using frame = await RoleFrame.open("server", { config: nats, host });
  const { bus, reserve } = frame;
  const options = roleOptions(config, host);
  const lookups = new Lookups((host) => lookUp(host, reserve));
  const aead = host.keys && await loadAead();
  using egress: Egress = new Egress({
    ...options,
    bus,
    token: makeToken(random),
    queueGroup: nats.queueGroup,
    inboxPrefix: nats.inboxPrefix,
    maxTunnelsPerClient: server.maxTunnelsPerClient,
    maxOpenRate: server.maxOpenRate,
    listenTimeout: server.dialTimeout,
    seal: clients.seal,
    aead,
    services: server.services,
    site: server.site,
    dial: async (target, signal, { known, payer, service }) => {
      const asked = known?.targets ?? [general];
      const rules = service === undefined
        ? asked
        : rulesForService(service, asked);
      const how = { signal, reserve, pool: egress.session.pool };
      const socket = "path" in target
        ? await dialPath(target.path, {
          ...{ rules, signal },
          connect: (path, signal) => dialUnix(path, { ...how, signal }),
        })
        : await dialTarget(target, {
          ...{ rules, signal },
          timeout: server.dialTimeout,
          clock: systemClock,
          resolve: (host, signal) => lookups.resolve(host, { payer, signal }),
          connect: (address, signal) => dial(address, { ...how, signal }),
        });
      return { socket, proxyProtocol: service?.proxyProtocol };
    },
  });
  clients.egress = egress;
  const { session } = egress;
  await frame.ready(egress);
  host.onStarted();
  const names = server.services.map(({ name }) => name);
  if (names.length > 0 && server.allowTarget.length === 0) {
    log.info(
      "only services may be reached, as there are some and no --allow-target ('*:*' there is for all else)",
    );
  }
  log.info("ready", {
    // Which of them it hears, where NATS refuses another.
    request: egress.hears(bus.refusedSubjects),
    queue: nats.queueGroup,
    ...(server.site !== undefined && { site: server.site }),
    ...(names.length > 0 && { services: names.join(", ") }),
  });

  await frame.untilStopped();
  await frame.atMostGoodbye(egress.drain());
  await frame.leave(session, tunnel.drainTimeout);
  log.info("stopped");
}

/** What all may reach; where services are offered, and no targets allowed, these alone. */
function generalRules({ server }: ServerConfig): TargetRules {
  return {
    allow: server.allowTarget,
    deny: server.denyTarget,
    called: { allow: "--allow-target", deny: "--deny-target" },
    servicesOnly: server.services.length > 0,
  };
}

/** Keys, and the clients that are known by theirs, which a reload may change. */
class KnownClients implements ReloadPart {
  /** What opens are read with; undefined where nothing is sealed. */
  seal: ServerSeal | undefined;
  /** What reads them. */
  egress: Egress | undefined;
  readonly #general: TargetRules;

  constructor(
    config: ServerConfig,
    { keys, reloads: { latest } }: RoleHost,
    general: TargetRules,
  ) {
    this.#general = general;
    this.seal = keys && sealOf(keys, config.clients, general);
    if (latest !== undefined) this.prepare(latest).commit();
  }

  prepare({ config, keys }: Reloaded): Prepared & { commit(): void } {
    return {
      commit: () => {
        if (config.role !== "server" || keys === undefined) return;
        this.seal = sealOf(keys, config.clients, this.#general);
        this.egress?.reload(this.seal);
      },
    };
  }
}

/** What opens are read with, and whose are taken; `general` is what all may reach. */
function sealOf(
  keys: KeyTexts,
  clients: readonly ClientEntry[],
  general: TargetRules,
): ServerSeal {
  const known = clients.map(({ allow, deny, ...client }) => ({
    ...client,
    targets: rulesOf({ ...client, allow, deny }, general),
  }));
  return { ...ownKeys(keys), clients: new ClientDirectory(known) };
}
