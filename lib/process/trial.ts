/**
 * What it takes to try a configuration without running it: opens as its client
 * would ask for them, and dials as its server would make them.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { BufferPool } from "../base/buffer_pool.ts";
import type { Service } from "../base/service.ts";
import type { ClientConfig, ServerConfig } from "../config/config.ts";
import { subjectsOf } from "../config/nats_section.ts";
import { Trials } from "../client/trial.ts";
import { Claim } from "../client/claim.ts";
import type { NatsBus } from "../nats/connection.ts";
import { dial, dialUnix, lookUp } from "../net/dial.ts";
import { closeSocket } from "../net/socket.ts";
import { dialPath, dialTarget } from "../server/targets.ts";
import { HoldSeal } from "../seal/hold.ts";
import { sealOf } from "./client_parts.ts";
import type { KeyTexts } from "./key_files.ts";
import { random } from "./lifecycle.ts";
import type { Asker } from "./prober.ts";
import { Reloads } from "./reload.ts";
import { ServerOffer } from "./server_offer.ts";

export type { TrialOutcome, Trials } from "../client/trial.ts";

/** Opens as the client of `config` would ask for them, on the connection of `asker`. */
export function trialsOf(
  config: ClientConfig,
  { bus, token, keys, subjects, listen }: Pick<
    Asker,
    "bus" | "token" | "keys" | "subjects" | "listen"
  >,
  /** How long one may take, in ms. */
  openTimeout: number,
): Trials {
  return new Trials({
    ...{ bus, token, subjects, listen, openTimeout, random },
    seal: keys && sealOf(keys, config),
    clock: systemClock,
    refuseV1: config.tunnel.refuseV1,
  });
}

/**
 * Waits until it is known that no other process has the client's ID.
 *
 * @throws {RunError} when another has it.
 * @throws the reason of `signal` when it aborts.
 */
export async function askForId(
  config: ClientConfig,
  { bus, token, keys, signal }: {
    readonly bus: NatsBus;
    readonly token: string;
    readonly keys: KeyTexts | undefined;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { tunnel } = config;
  const seal = keys && sealOf(keys, config);
  using claim = new Claim({
    bus,
    token,
    clock: systemClock,
    subjects: subjectsOf(config.nats),
    times: {
      peerTimeout: tunnel.peerTimeout,
      resumeTimeout: tunnel.resumeTimeout,
    },
    random,
    seal: seal && new HoldSeal(seal.key),
  });
  await claim.acquire(signal, { wait: false });
}

/**
 * Connects to the target of a service as the server of `config` would, and ends
 * the connection; resolves to the address of the other end.
 *
 * @throws {TunnelError} saying why it cannot.
 * @throws the reason of `signal` when it aborts.
 */
export async function tryService(
  config: ServerConfig,
  service: Service,
  { timeout, signal }: {
    /** How long it may take, in ms. */
    readonly timeout: number;
    readonly signal: AbortSignal;
  },
): Promise<string> {
  const offer = new ServerOffer(config, {
    keys: undefined,
    reloads: new Reloads(),
  });
  const rules = offer.rulesFor({ known: undefined }, service);
  const pool = new BufferPool();
  const { target } = service;
  const socket = "path" in target
    ? await dialPath(target.path, {
      ...{ rules, signal },
      connect: (path, signal) => dialUnix(path, { pool, signal }),
    })
    : await dialTarget(target, {
      ...{ rules, signal, timeout },
      clock: systemClock,
      resolve: (host) => lookUp(host),
      connect: (address, signal) => dial(address, { pool, signal }),
    });
  closeSocket(socket);
  return socket.remote;
}
