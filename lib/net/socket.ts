/**
 * The port to TCP as the relay sees it: reader and writer of web streams,
 * half-close, and a bound on the next read. `tcp.ts` is the real one.
 *
 * The relay speaks to the two as to any web streams, and works with any. Made
 * as `ReadableStream` and `WritableStream` they would take 8 KiB of memory for
 * each idle connection and 10 µs of CPU time for each message (measured), so
 * `tcp.ts` gives a reader and a writer without a stream behind them.
 *
 * @module
 */

/** What reading takes of a `ReadableStreamDefaultReader`: one read at a time. */
export type SocketReader = Pick<
  ReadableStreamDefaultReader<Uint8Array>,
  "read"
>;

/** What writing takes of a `WritableStreamDefaultWriter`: one write, or the close, at a time. */
export type SocketWriter = Pick<
  WritableStreamDefaultWriter<Uint8Array>,
  "write" | "close"
>;

/** One TCP connection. */
export interface Socket {
  /** Address of the other end, `host:port`. */
  readonly remote: string;
  /**
   * What arrives, ending at EOF. Nothing is read ahead: each read takes one
   * chunk, of which the reader becomes the owner.
   */
  readonly reader: SocketReader;
  /** What is to be sent; a write resolves once the system has all bytes, `close()` sends FIN. */
  readonly writer: SocketWriter;
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
