/**
 * The port to TCP as the relay sees it: web streams, half-close, and a bound
 * on the next read. `tcp.ts` is the real one.
 *
 * @module
 */

/** One TCP connection. */
export interface Socket {
  /** Address of the other end, `host:port`. */
  readonly remote: string;
  /**
   * What arrives, ending at EOF. Nothing is read ahead: each read takes one
   * chunk, of which the reader becomes the owner.
   */
  readonly readable: ReadableStream<Uint8Array>;
  /** What is to be sent; a write resolves once the system has all bytes, `close()` sends FIN. */
  readonly writable: WritableStream<Uint8Array>;
  /** Most bytes the next read may take; at least 1. */
  readLimit: number;
  /** Ends both directions at once; idempotent. */
  close(): void;
}

/** Where a socket is listened for. */
export interface SocketListener extends Disposable {
  /** The address bound, with the real port. */
  readonly address: string;
  /** Connections, as they come; ends when the listener is disposed. */
  accept(): AsyncIterable<Socket>;
}
