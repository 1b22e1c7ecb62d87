/**
 * A connection on which something was said before it was handed on, as it
 * looks to who has it from there.
 *
 * @module
 */
import type { Endpoints } from "../base/address.ts";
import {
  type DirectSocket,
  type Socket,
  type SocketReader,
  type SocketWriter,
  type StreamPair,
  streamsOf,
} from "./socket.ts";

/** How a connection is handed on. */
export interface ResumedOptions {
  /** Address of the other end, for people. */
  readonly remote: string;
  /** Whose connection it is, and what it was made to, where that is known. */
  readonly endpoints?: Endpoints | undefined;
  /** What was read of it and is to be read again; empty for nothing. */
  readonly unread: Uint8Array;
  /** What the other end is told before all else; empty for nothing. */
  readonly greeting: Uint8Array;
}

/** A socket that begins anew, in the middle of a connection. */
export class ResumedSocket implements Socket, DirectSocket {
  /** Address of the other end, for people. */
  readonly remote: string;
  /** Whose connection it is, and what it was made to, where that is known. */
  readonly endpoints: Endpoints | undefined;
  readonly #socket: DirectSocket;
  /** Rest of what is read again. */
  #unread: Uint8Array;
  /** The write that goes before all others, until it is done. */
  #greeting: Promise<void> | undefined;
  #streams: StreamPair | undefined;
  readonly #again: SocketReader = { read: () => this.#readAgain() };
  readonly #after: SocketWriter = {
    write: async (chunk) => {
      await this.#greeting;
      await this.#socket.writer.write(chunk);
    },
    close: async () => {
      await this.#greeting;
      await this.#socket.writer.close();
    },
  };

  /** Takes over `socket`, and begins to write the greeting. */
  constructor(
    socket: DirectSocket,
    { remote, endpoints, unread, greeting }: ResumedOptions,
  ) {
    this.remote = remote;
    this.endpoints = endpoints;
    this.#socket = socket;
    this.#unread = unread;
    if (greeting.length > 0) this.#greet(greeting);
  }

  /** This socket: it is driven without streams. */
  get direct(): DirectSocket {
    return this;
  }

  /** What arrives: first what is read again. */
  get reader(): SocketReader {
    return this.#unread.length > 0 ? this.#again : this.#socket.reader;
  }

  /** What is to be sent: after the greeting. */
  get writer(): SocketWriter {
    return this.#greeting === undefined ? this.#socket.writer : this.#after;
  }

  /** Most bytes the next read may take. */
  get readLimit(): number {
    return this.#socket.readLimit;
  }

  set readLimit(bytes: number) {
    this.#socket.readLimit = bytes;
  }

  /** What arrives, as a stream made on first use. */
  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  /** What is to be sent, as a stream made on first use. */
  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  /** Ends both directions at once; idempotent. */
  close(): void {
    this.#socket.close();
  }

  #greet(greeting: Uint8Array): void {
    const written = this.#socket.writer.write(greeting);
    this.#greeting = written;
    // One that failed stays: whoever writes next is told.
    written.then(() => this.#greeting = undefined, () => {});
  }

  #readAgain(): Promise<ReadableStreamReadResult<Uint8Array>> {
    // A copy: the reader becomes its owner, and the rest is not its own.
    const value = this.#unread.slice(0, this.readLimit);
    this.#unread = this.#unread.subarray(value.length);
    return Promise.resolve({ done: false, value });
  }
}
