/**
 * What a client's tunnels are made with, whether it serves or does one thing.
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";
import type { ClientConfig } from "../config/config.ts";
import { Claim } from "../client/claim.ts";
import type { IngressOptions } from "../client/client.ts";
import type { ClientSeal } from "../client/sealer.ts";
import type { NatsBus } from "../nats/connection.ts";
import { HoldSeal } from "../seal/hold.ts";
import { parsePublicKey } from "../seal/keys.ts";
import { makeToken } from "../wire/subjects.ts";
import { workersOf } from "./descriptors.ts";
import { type KeyTexts, ownKeys } from "./key_files.ts";
import { random, roleOptions } from "./lifecycle.ts";
import type { RoleHost } from "./role_host.ts";
import { openAudit } from "./open_audit.ts";
import { openTracing } from "./otel.ts";
import { loadAead } from "./sodium.ts";

/** The token of a client as `config` says it: with several workers that of the first; random where it has none. */
export function tokenOf(config: ClientConfig): string {
  const { id } = config.client;
  if (id === undefined) return makeToken(random);
  return workersOf(config) === 1 ? id : `${id}-1`;
}

/** What an ingress on `bus` is told, but for what it seals with and its claim. */
export async function ingressOptions(
  config: ClientConfig,
  { bus, host }: {
    readonly bus: NatsBus;
    readonly host: Pick<RoleHost, "keys" | "tunnelsByDescriptors">;
  },
): Promise<Omit<IngressOptions, "seal" | "claim">> {
  const { client, tunnel } = config;
  return {
    ...roleOptions(config, host),
    bus,
    token: client.id ?? makeToken(random),
    codec: tunnel.codec,
    openTimeout: client.openTimeout,
    observer: await openAudit(config, bus),
    tracing: await openTracing(),
    aead: host.keys && await loadAead(),
  };
}

/** The claim to the ID that is configured; nobody else has one made at random. */
export function claimOf(
  { client }: ClientConfig,
  options: Omit<IngressOptions, "seal" | "claim">,
  seal: ClientSeal | undefined,
): Claim | undefined {
  return client.id === undefined
    ? undefined
    : new Claim({ ...options, seal: seal && new HoldSeal(seal.key) });
}

/** Why nothing goes on under an ID that is another's. */
export function idLost(token: string): Reason {
  const text = `another process uses --client-id ${token}`;
  return { code: "shutdown", text };
}

/** What opens are sealed with. */
export function sealOf(
  texts: KeyTexts,
  { security: { serverKey = [] } }: ClientConfig,
): ClientSeal | undefined {
  const { keys: [key], psk } = ownKeys(texts);
  const serverKeys = serverKey.flatMap((text) => parsePublicKey(text) ?? []);
  return key && { key, psk, serverKeys };
}
