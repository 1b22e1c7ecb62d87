/**
 * The public half of an nkey, which a broker's configuration names.
 *
 * @module
 */
import { nkeys } from "@nats-io/nats-core";

/** The public key (`U…`) of an nkey's `seed`; undefined for what is no seed. */
export function publicNkey(seed: string): string | undefined {
  try {
    return nkeys.fromSeed(new TextEncoder().encode(seed.trim())).getPublicKey();
  } catch {
    // Not even the cause is passed on: it may quote the secret.
    return undefined;
  }
}
