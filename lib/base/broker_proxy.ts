/**
 * A proxy on the way to the brokers.
 *
 * @module
 */

import type { Address } from "./address.ts";
import type { Secret } from "./credentials.ts";

/** A proxy that connects us to a broker, whose name it looks up itself. */
export interface BrokerProxy {
  /** What it speaks: SOCKS 5 (RFC 1928), or HTTP with CONNECT. */
  readonly kind: "socks5" | "http";
  /** Where it is. */
  readonly address: Address;
  /** How to log in to it, if at all. */
  readonly login?: { readonly user: string; readonly password: Secret };
}
