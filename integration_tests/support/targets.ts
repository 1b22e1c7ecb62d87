/**
 * Serves TCP in this process, for tunnels to lead to.
 *
 * @module
 */

import { type Endpoint, endpointOf, formatAddress } from "./addresses.ts";
import { Changes, type WaitOptions } from "./changes.ts";
import { ByteSource, type Digest } from "./hash.ts";
import {
  chunksOf,
  close,
  isDisconnect,
  receiveAll,
  sendAll,
  writeAll,
} from "./transfer.ts";

/** Where a target listens. */
export interface TargetOptions {
  /** Default `127.0.0.1`. */
  readonly hostname?: string;
  /** Default 0: the OS chooses. */
  readonly port?: number;
}

/** What a target does with one connection; it is closed when this returns. */
export type Serve = (conn: Deno.TcpConn) => Promise<void>;

/** A listening TCP server that treats each connection alike. */
export class Target implements AsyncDisposable {
  /** Where it listens. */
  readonly endpoint: Endpoint;
  readonly #listener: Deno.TcpListener;
  readonly #serve: Serve;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #running = new Set<Promise<void>>();
  readonly #failures: unknown[] = [];
  readonly #changes = new Changes();
  readonly #accepting: Promise<void>;
  #accepted = 0;

  /** Starts listening. */
  constructor(serve: Serve, options: TargetOptions = {}) {
    this.#serve = serve;
    const { hostname = "127.0.0.1", port = 0 } = options;
    this.#listener = Deno.listen({ hostname, port });
    this.endpoint = endpointOf(this.#listener);
    this.#accepting = this.#acceptAll();
  }

  /** `host:port`, as `--remote-addr` takes it. */
  get address(): string {
    return formatAddress(this.endpoint);
  }

  /** Connections accepted so far. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Connections open now. */
  get open(): number {
    return this.#open.size;
  }

  /** Waits until `count` connections in all have been accepted. */
  async whenAccepted(count: number, options: WaitOptions = {}): Promise<void> {
    await this.#changes.until(() => this.#accepted >= count, options);
  }

  /** Waits until at most `count` connections are open. */
  async whenOpenAtMost(
    count: number,
    options: WaitOptions = {},
  ): Promise<void> {
    await this.#changes.until(() => this.#open.size <= count, options);
  }

  /**
   * Stops listening and closes all connections.
   *
   * @throws {AggregateError} when serving a connection failed for another
   *   reason than that it was cut off.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    for (const conn of this.#open) close(conn);
    await Promise.all(this.#running);
    if (this.#failures.length > 0) {
      throw new AggregateError(this.#failures, "A target failed");
    }
  }

  async #acceptAll(): Promise<void> {
    for await (const conn of this.#listener) {
      this.#accepted++;
      this.#open.add(conn);
      const serving = this.#handle(conn);
      this.#running.add(serving);
      void serving.then(() => this.#running.delete(serving));
      this.#changes.notify();
    }
  }

  async #handle(conn: Deno.TcpConn): Promise<void> {
    try {
      conn.setNoDelay(true);
      await this.#serve(conn);
    } catch (error) {
      // Being cut off is what many tests do to a target.
      if (!isDisconnect(error)) this.#failures.push(error);
    } finally {
      close(conn);
      this.#open.delete(conn);
      this.#changes.notify();
    }
  }
}

/** Sends back what it gets, after `banner`; its EOF follows the client's, after the last byte. */
export function startEcho(
  options: TargetOptions & { readonly banner?: Uint8Array } = {},
): Target {
  const { banner = new Uint8Array(0) } = options;
  return new Target(async (conn) => {
    await writeAll(conn, banner);
    for await (const bytes of chunksOf(conn)) await writeAll(conn, bytes);
    await conn.closeWrite();
  }, options);
}

/** Sends the `length` bytes of `seed`, then EOF, then waits for the client's EOF. */
export function startSource(seed: number, length: number): Target {
  return new Target(async (conn) => {
    await sendAll(conn, new ByteSource(seed, length));
    await receiveAll(conn);
  });
}

/** A target that takes bytes and remembers their digests. */
export class Sink extends Target {
  readonly #digests: Digest[];
  readonly #arrived: Changes;

  /** Starts listening; `reply` is what it sends after the client's EOF. */
  constructor(reply: Uint8Array) {
    const digests: Digest[] = [];
    const arrived = new Changes();
    super(async (conn) => {
      digests.push(await receiveAll(conn));
      arrived.notify();
      await writeAll(conn, reply);
      await conn.closeWrite();
    });
    this.#digests = digests;
    this.#arrived = arrived;
  }

  /** The digest of each connection that reached its EOF, in that order. */
  get digests(): readonly Digest[] {
    return this.#digests;
  }

  /** The digest of the connection that was the `nth` (from 0) to reach its EOF. */
  async digest(nth: number, options: WaitOptions = {}): Promise<Digest> {
    return await this.#arrived.until(() => this.#digests[nth], options);
  }
}

/** Hashes all it gets until EOF, then sends `reply` and its own EOF. */
export function startSink(reply: Uint8Array = new Uint8Array()): Sink {
  return new Sink(reply);
}

/** Accepts, and says nothing: what a broker's address leads to that is not reachable from here. */
export function startSilent(options: TargetOptions = {}): Target {
  return new Target(async (conn) => void await receiveAll(conn), options);
}

/** A target whose connections are held until told otherwise. */
export class Stalled extends Target {
  readonly #release: () => void;

  /** Starts listening. */
  constructor() {
    const released = Promise.withResolvers<void>();
    super(async (conn) => {
      await released.promise;
      await receiveAll(conn);
      await conn.closeWrite();
    });
    this.#release = released.resolve;
  }

  /** From now on it reads, and throws away, all there is. */
  release(): void {
    this.#release();
  }

  /** As {@linkcode Target}, whether released or not. */
  override async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await super[Symbol.asyncDispose]();
  }
}

/** Accepts and does not read a byte until released: a stalled reader. */
export function startStalled(): Stalled {
  return new Stalled();
}
