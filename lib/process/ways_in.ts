/**
 * The ways into a client's tunnels: a listener for each forward and front-end,
 * all of them there before a connection of any is accepted.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { parseAddress } from "../base/address.ts";
import { systemClock } from "../base/clock.ts";
import { isInAny, type Network } from "../base/network.ts";
import type { Place } from "../base/place.ts";
import { formatDestination } from "../base/target.ts";
import { Throttle } from "../base/throttle.ts";
import type { Ingress } from "../client/client.ts";
import type { Fronts } from "../client/fronts.ts";
import type { ProxyHeaders } from "../client/proxied.ts";
import type { WayIn } from "../config/fronts.ts";
import type { Reserve } from "../net/descriptors.ts";
import { holdAddress, listen, listenHosts } from "../net/listen.ts";
import { holdPath, listenUnix } from "../net/listen_unix.ts";
import type { SocketListener } from "../net/socket.ts";
import type { Session } from "../session/session.ts";

/** Time between two lines about accepts that fail, or connections that may not come in, in ms. */
const ACCEPT_ERROR_MS = 10_000;

const log = getLogger(["sproxy", "client"]);

/** How ways in are opened. */
export interface WaysInOptions {
  /** What counts and lends buffers. */
  readonly session: Session;
  /** Asked before each accept. */
  readonly reserve: Reserve;
  /** Several threads share the ports. */
  readonly reusePort: boolean;
  /** Where TCP connections may come from; nowhere given, from everywhere. */
  readonly allowFrom: readonly Network[];
}

/** One of them that listens. */
interface OpenWay {
  readonly forward: WayIn;
  readonly listener: SocketListener;
}

/** All listeners of a client. */
export class WaysIn implements Disposable {
  readonly #ways: readonly OpenWay[];

  private constructor(ways: readonly OpenWay[]) {
    this.#ways = ways;
  }

  /**
   * Listens for all `forwards`; nothing is accepted yet.
   *
   * @throws {RunError} when one of them cannot be; none is left then.
   */
  static async open(
    forwards: readonly WayIn[],
    options: WaysInOptions,
  ): Promise<WaysIn> {
    using opened = new DisposableStack();
    const ways: OpenWay[] = [];
    for (const forward of forwards) {
      const listener = opened.use(await listenFor(forward, options));
      ways.push({ forward, listener });
    }
    opened.move();
    return new WaysIn(ways);
  }

  /** Where it listens, in the order of the forwards: ports that were free to choose are chosen. */
  get places(): readonly Place[] {
    return this.#ways.map(({ forward: { listen }, listener }) =>
      "path" in listen ? listen : parseAddress(listener.address)
    );
  }

  /** Says on a line each where it listens, and what for. */
  logListening(): void {
    for (const { forward, listener } of this.#ways) {
      const { address } = listener;
      const { name, site } = forward;
      const proxied = forward.acceptProxy === true && { accept_proxy: true };
      log.info(
        "listening",
        "front" in forward
          ? {
            address,
            forward: forward.front,
            ...(site !== undefined && { site }),
            ...proxied,
          }
          : {
            address,
            target: formatDestination(forward),
            ...(name !== undefined && { forward: name }),
            ...proxied,
          },
      );
    }
  }

  /** Accepts connections until it is disposed. */
  async serve(
    ingress: Ingress,
    { fronts, headers }: {
      readonly fronts: Fronts;
      readonly headers: ProxyHeaders;
    },
  ): Promise<void> {
    await Promise.all(
      this.#ways.map(({ forward, listener: open }) => {
        const listener = forward.acceptProxy === true
          ? headers.behind(open, nameOf(forward))
          : open;
        return "front" in forward
          ? fronts.serve(listener, forward)
          : ingress.serve(listener, forward);
      }),
    );
  }

  /** Ends all listeners. */
  [Symbol.dispose](): void {
    for (const { listener } of this.#ways) listener[Symbol.dispose]();
  }
}

/** `forwards` at these places, which are theirs in their order: where they listen (again), at ports chosen. */
export function listeningAt(
  places: readonly Place[],
  forwards: readonly WayIn[],
): readonly WayIn[] {
  return forwards.map((forward, at) => ({
    ...forward,
    listen: places[at] ?? forward.listen,
  }));
}

/**
 * Sees whether all `forwards` can be listened for at once, and leaves their
 * places again.
 *
 * @returns the IP addresses that each stands for; none for a Unix socket.
 * @throws {RunError} when one cannot.
 */
export async function checkListenable(
  forwards: readonly WayIn[],
): Promise<readonly (readonly string[])[]> {
  using held = new DisposableStack();
  const hosts: (readonly string[])[] = [];
  for (const forward of forwards) {
    const { listen } = forward;
    const origin = originOf(forward);
    if ("path" in listen) {
      held.use(await holdPath(listen, origin));
      hosts.push([]);
    } else {
      const where = { origin, hosts: await listenHosts(listen) };
      hosts.push(held.use(holdAddress(listen, where)).hosts);
    }
  }
  return hosts;
}

/** Listens for one forward, and logs accepts that fail. */
async function listenFor(
  forward: WayIn,
  { session, reserve, reusePort, allowFrom }: WaysInOptions,
): Promise<SocketListener> {
  const { counters, pool } = session;
  const { listen: place } = forward;
  const acceptErrors = new Throttle(ACCEPT_ERROR_MS);
  const refusals = new Throttle(ACCEPT_ERROR_MS);
  const name = nameOf(forward);
  const about = name === undefined ? {} : { forward: name };
  const options = {
    clock: systemClock,
    pool,
    reserve,
    origin: originOf(forward),
    onAcceptError: (why: string) => {
      counters.acceptErrors++;
      const count = acceptErrors.note(systemClock.now());
      if (count === undefined) return;
      log.warn("cannot accept a connection", { ...about, why, count });
    },
  };
  if ("path" in place) return await listenUnix(place, options);
  return listen(place, {
    ...options,
    hosts: await listenHosts(place),
    reusePort,
    ...(allowFrom.length > 0 && {
      admits: (host: string) => isInAny(allowFrom, host),
    }),
    onRefused: (peer) => {
      counters.acceptsRefused++;
      const count = refusals.note(systemClock.now());
      if (count === undefined) return;
      log.warn("connections from elsewhere are closed (--allow-from)", {
        ...about,
        peer,
        count,
      });
    },
  });
}

/** What the log calls it, if it has a name. */
function nameOf(forward: WayIn): string | undefined {
  return "front" in forward ? forward.front : forward.name;
}

/** The flag that asks for a forward, with the name that it has in a file. */
function originOf({ origin, name }: WayIn): string {
  return name === undefined ? origin : `${origin} ${name}`;
}
