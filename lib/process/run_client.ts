/**
 * The client, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatAddress, parseAddress } from "../base/address.ts";
import { systemClock } from "../base/clock.ts";
import { Throttle } from "../base/throttle.ts";
import type { ClientConfig } from "../config/config.ts";
import { Ingress } from "../client/client.ts";
import { random, RoleFrame, type RoleHost, roleOptions } from "./lifecycle.ts";
import { makeToken } from "../wire/subjects.ts";
import { listen } from "../net/listen.ts";

/** Time between two lines about accepts that fail, in ms. */
const ACCEPT_ERROR_MS = 10_000;

/**
 * Accepts connections until told to stop.
 *
 * @throws {UsageError | RunError} when it cannot start or go on.
 */
export async function runClient(
  config: ClientConfig,
  host: RoleHost,
): Promise<void> {
  const log = getLogger(["sproxy", "client"]);
  const { nats, client, tunnel } = config;
  await using frame = await RoleFrame.open("client", { config: nats, host });
  const { bus } = frame;
  using ingress = new Ingress({
    ...roleOptions(config, host),
    bus,
    token: client.id ?? makeToken(random),
    target: client.remoteAddr,
    codec: tunnel.codec,
    openTimeout: client.openTimeout,
  });
  const { session } = ingress;
  const acceptErrors = new Throttle(ACCEPT_ERROR_MS);
  using listener = listen(client.listenAddr, {
    clock: systemClock,
    pool: session.pool,
    reserve: frame.reserve,
    reusePort: config.workers !== 1,
    onAcceptError: (why) => {
      session.counters.acceptErrors++;
      const count = acceptErrors.note(systemClock.now());
      if (count === undefined) return;
      log.warn("cannot accept a connection", { why, count });
    },
  });
  await frame.ready(ingress);
  const accepting = ingress.serve(listener);
  host.onStarted(parseAddress(listener.address));
  log.info("listening", {
    address: listener.address,
    remote: formatAddress(client.remoteAddr),
  });

  await frame.untilStopped();
  listener[Symbol.dispose]();
  await accepting;
  ingress.cancelOpenings({
    code: "draining",
    text: "the client is about to stop",
  });
  await frame.leave(session, tunnel.drainTimeout);
  log.info("stopped");
}
