/**
 * Listeners behind proxies that say in a PROXY protocol header whose
 * connections they bring: each connection is taken once its header is whole,
 * and one without is closed.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatAddress } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { Throttle } from "../base/throttle.ts";
import { ResumedSocket } from "../net/resumed_socket.ts";
import {
  closeSocket,
  directOf,
  type DirectSocket,
  type Socket,
  type SocketListener,
} from "../net/socket.ts";
import { MAX_PROXY_HEADER_BYTES, ProxyParser } from "../wire/proxy_parser.ts";
import type { ProxyStep } from "../wire/proxy_parser.ts";
import { type Stranger, STRANGER_MS, type Strangers } from "./strangers.ts";

/** Time between two lines about connections without a header, in ms. */
const REFUSED_MS = 10_000;

/** Nothing is said before the application's first byte. */
const NOTHING = new Uint8Array(0);

/** What it takes. */
export interface ProxyHeadersOptions {
  /** Where connections are counted whose header is not whole. */
  readonly strangers: Strangers;
  /** Where the time comes from. */
  readonly clock: Clock;
}

/** A listener of which nothing is believed. */
interface Way {
  /** What the log calls it. */
  readonly forward: string | undefined;
  readonly refusals: Throttle;
}

/** The headers of all such listeners of a process. */
export class ProxyHeaders {
  readonly #options: ProxyHeadersOptions;
  readonly #log = getLogger(["sproxy", "client"]);

  /** None listens yet. */
  constructor(options: ProxyHeadersOptions) {
    this.#options = options;
  }

  /**
   * `listener`, which the log calls `forward`, with connections that begin after
   * their headers and have the addresses of these.
   */
  behind(
    listener: SocketListener,
    forward: string | undefined,
  ): SocketListener {
    const way = { forward, refusals: new Throttle(REFUSED_MS) };
    return {
      address: listener.address,
      accept: () => this.#accept(listener, way),
      [Symbol.dispose]: () => listener[Symbol.dispose](),
    };
  }

  async *#accept(listener: SocketListener, way: Way): AsyncGenerator<Socket> {
    // Those whose headers are whole: whoever takes them is never long about it.
    const heard: Socket[] = [];
    let open = true;
    let changed = Promise.withResolvers<void>();
    const take = (socket: Socket): void => {
      if (open) heard.push(socket);
      else closeSocket(socket);
      changed.resolve();
    };
    const accepting = (async () => {
      try {
        for await (const socket of listener.accept()) {
          const stranger = await this.#options.strangers.welcome(
            directOf(socket),
          );
          if (stranger !== undefined) {
            void this.#hear({ socket, stranger, way, take });
          }
        }
      } finally {
        open = false;
        changed.resolve();
      }
    })();
    // Told below.
    accepting.catch(() => {});
    try {
      for (;;) {
        const socket = heard.shift();
        if (socket !== undefined) yield socket;
        else if (!open) break;
        else {
          await changed.promise;
          changed = Promise.withResolvers<void>();
        }
      }
    } finally {
      open = false;
      heard.forEach(closeSocket);
    }
    await accepting;
  }

  /** Reads the header of a connection, and hands it on or closes it. It never throws. */
  async #hear(
    { socket, stranger, way, take }: {
      readonly socket: Socket;
      readonly stranger: Stranger;
      readonly way: Way;
      readonly take: (socket: Socket) => void;
    },
  ): Promise<void> {
    const { clock, strangers } = this.#options;
    const { connection } = stranger;
    let begun = false;
    try {
      using _deadline = clock.after(
        STRANGER_MS,
        () => stranger.close(`no whole header within ${STRANGER_MS} ms`),
      );
      const parser = new ProxyParser();
      let step: ProxyStep = { type: "more" };
      while (step.type === "more") {
        connection.readLimit = MAX_PROXY_HEADER_BYTES;
        const { done, value } = await connection.reader.read();
        // It may have closed when the read was done already.
        if (stranger.closed !== undefined) break;
        if (done) {
          connection.close();
          if (begun) this.#refuse(socket, way, "it ends within its header");
          else this.#log.debug("a connection ended before its header", {});
          return;
        }
        begun ||= value.length > 0;
        step = parser.push(value);
      }
      const known = strangers.release(stranger);
      // One that was closed meanwhile, as all are at the end, is nobody's any more.
      if (!known && stranger.closed === undefined) return;
      if (known && step.type === "header") {
        take(this.#resume(socket, connection, step));
      } else {
        connection.close();
        const why = step.type === "wrong" ? step.why : stranger.closed;
        if (why !== undefined) this.#refuse(socket, way, why);
      }
    } catch (error) {
      connection.close();
      // A sender of headers says them at once: who is silent for long is none.
      if (stranger.closed !== undefined) {
        this.#refuse(socket, way, stranger.closed);
      } else {
        const why = messageOf(error);
        this.#log.debug("a connection ended before its header", { why });
      }
    } finally {
      strangers.release(stranger);
    }
  }

  /** The connection from after its header. */
  #resume(
    socket: Socket,
    connection: DirectSocket,
    { endpoints, rest }: ProxyStep & { readonly type: "header" },
  ): Socket {
    if (endpoints !== undefined) {
      this.#log.debug("a connection with a header", {
        peer: formatAddress(endpoints.source),
        by: socket.remote,
      });
    }
    return new ResumedSocket(connection, {
      remote: endpoints === undefined
        ? socket.remote
        : formatAddress(endpoints.source),
      endpoints: endpoints ?? socket.endpoints,
      unread: rest,
      greeting: NOTHING,
    });
  }

  #refuse({ remote }: Socket, way: Way, why: string): void {
    const { forward, refusals } = way;
    const count = refusals.note(this.#options.clock.now());
    if (count === undefined) return;
    this.#log.warn(
      "connections without a PROXY header are closed (--accept-proxy)",
      {
        ...(forward === undefined ? {} : { forward }),
        peer: remote,
        why,
        count,
      },
    );
  }
}
