/**
 * The client, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatAddress, parseAddress } from "./address.ts";
import { systemClock } from "./clock.ts";
import type { ClientConfig } from "./config.ts";
import { Ingress } from "./ingress.ts";
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
import { listen } from "./tcp.ts";

/**
 * Accepts connections until told to stop.
 *
 * @throws {UsageError | RunError} when it cannot start or go on.
 */
export async function runClient(
  config: ClientConfig,
  host: RoleHost,
): Promise<void> {
  const { stop } = host;
  const log = getLogger(["sproxy", "client"]);
  const { nats, client, tunnel } = config;
  const board = new StatusBoard();
  let metrics = (): ReturnType<typeof collectMetrics> => [];
  host.showStatus({
    readiness: () => board.readiness(),
    metrics: () => metrics(),
  });
  await using bus = await openNats(nats, {
    name: "tcp-sproxy client",
    signal: AbortSignal.any([stop.drain, stop.now]),
    onSubscriptionError: (subject, reason) => {
      board.obstacle = `NATS refuses the subscription to ${subject}`;
      log.error("NATS refuses a subscription", { subject, why: reason });
    },
  });
  board.bus = bus;
  using ingress = new Ingress({
    ...sessionOptions(config),
    bus,
    token: client.id ?? makeToken(random),
    target: client.remoteAddr,
    codec: tunnel.codec,
    openTimeout: client.openTimeout,
    maxOpening: tunnel.maxOpening,
    refuseV1: tunnel.refuseV1,
    v1Rate: tunnel.v1Rate,
    random,
  });
  const { session } = ingress;
  metrics = () =>
    collectMetrics({
      session,
      opening: ingress.opening,
      connected: bus.connected,
      reconnects: bus.stats().reconnects,
    });
  using listener = listen(client.listenAddr, {
    clock: systemClock,
    pool: session.pool,
    reusePort: config.workers !== 1,
    onAcceptError: (why) => {
      session.counters.acceptErrors++;
      log.error("cannot accept a connection", { why });
    },
  });
  await bus.flush();
  board.started = true;
  const accepting = ingress.serve(listener);
  host.onStarted(parseAddress(listener.address));
  log.info("listening", {
    address: listener.address,
    remote: formatAddress(client.remoteAddr),
  });

  await untilStopped(bus, stop);
  board.draining = true;
  listener[Symbol.dispose]();
  await accepting;
  ingress.cancelOpenings({
    code: "draining",
    text: "this client is about to stop",
  });
  await drainSession(session, { timeout: tunnel.drainTimeout, stop });
  await leaveNats(bus);
  log.info("stopped");
}
