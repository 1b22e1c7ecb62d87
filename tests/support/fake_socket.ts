/** Sockets made by hand: the test is the application at the other end. */
import type {
  DirectSocket,
  Socket,
  SocketListener,
  SocketReader,
  SocketWriter,
} from "../../lib/net/socket.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Something that is waited for until it is told to go on. */
class Gate {
  #waiting: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  open(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }
}

/** A {@linkcode Socket} and the application that uses it, in one. */
export class FakeSocket implements Socket, DirectSocket {
  readonly remote: string;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly reader: SocketReader;
  readonly writer: SocketWriter;
  readLimit = 64 * 1024;
  /** Whether our side has closed it. */
  closed = false;
  /** Whether the application has read the end of stream. */
  ended = false;
  /** Bytes the application has read. */
  received = 0;
  /** The largest chunk that was read at once. */
  largestRead = 0;
  readonly #chunks: Uint8Array[] = [];
  readonly #changed = new Gate();
  #outbox: Uint8Array[] = [];
  #finished = false;
  #stalled = false;
  #failure: Error | undefined;

  constructor(remote = "application:1") {
    this.remote = remote;
    this.readable = new ReadableStream<Uint8Array>({
      pull: (controller) => this.#pull(controller),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream<Uint8Array>({
      write: (chunk) => this.#write(chunk),
      close: () => this.#end(),
    });
    this.reader = this.readable.getReader();
    this.writer = this.writable.getWriter();
  }

  get direct(): DirectSocket {
    return this;
  }

  close(): void {
    this.closed = true;
    this.#changed.open();
  }

  // The application

  /** What the application has read, as text. */
  get text(): string {
    return decoder.decode(this.bytes);
  }

  /** What the application has read. */
  get bytes(): Uint8Array {
    const all = new Uint8Array(this.received);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }

  /** Bytes the application has sent and nobody has read. */
  get unread(): number {
    return this.#outbox.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** The application sends. */
  send(data: Uint8Array | string): void {
    this.#outbox.push(
      typeof data === "string" ? encoder.encode(data) : data.slice(),
    );
    this.#changed.open();
  }

  /** The application ends its stream. */
  end(): void {
    this.#finished = true;
    this.#changed.open();
  }

  /** The application stops reading. */
  stall(): void {
    this.#stalled = true;
  }

  /** The application reads on. */
  flow(): void {
    this.#stalled = false;
    this.#changed.open();
  }

  /** The application resets the connection. */
  reset(message = "Connection reset by peer (os error 104)"): void {
    this.#failure = new Error(message);
    this.#changed.open();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.closed) throw new Error("Bad resource ID");
  }

  async #pull(
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<void> {
    for (;;) {
      this.#check();
      const chunk = this.#outbox.shift();
      if (chunk !== undefined) {
        const taken = chunk.subarray(0, this.readLimit);
        if (taken.length < chunk.length) {
          this.#outbox.unshift(chunk.subarray(taken.length));
        }
        this.largestRead = Math.max(this.largestRead, taken.length);
        // The reader owns it: a copy, as from a read.
        controller.enqueue(taken.slice());
        return;
      }
      if (this.#finished) {
        controller.close();
        return;
      }
      await this.#changed.wait();
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    this.#check();
    while (this.#stalled) {
      await this.#changed.wait();
      this.#check();
    }
    this.#chunks.push(chunk.slice());
    this.received += chunk.length;
  }

  async #end(): Promise<void> {
    this.#check();
    while (this.#stalled) {
      await this.#changed.wait();
      this.#check();
    }
    this.ended = true;
  }
}

/** A listener whose connections the test makes. */
export class FakeListener implements SocketListener {
  readonly address = "127.0.0.1:1";
  readonly #changed = new Gate();
  #backlog: Socket[] = [];
  #open = true;

  /** A new connection. */
  connect(): FakeSocket {
    const socket = new FakeSocket();
    this.offer(socket);
    return socket;
  }

  /** A new connection, made elsewhere. */
  offer(socket: Socket): void {
    this.#backlog.push(socket);
    this.#changed.open();
  }

  async *accept(): AsyncGenerator<Socket> {
    for (;;) {
      const socket = this.#backlog.shift();
      if (socket !== undefined) yield socket;
      else if (!this.#open) return;
      else await this.#changed.wait();
    }
  }

  [Symbol.dispose](): void {
    this.#open = false;
    this.#changed.open();
  }
}
