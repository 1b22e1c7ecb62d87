/**
 * A client's ways in over its whole life: before they listen, while they do,
 * and while another process has its ID; always those of the configuration that
 * was read last.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import type { Network } from "../base/network.ts";
import type { Place } from "../base/place.ts";
import type { Destination } from "../base/target.ts";
import type { Ingress } from "../client/client.ts";
import type { Fronts } from "../client/fronts.ts";
import type { ProxyHeaders } from "../client/proxied.ts";
import type { Strangers } from "../client/strangers.ts";
import type { ClientConfig } from "../config/config.ts";
import type { WayIn } from "../config/ways_in.ts";
import { FrontLogin } from "../front/login.ts";
import type { Reserve } from "../net/descriptors.ts";
import type { Socket } from "../net/socket.ts";
import type { CountedWay } from "../session/counters.ts";
import type { OpenWayView } from "../status/watch.ts";
import type { RoleHost } from "./role_host.ts";
import { nameOf } from "./open_way.ts";
import type { Prepared, Reloaded, ReloadPart } from "./reload.ts";
import { continuations } from "./way_changes.ts";
import { checkListenable, WaysIn } from "./ways_in.ts";

/** What connections are handed to. */
export interface WaysInto {
  /** Opens the tunnels. */
  readonly ingress: Ingress;
  /** Hears those that say themselves where they go. */
  readonly fronts: Fronts;
  /** Hears those of proxies whose they are. */
  readonly headers: ProxyHeaders;
  /** Where both count whom they hear. */
  readonly strangers: Strangers;
  /** Asked before each accept. */
  readonly reserve: Reserve;
}

/** What of a configuration is about ways in. */
interface Wanted {
  readonly ways: readonly WayIn[];
  /** Where each listens, as far as that was chosen. */
  readonly places: readonly Place[];
  readonly allowFrom: readonly Network[];
  readonly login: FrontLogin | undefined;
  readonly maxStrangers: number | undefined;
  readonly tunnelsByDescriptors: number | undefined;
}

/** The ways in of a client, which a reload may change. */
export class ClientWays implements ReloadPart {
  /** Whether other threads listen at the same ports. */
  readonly #shared: boolean;
  /** Whether this one has the Unix sockets. */
  readonly #unix: boolean;
  #wanted: Wanted;
  #open: (WaysInto & { readonly waysIn: WaysIn }) | undefined;
  /** Resolves when nobody is opening or changing them. */
  #idle: Promise<void> = Promise.resolve();

  /** Those of `config`, or of what was read since; none listens yet. */
  constructor(config: ClientConfig, host: RoleHost) {
    const { worker, reloads: { latest } } = host;
    this.#shared = worker !== undefined;
    this.#unix = worker === undefined || worker.index === 1;
    this.#wanted = latest?.config.role === "client"
      ? wantedOf(latest.config, latest)
      : wantedOf(config, { ...host, places: worker?.places });
  }

  /**
   * Listens at all of them; nothing is accepted yet. Disposed, they do so no more.
   *
   * @throws {RunError} when one of them cannot be listened at.
   */
  async open(into: WaysInto): Promise<OpenWays> {
    const done = await this.#turn();
    try {
      const { ways, places, tunnelsByDescriptors } = this.#wanted;
      const { ingress, reserve } = into;
      const { session } = ingress;
      const waysIn = await WaysIn.open(ways, places, {
        session,
        reserve,
        reusePort: this.#shared,
        unix: this.#unix,
        allowFrom: () => this.#wanted.allowFrom,
      });
      session.limitByDescriptors(tunnelsByDescriptors);
      this.#rule(into);
      this.#wanted = { ...this.#wanted, places: waysIn.places };
      this.#open = { ...into, waysIn };
      session.counters.forwards.keep(waysIn.labels);
      return new OpenWays(waysIn, into, () => this.#open = undefined);
    } finally {
      done();
    }
  }

  /**
   * Listens at new places, or sees while none listens that they can be had.
   *
   * @throws {RunError} when one cannot be.
   */
  async prepare({ config, ...reloaded }: Reloaded): Promise<Prepared> {
    const done = await this.#turn();
    try {
      if (config.role !== "client") throw new TypeError(config.role);
      const wanted = wantedOf(config, reloaded);
      const { ways, places } = wanted;
      const ready = this.#open === undefined
        ? await this.#prove(wanted)
        : await this.#open.waysIn.prepare(ways, places);
      return {
        tunnels: ready.tunnels,
        places: ready.places,
        commit: async () => {
          this.#wanted = { ...wanted, places: ready.places ?? [] };
          if (this.#open !== undefined) this.#rule(this.#open);
          this.#open?.ingress.session.limitByDescriptors(
            wanted.tunnelsByDescriptors,
          );
          const committed = ready.commit?.();
          // From now on they have their new names and places, though some may still be closing.
          if (this.#open !== undefined) {
            const { ingress: { session }, waysIn } = this.#open;
            session.counters.forwards.keep(waysIn.labels);
          }
          await committed;
          done();
        },
        abandon: async () => {
          await ready.abandon?.();
          done();
        },
      };
    } catch (error) {
      done();
      throw error;
    }
  }

  /** What is wanted now counts for whoever connects next. */
  #rule({ fronts, ingress, strangers }: WaysInto): void {
    const { login, maxStrangers, ways } = this.#wanted;
    ingress.watchFor(ways.map(destinationOf));
    fronts.follow({ login });
    strangers.limitTo(maxStrangers);
  }

