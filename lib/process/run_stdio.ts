/**
 * A client that is one connection, between standard input and output.
 *
 * @module
 */
import type { ClientConfig } from "../config/config.ts";
import { formatDestination } from "../base/target.ts";
import { blame, type Decider, type Reason, RunError } from "../base/errors.ts";
import { systemClock } from "../base/clock.ts";
import { Ingress } from "../client/client.ts";
import type { Stdio } from "../config/one_shot.ts";
import { stdioSocket } from "../net/stdio.ts";
import { claimOf, idLost, ingressOptions, sealOf } from "./client_parts.ts";
import { RoleFrame } from "./lifecycle.ts";
import type { RoleHost } from "./role_host.ts";

/**
 * How long the connection may take to end by itself after a signal, in ms:
 * `ssh` sends one when it ends, beside the end of its output.
 */
const SIGNAL_GRACE_MS = 1_000;

/**
 * Opens a tunnel for standard input and output, and waits for its end. A signal
 * to stop is one, too.
 *
 * @throws {UsageError | RunError} when it cannot be opened, or is cut.
 */
export async function runStdio(
  config: ClientConfig,
  host: RoleHost,
  { target, site }: Stdio,
): Promise<void> {
  const { stop, keys } = host;
  await using frame = await RoleFrame.open("client", {
    config: config.nats,
    host,
    isWatched: false,
  });
  const options = await ingressOptions(config, { bus: frame.bus, host });
  const seal = keys && sealOf(keys, config);
  using claim = claimOf(config, options, seal);
  await claim?.acquire(stop.drain, { wait: false });
  const ended = Promise.withResolvers<void>();
  // It may end while nobody waits for it any more.
  ended.promise.catch(() => {});
  const fail = (what: string, reason: Reason, by: Decider): void =>
    ended.reject(
      new RunError(`${what}: ${blame(by, reason).why} (${reason.code})`),
    );
  const shown = formatDestination({ target, site });
  using ingress = new Ingress({
    ...options,
    seal,
    claim,
    endsAreTold: true,
    onTunnelEnd: (outcome) => {
      if (outcome.clean) ended.resolve();
      else {
        const { reason, by } = outcome;
        fail(`The connection to ${shown} was cut`, reason, by);
      }
    },
  });
  const { session } = ingress;
  const lost = claim?.hold();
  host.onStarted();
  // Not flushed first: NATS has the subscription before the open, which is
  // behind it, and the start is a round trip shorter.
  ingress.open({
    socket: stdioSocket(session.pool),
    target,
    site,
    told: true,
    reject: (reason, by) => fail(`Cannot connect to ${shown}`, reason, by),
  });
  await Promise.race([ended.promise, frame.untilStopped(lost)]);
  if (stop.drain.aborted) await settled(ended.promise, stop.now);
  const reason: Reason = lost?.aborted
    ? idLost(options.token)
    : { code: "shutdown", text: "the client was stopped" };
  ingress.cancelOpenings(reason);
  session.abortAll(reason);
  if (!lost?.aborted) {
    claim?.leave();
    await frame.leave(session, 0);
  }
  try {
    await ended.promise;
  } catch (error) {
    // That a signal cuts it is nothing to tell of.
    stop.drain.throwIfAborted();
    throw error;
  }
}

/** Waits until `ended` is settled, but not for long, nor when `now` aborts. */
async function settled(
  ended: Promise<void>,
  now: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  now.addEventListener("abort", () => resolve(), { once: true });
  using _timer = systemClock.after(SIGNAL_GRACE_MS, resolve);
  // Whoever waits for it next hears how.
  await Promise.race([ended.catch(() => {}), promise]);
}
