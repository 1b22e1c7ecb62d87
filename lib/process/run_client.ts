/**
 * The client, put together.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { ClientConfig } from "../config/config.ts";
import { systemClock } from "../base/clock.ts";
import type { Claim } from "../client/claim.ts";
import { Ingress } from "../client/client.ts";
import { Fronts } from "../client/fronts.ts";
import { ProxyHeaders } from "../client/proxied.ts";
import { Strangers } from "../client/strangers.ts";
import type { ClientSeal } from "../client/sealer.ts";
import { HoldSeal } from "../seal/hold.ts";
import type { DeskOptions } from "./desk.ts";
import { ClientWays } from "./client_ways.ts";
import { claimOf, idLost, ingressOptions, sealOf } from "./client_parts.ts";
import { RoleFrame } from "./lifecycle.ts";
import type { RoleHost } from "./role_host.ts";
import type { Prepared, Reloaded, ReloadPart } from "./reload.ts";
import { runStdio } from "./run_stdio.ts";

/**
 * How long tunnels that are cut may take to end, in ms: to what applications
 * have not read yet they give 5 s.
 */
const CUT_MS = 6_000;

/**
 * Pause between looks at what is being opened, in ms; in the first one
 * connections are accepted that the system has accepted before.
 */
const SETTLE_MS = 20;

const log = getLogger(["sproxy", "client"]);

/**
 * Accepts connections until told to stop, unless it is to do one thing only.
 * While another process uses the same `--client-id` it accepts none, and waits.
 *
 * @throws {UsageError | RunError} when it cannot start or go on.
 */
export async function runClient(
  config: ClientConfig,
  host: RoleHost,
): Promise<void> {
  const { nats, client, tunnel } = config;
  if (client.oneShot?.kind === "stdio") {
    await runStdio(config, host, client.oneShot);
    return;
  }
  // Before anything is waited for: what is read anew from now on counts.
  const ways = new ClientWays(config, host);
  host.reloads.join(ways);
  const sealing = new Sealing(config, host);
  host.reloads.join(sealing);
  await using frame = await RoleFrame.open("client", { config: nats, host });
  const options = await ingressOptions(config, { bus: frame.bus, host });
  using claim = claimOf(config, options, sealing.seal);
  sealing.claim = claim;
  // Who waits for a command is told at once what keeps it from running.
  let patient = client.oneShot === undefined;
  for (;;) {
    frame.starting(() => claim?.objection);
    await claim?.acquire(host.stop.drain, { wait: patient });
    using ingress = new Ingress({
      ...options,
      seal: sealing.seal,
      claim,
      // Where nobody can ask whether it is ready, nobody is asked for that.
      watchServers: client.statusAddr !== undefined &&
        client.oneShot === undefined,
    });
    sealing.ingress = ingress;
    const lost = claim?.hold();
    const { session } = ingress;
    {
      // Not before: who connects to a port that nobody accepts at waits for ever.
      await frame.ready(ingress, { patient });
      patient = true;
      using strangers = new Strangers(systemClock);
      const first = { clock: systemClock, strangers };
      const fronts = new Fronts({ ...first, ingress });
      const headers = new ProxyHeaders(first);
      const { reserve } = frame;
      const into = { ingress, fronts, headers, strangers, reserve };
      using open = await ways.open(into);
      frame.showWays(() => open.views);
      const accepting = open.serve();
      if (!lost?.aborted) {
        host.onStarted(open.places);
        using _desk = await deskOf(config, { host, frame, counted: ingress });
        open.logListening();
        await frame.untilStopped(lost);
        if (client.oneShot !== undefined && !lost?.aborted) {
          const late = AbortSignal.timeout(tunnel.drainTimeout);
          await settle(ingress, AbortSignal.any([host.stop.now, late]));
        }
      }
      open[Symbol.dispose]();
      await accepting;
    }
    if (!lost?.aborted) {
      ingress.cancelOpenings({
        code: "draining",
        text: "the client is about to stop",
      });
      claim?.leave();
      await frame.leave(session, tunnel.drainTimeout);
      ingress.tellRest();
      log.info("stopped");
      return;
    }
    await cutAll(ingress, { token: options.token, now: host.stop.now });
  }
}

/** Where it is seen and asked over NATS, if at all; what is done once needs none. */
async function deskOf(
  config: ClientConfig,
  parts: Pick<DeskOptions, "host" | "frame" | "counted">,
): Promise<Disposable | undefined> {
  const { oneShot, natsService, control } = config.client;
  if (oneShot !== undefined || !(natsService || control)) return undefined;
  // Few clients have one: others start without it.
  const { openDesk } = await import("./desk.ts");
  return openDesk({ ...parts, config });
}

/** What opens are sealed with, which a reload may change. */
class Sealing implements ReloadPart {
  /** Undefined where nothing is sealed. */
  seal: ClientSeal | undefined;
  /** What seals. */
  ingress: Ingress | undefined;
  claim: Claim | undefined;

  constructor(config: ClientConfig, { keys, reloads: { latest } }: RoleHost) {
    this.seal = keys && sealOf(keys, config);
    if (latest !== undefined) this.prepare(latest).commit();
  }

  prepare({ config, keys }: Reloaded): Prepared & { commit(): void } {
    return {
      commit: () => {
        if (config.role !== "client" || keys === undefined) return;
        this.seal = sealOf(keys, config);
        if (this.seal === undefined) return;
        this.ingress?.reload(this.seal);
        this.claim?.reload(new HoldSeal(this.seal.key));
      },
    };
  }
}

/**
 * Waits until no tunnel is being opened, or `signal` aborts: what a command
 * did last may be to connect, send and end.
 */
async function settle(ingress: Ingress, signal: AbortSignal): Promise<void> {
  do {
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = systemClock.after(SETTLE_MS, resolve);
    await promise;
  } while (ingress.opening > 0 && !signal.aborted);
}

/**
 * Cuts the tunnels under an ID that is another's. Peers are not told that the
 * process leaves: to them the other is the same one.
 */
async function cutAll(
  ingress: Ingress,
  { token, now }: { readonly token: string; readonly now: AbortSignal },
): Promise<void> {
  const { session } = ingress;
  const reason = idLost(token);
  ingress.cancelOpenings({ ...reason, code: "draining" });
  session.abortAll(reason);
  try {
    await session.empty(AbortSignal.any([now, AbortSignal.timeout(CUT_MS)]));
  } catch {
    log.debug("tunnels are left that did not end in time", {
      tunnels: session.size,
    });
  }
}