  /** The same as {@linkcode WaysIn.prepare} while none listens. */
  async #prove({ ways, places }: Wanted): Promise<
    Pick<Prepared, "tunnels" | "places"> & Partial<Prepared>
  > {
    const before = this.#wanted;
    const from = continuations(before.ways, ways);
    // Where several threads listen the main one has seen to that.
    if (!this.#shared) {
      await checkListenable(ways.filter((_, at) => from[at] === undefined));
    }
    return {
      tunnels: 0,
      places: ways.map(({ listen }, at) => {
        const old = from[at];
        return places[at] ??
          (old === undefined ? undefined : before.places[old]) ?? listen;
      }),
    };
  }

  /** Waits for whoever opens or changes them; to be called when that is done. */
  async #turn(): Promise<() => void> {
    const before = this.#idle;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle = promise;
    await before;
    return resolve;
  }
}

/** Ways in that listen. */
export class OpenWays implements Disposable {
  readonly #waysIn: WaysIn;
  readonly #into: WaysInto;
  readonly #onEnd: () => void;

  /** Takes over `waysIn`. */
  constructor(waysIn: WaysIn, into: WaysInto, onEnd: () => void) {
    this.#waysIn = waysIn;
    this.#into = into;
    this.#onEnd = onEnd;
  }

  /** Where they listen, in the order of the configuration. */
  get places(): readonly Place[] {
    return this.#waysIn.places;
  }

  /** What people are shown of each. */
  get views(): readonly OpenWayView[] {
    return this.#waysIn.views;
  }

  /** Says on a line each where they listen, and what for. */
  logListening(): void {
    this.#waysIn.logListening();
  }

  /** Accepts connections until it is disposed. */
  async serve(): Promise<void> {
    await this.#waysIn.serve((socket, wayIn, way) => {
      const take = (socket: Socket): void => this.#take(socket, wayIn, way);
      if (wayIn.acceptProxy !== true) {
        take(socket);
        return undefined;
      }
      const name = nameOf(wayIn);
      return this.#into.headers.receive(socket, { forward: name, way, take });
    });
  }

  #take(socket: Socket, wayIn: WayIn, way: CountedWay): void {
    const { ingress, fronts } = this.#into;
    if ("front" in wayIn) {
      fronts.take(socket, { ...wayIn, way });
      return;
    }
    const { target, site, name } = wayIn;
    const { endpoints } = socket;
    ingress.open({ socket, target, site, forward: name, endpoints, way });
  }

  /** Ends all listeners. */
  [Symbol.dispose](): void {
    this.#onEnd();
    this.#waysIn[Symbol.dispose]();
  }
}

/** Where connections of a way in go, as far as that says which servers are asked. */
function destinationOf(way: WayIn): Destination {
  return "front" in way ? { target: ANY, site: way.site } : way;
}

/** Stands for what applications say themselves: all addresses are asked for in one place. */
const ANY: Address = { host: "0.0.0.0", port: 0 };

/** What `config` wants of ways in, where so much is possible. */
function wantedOf(
  config: ClientConfig,
  { places = [], maxStrangers, tunnelsByDescriptors }: Pick<
    Reloaded,
    "places" | "maxStrangers" | "tunnelsByDescriptors"
  >,
): Wanted {
  const { forwards: ways, allowFrom, socksUser, socksPassword } = config.client;
  const login = socksUser === undefined || socksPassword === undefined
    ? undefined
    : new FrontLogin(socksUser, socksPassword);
  return {
    ways,
    places,
    allowFrom,
    login,
    maxStrangers,
    tunnelsByDescriptors,
  };
}
