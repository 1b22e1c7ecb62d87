/**
 * The server, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { systemClock } from "../base/clock.ts";
import { VERSION } from "../config/cli.ts";
import type { ServerConfig } from "../config/config.ts";
import { Lookups } from "../server/lookups.ts";
import { Egress } from "../server/server.ts";
import { openAudit } from "./open_audit.ts";
import { openDesk, wantsDesk } from "./desk.ts";
import { ServerOffer } from "./server_offer.ts";
import { instanceId } from "./instance.ts";
import { hostname } from "./connect.ts";
import { openTracing } from "./otel.ts";
import { loadAead } from "./sodium.ts";
import { random, RoleFrame, roleOptions } from "./lifecycle.ts";
import type { RoleHost } from "./role_host.ts";
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
  // Before anything is waited for: what is read anew from now on counts.
  const offer = new ServerOffer(config, host);
  host.reloads.join(offer);
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
    seal: offer.seal,
    aead,
    services: offer.services,
    observer: await openAudit(config, bus),
    tracing: await openTracing(),
    site: server.site,
    identity: {
      publicId: instanceId(),
      version: VERSION,
      deno: Deno.version.deno,
      host: hostname(),
      pid: Deno.pid,
      worker: host.worker?.index,
    },
    dial: async (target, signal, { known, payer, service }) => {
      const rules = offer.rulesFor({ known }, service);
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
  offer.egress = egress;
  const { session } = egress;
  // Before it is ready: what it subscribes to is there by then.
  using _desk = wantsDesk(config)
    ? openDesk({
      ...{ config, host, frame, counted: egress },
      endpoints: () => egress.endpoints,
    })
    : undefined;
  await frame.ready(egress);
  host.onStarted();
  offer.logLimits();
  const names = offer.services.map(({ name }) => name);
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
  egress.tellRest();
  log.info("stopped");
}
