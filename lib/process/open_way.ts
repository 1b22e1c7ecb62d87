/**
 * One way into a client's tunnels: a place that is listened at, and what its
 * connections are for, which may change while it listens.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { parseAddress } from "../base/address.ts";
import { systemClock } from "../base/clock.ts";
import { isInAny, type Network } from "../base/network.ts";
import { formatPlace, type Place } from "../base/place.ts";
import { formatDestination } from "../base/target.ts";
import { Throttle } from "../base/throttle.ts";
import type { WayIn } from "../config/ways_in.ts";
import type { Reserve } from "../net/descriptors.ts";
import { listen, listenHosts } from "../net/listen.ts";
import { listenUnix } from "../net/listen_unix.ts";
import type { Socket, SocketListener } from "../net/socket.ts";
import type { CountedWay } from "../session/counters.ts";
import type { Session } from "../session/session.ts";
import type { OpenWayView } from "../status/watch.ts";

/** Time between two lines about accepts that fail, or connections that may not come in, in ms. */
const ACCEPT_ERROR_MS = 10_000;

const log = getLogger(["sproxy", "client"]);

/** How a place is listened at. */
export interface OpenWayOptions {
  /** What counts and lends buffers. */
  readonly session: Session;
  /** Asked before each accept. */
  readonly reserve: Reserve;
  /** Several threads share the ports. */
  readonly reusePort: boolean;
  /** Where TCP connections may come from, now; nowhere given, from everywhere. */
  readonly allowFrom: () => readonly Network[];
}

/**
 * Takes a connection that came by `wayIn`; `way` is the same object for all
 * that came at its place. What it gives is waited for before the next one is
 * accepted.
 */
export type TakeConnection = (
  socket: Socket,
  wayIn: WayIn,
  way: OpenWay,
) => Promise<void> | undefined;

/** A place that is listened at, and what for. */
export class OpenWay implements CountedWay {
  /** What its connections are for; may change. */
  wayIn: WayIn;
  /** Where it listens, the port chosen. */
  place: Place;
  /** Undefined where another thread has it, and before it is listened at. */
  #listener: SocketListener | undefined;
  /** Resolves when it accepts no more. */
  #accepting: Promise<void> = Promise.resolve();

  /** It is not listened at yet. */
  constructor(wayIn: WayIn, place: Place) {
    this.wayIn = wayIn;
    this.place = place;
  }

  /** What it is called in metrics: its name, the kind of a front-end, or where it listens. */
  get label(): string {
    return nameOf(this.wayIn) ?? formatPlace(this.place);
  }

  /**
   * Listens there; nothing is accepted yet.
   *
   * @param tries How often a port is asked for, a turn apart.
   * @throws {RunError} when that cannot be.
   */
  async listen(options: OpenWayOptions, tries = 1): Promise<void> {
    this.#listener = await listenFor(this, options, tries);
    if ("path" in this.place) return;
    this.place = parseAddress(this.#listener.address);
  }

  /** Accepts connections, which `take` has, until it is closed. */
  serve(take: TakeConnection): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    this.#accepting = (async () => {
      for await (const socket of listener.accept()) {
        const taken = take(socket, this.wayIn, this);
        if (taken !== undefined) await taken;
      }
    })();
  }

  /** Accepts no more; resolves when the system has the place back, or soon after. */
  async close(): Promise<void> {
    this.#listener?.[Symbol.dispose]();
    await this.#accepting;
  }

  /** What people are shown of it. */
  get view(): OpenWayView {
    const { wayIn } = this;
    const { name, site, acceptProxy } = wayIn;
    return {
      way: this,
      listen: formatPlace(this.place),
      ...(name !== undefined && { name }),
      target: "front" in wayIn
        ? `${wayIn.front}${site === undefined ? "" : `@${site}`}`
        : formatDestination(wayIn),
      ...(acceptProxy === true && { acceptProxy }),
    };
  }

  /** Says on a line where it listens, and what for. */
  logListening(): void {
    const { wayIn } = this;
    const listener = this.#listener;
    if (listener === undefined) return;
    const { address } = listener;
    const { name, site } = wayIn;
    const proxied = wayIn.acceptProxy === true && { accept_proxy: true };
    log.info(
      "listening",
      "front" in wayIn
        ? {
          address,
          forward: wayIn.front,
          ...(site !== undefined && { site }),
          ...proxied,
        }
        : {
          address,
          target: formatDestination(wayIn),
          ...(name !== undefined && { forward: name }),
          ...proxied,
        },
    );
  }
}

/** Listens at the place of `way`, and logs accepts that fail; tries so often, a turn apart. */
async function listenFor(
  way: OpenWay,
  { session, reserve, reusePort, allowFrom }: OpenWayOptions,
  tries: number,
): Promise<SocketListener> {
  const { counters, pool } = session;
  const { place } = way;
  const acceptErrors = new Throttle(ACCEPT_ERROR_MS);
  const refusals = new Throttle(ACCEPT_ERROR_MS);
  const about = (): { readonly address: string; readonly forward?: string } => {
    const name = nameOf(way.wayIn);
    const address = formatPlace(way.place);
    return name === undefined ? { address } : { address, forward: name };
  };
  const options = {
    clock: systemClock,
    pool,
    reserve,
    origin: originOf(way.wayIn),
    onAcceptError: (why: string) => {
      counters.acceptErrors++;
      const count = acceptErrors.note(systemClock.now());
      if (count === undefined) return;
      log.warn("cannot accept a connection", { why, count, ...about() });
    },
  };
  if ("path" in place) return await listenUnix(place, options);
  const hosts = await listenHosts(place);
  for (let left = tries;;) {
    try {
      return listen(place, {
        ...options,
        hosts,
        reusePort,
        admits: (host) => {
          const allowed = allowFrom();
          return allowed.length === 0 || isInAny(allowed, host);
        },
        onRefused: (peer) => {
          counters.acceptsRefused++;
          const count = refusals.note(systemClock.now());
          if (count === undefined) return;
          log.warn("connections from elsewhere are closed (--allow-from)", {
            peer,
            count,
            ...about(),
          });
        },
      });
    } catch (error) {
      if (--left <= 0) throw error;
      const { promise, resolve } = Promise.withResolvers<void>();
      using _timer = systemClock.after(0, resolve);
      await promise;
    }
  }
}

/** What the log calls a way in, if it has a name. */
export function nameOf(wayIn: WayIn): string | undefined {
  return "front" in wayIn ? wayIn.front : wayIn.name;
}

/** The flag that asks for a way in, with the name that it has in a file. */
export function originOf({ origin, name }: WayIn): string {
  return name === undefined ? origin : `${origin} ${name}`;
}
