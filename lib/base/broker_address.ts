/**
 * Where a broker is, and within what it speaks NATS there.
 *
 * @module
 */

import { type Address, formatAddress } from "./address.ts";

/** Where a broker is. */
export interface BrokerAddress extends Address {
  /** It speaks NATS within a WebSocket; without it, on the connection itself. */
  readonly websocket?: WebSocketPlace | undefined;
}

/** A WebSocket of a host and port. */
export interface WebSocketPlace {
  /** Whether it is within TLS (`wss://`). */
  readonly tls: boolean;
  /** What is asked for there, from its first slash on. */
  readonly path: string;
}

/** `host:port`, or the URL of a WebSocket. */
export function formatBroker(address: BrokerAddress): string {
  const { websocket } = address;
  const place = formatAddress(address);
  if (websocket === undefined) return place;
  return `${websocket.tls ? "wss" : "ws"}://${place}${websocket.path}`;
}
