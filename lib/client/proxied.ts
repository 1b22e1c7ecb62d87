/**
 * Connections of proxies that say in a PROXY protocol header whose they are:
 * each is taken once its header is whole, and one without is closed.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatAddress } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { Throttle } from "../base/throttle.ts";
import { ResumedSocket } from "../net/resumed_socket.ts";
import { directOf, type DirectSocket, type Socket } from "../net/socket.ts";
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

/** Where a connection came in. */
export interface ProxiedWay {
  /** What the log calls it. */
  readonly forward: string | undefined;
  /** The way in itself: lines about each are told apart. */
  readonly way: object;
  /** Has the connection, which then begins after its header and has the addresses of that. */
  readonly take: (socket: Socket) => void;
}

/** The headers of all such connections of a process. */
export class ProxyHeaders {
  readonly #options: ProxyHeadersOptions;
  readonly #log = getLogger(["sproxy", "client"]);
  readonly #refusals = new WeakMap<object, Throttle>();

  /** There is none yet. */
  constructor(options: ProxyHeadersOptions) {
    this.#options = options;
  }

  /**
   * Hears whose connection `socket` is. Resolves once it has a place among those
   * whose header is not whole: until then no other is to be accepted. It never
   * throws.
   */
  async receive(socket: Socket, to: ProxiedWay): Promise<void> {
    const { strangers } = this.#options;
    const stranger = await strangers.welcome(directOf(socket));
    if (stranger !== undefined) void this.#hear(socket, stranger, to);
  }

  /** Reads the header of a connection, and hands it on or closes it. It never throws. */
  async #hear(
    socket: Socket,
    stranger: Stranger,
    to: ProxiedWay,
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
          if (begun) this.#refuse(socket, to, "it ends within its header");
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
        to.take(this.#resume(socket, connection, step));
      } else {
        connection.close();
        const why = step.type === "wrong" ? step.why : stranger.closed;
        if (why !== undefined) this.#refuse(socket, to, why);
      }
    } catch (error) {
      connection.close();
      // A sender of headers says them at once: who is silent for long is none.
      if (stranger.closed !== undefined) {
        this.#refuse(socket, to, stranger.closed);
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

  #refuse({ remote }: Socket, { forward, way }: ProxiedWay, why: string): void {
    let refusals = this.#refusals.get(way);
    if (refusals === undefined) {
      refusals = new Throttle(REFUSED_MS);
      this.#refusals.set(way, refusals);
    }
    const count = refusals.note(this.#options.clock.now());
    if (count === undefined) return;
    this.#log.warn(
      "connections without a PROXY header are closed (--accept-proxy)",
      {
        why,
        count,
        ...(forward === undefined ? {} : { forward }),
        peer: remote,
      },
    );
  }
}
