/**
 * The port to sockets as the relay sees them: the pair that every web-stream
 * API gives, and beside it the direct reader and writer that a socket may
 * offer.
 *
 * As `ReadableStream` and `WritableStream` sockets would take 8 KiB of memory
 * for each idle connection and 10 µs of CPU time for each message (measured),
 * so TCP offers a reader and a writer without streams behind them. The relay
 * takes either.
 *
 * @module
 */
import type { Endpoints } from "../base/address.ts";

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

/** The two streams of a connection, as `Deno.Conn` and most web-stream APIs have them. */
export interface StreamPair {
  /** What arrives, ending at EOF; the other direction stays open. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What is to be sent; closing it sends the end of stream. */
  readonly writable: WritableStream<Uint8Array>;
}

/** One connection. */
export interface Socket extends StreamPair {
  /** Address of the other end, for people. */
  readonly remote: string;
  /** Whose connection it is, and what it was made to; undefined for what has no such addresses. */
  readonly endpoints?: Endpoints | undefined;
  /** The same without streams, where the socket has it; then the streams are not to be used. */
  readonly direct?: DirectSocket;
}

/** A connection without streams. */
export interface DirectSocket {
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

/** The direct form of a socket: its own, or one made over its streams. */
export function directOf(socket: Socket): DirectSocket {
  return socket.direct ?? new StreamSocket(socket);
}

/** Ends a connection that nothing else uses yet. */
export function closeSocket(socket: Socket): void {
  directOf(socket).close();
}

/** A pair of web streams, driven directly; it locks both. */
class StreamSocket implements DirectSocket {
  readonly reader: SocketReader = { read: () => this.#read() };
  readonly writer: SocketWriter = {
    // A copy: what a stream passes on may be read after the write is done.
    write: (chunk) => this.#writer.write(chunk?.slice()),
    close: () => this.#writer.close(),
  };
  readLimit = Infinity;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** The rest of a chunk that was larger than `readLimit`. */
  #rest: Uint8Array = new Uint8Array(0);

  constructor({ readable, writable }: StreamPair) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
  }

  close(): void {
    // A stream that has ended or failed by itself refuses, and needs no end.
    const reason = new Error("the tunnel has ended");
    this.#reader.cancel(reason).catch(() => {});
    this.#writer.abort(reason).catch(() => {});
    this.#reader.releaseLock();
    this.#writer.releaseLock();
  }

  async #read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    while (this.#rest.length === 0) {
      const result = await this.#reader.read();
      if (result.done) return result;
      this.#rest = result.value;
    }
    // A copy: the reader becomes its owner, and the rest is not its own.
    const value = this.#rest.slice(0, this.readLimit);
    this.#rest = this.#rest.subarray(value.length);
    return { done: false, value };
  }
}

/**
 * Real web streams over a direct socket, for whoever wants them. Nothing is
 * read ahead. Cancelling or aborting either ends the connection, and so does
 * a failure, or the second end of stream.
 */
export function streamsOf(socket: DirectSocket): StreamPair {
  let ends = 0;
  const ended = (): void => {
    if (++ends === 2) socket.close();
  };
  const close = (): void => socket.close();
  const broken = (error: unknown): never => {
    socket.close();
    throw error;
  };
  const readable = new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      const { done, value } = await socket.reader.read().catch(broken);
      if (!done) controller.enqueue(value);
      else {
        controller.close();
        ended();
      }
    },
    cancel: close,
  }, { highWaterMark: 0 });
  const writable = new WritableStream<Uint8Array>({
    write: (chunk) => socket.writer.write(chunk).catch(broken),
    close: () => socket.writer.close().then(ended, broken),
    abort: close,
  });
  return { readable, writable };
}
