/**
 * A TCP relay that cuts a stream into pieces of random size, to find out who
 * takes pieces for messages. With a certificate it speaks TLS to who connects.
 *
 * @module
 */

/** A certificate and its key, as PEM. */
export interface Certificate {
  /** The certificate. */
  readonly cert: string;
  /** Its key. */
  readonly key: string;
}

/** How a {@linkcode RechunkRelay} relays. */
export interface RechunkOptions {
  /** The size in bytes of the next piece; by default whatever comes. */
  readonly nextSize?: () => number;
  /** Makes the near side speak TLS. */
  readonly certificate?: Certificate;
}

/** Relays from a port the OS chose to one of 127.0.0.1. */
export class RechunkRelay implements AsyncDisposable {
  readonly #listener: Deno.TcpListener | Deno.TlsListener;
  readonly #upstream: number;
  readonly #nextSize: () => number;
  readonly #open = new Set<Disposable>();
  readonly #running: Promise<void>[] = [];

  /** Relays to port `upstream`. */
  constructor(upstream: number, options: RechunkOptions = {}) {
    this.#upstream = upstream;
    this.#nextSize = options.nextSize ?? (() => Infinity);
    const place = { hostname: "127.0.0.1", port: 0 };
    this.#listener = options.certificate
      ? Deno.listenTls({ ...place, ...options.certificate })
      : Deno.listen(place);
    this.#running.push(this.#accept());
  }

  /** The port it listens on. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** Stops and cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) conn[Symbol.dispose]();
    await Promise.all(this.#running);
  }

  async #accept(): Promise<void> {
    for await (const near of this.#listener) {
      this.#open.add(near);
      this.#running.push(this.#relay(near));
    }
  }

  async #relay(near: Deno.Conn): Promise<void> {
    try {
      using far = await Deno.connect({
        hostname: "127.0.0.1",
        port: this.#upstream,
      });
      this.#open.add(far);
      far.setNoDelay(true);
      if ("setNoDelay" in near) (near as Deno.TcpConn).setNoDelay(true);
      await Promise.race([this.#flow(near, far), this.#flow(far, near)]);
    } catch {
      // Whatever went wrong, the other side sees it as an end.
    } finally {
      near[Symbol.dispose]();
    }
  }

  async #flow(from: Deno.Conn, to: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) return;
      for (let at = 0; at < count;) {
        const end = Math.min(count, at + this.#nextSize());
        at += await to.write(buffer.subarray(at, end));
      }
    }
  }
}
