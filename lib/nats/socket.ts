/**
 * The socket to a broker as the transport sees it: plain first, TLS from then
 * on if asked; read and written without streams.
 *
 * @module
 */

import type { NatsTls } from "./options.ts";

/** A connected socket. Disposing of it ends it; what waits to read or write fails. */
export interface BrokerSocket extends Disposable {
  /** Reads into `target`; resolves to how many bytes, or null at the end. */
  read(target: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`; resolves to how many. */
  write(bytes: Uint8Array): Promise<number>;
}

/** A connection that can turn to TLS. */
export interface PlainSocket {
  /** The socket, without TLS. */
  readonly socket: BrokerSocket;
  /**
   * Shakes hands, and checks the broker's certificate for `hostname`. The
   * plain socket is used up by it.
   *
   * @throws {Error} when the handshake fails.
   */
  startTls(hostname: string): Promise<BrokerSocket>;
}

/** Where to dial, and how to speak TLS there. */
export interface DialOptions {
  /** Name or address of the broker. */
  readonly hostname: string;
  /** Its port. */
  readonly port: number;
  /** For `startTls`, if it is called. */
  readonly tls: NatsTls | undefined;
  /** Ends the attempt to connect or to shake hands. */
  readonly signal: AbortSignal;
}
