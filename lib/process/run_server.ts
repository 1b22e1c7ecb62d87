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
import type { Prepared, Reloaded, ReloadPart } from "./reload.ts";
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
  const general: TargetRules = {
    allow: server.allowTarget,
    deny: server.denyTarget,
    called: { allow: "--allow-target", deny: "--deny-target" },
  };
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
  clients.egress = egress;
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
    targets: rulesOf({ name: client.name, allow, deny }, general),
  }));
  return { ...ownKeys(keys), clients: new ClientDirectory(known) };
}
