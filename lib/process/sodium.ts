/**
 * Loads libsodium, for processes that seal their tunnels.
 *
 * @module
 */
import { type Aead, type Sodium, SodiumAead } from "../seal/aead.ts";

/**
 * What frames are sealed with. Loaded only where it is used: it takes 10 ms
 * and some megabytes.
 */
export async function loadAead(): Promise<Aead> {
  const { default: load } = await import("libsodium");
  const sodium: Sodium = await load();
  return new SodiumAead(sodium);
}
