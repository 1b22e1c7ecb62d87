/**
 * The ways into a client's tunnels: a listener for each forward and front-end,
 * all of them there before a connection of any is accepted.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatPlace, type Place } from "../base/place.ts";
import type { WayIn } from "../config/ways_in.ts";
import type { OpenWayView } from "../status/watch.ts";
import { holdAddress, listenHosts } from "../net/listen.ts";
import { holdPath } from "../net/listen_unix.ts";
import {
  OpenWay,
  type OpenWayOptions,
  originOf,
  type TakeConnection,
} from "./open_way.ts";
import { continuations, listeningOrder, mayCollide } from "./way_changes.ts";

/**
 * How often a port is asked for that a listener of ours has just left, a turn
 * apart: the system has it back once the accept under way has been told.
 */
const REBIND_TRIES = 20;

const log = getLogger(["sproxy", "client"]);

/** How ways in are opened. */
export interface WaysInOptions extends OpenWayOptions {
  /** Whether this thread listens at Unix sockets, which no others share. */
  readonly unix: boolean;
}

/** Ways in that are to take the place of others; nothing has changed yet. */
export interface PreparedWays {
  /** Open tunnels of ways in that will be gone. */
  readonly tunnels: number;
  /** Where each will listen, in the order of the configuration. */
  readonly places: readonly Place[];
  /** From now on they are the ways in; resolves when those that are gone have let go of their places. */
  commit(): Promise<void>;
  /** All stays as it was. */
  abandon(): Promise<void>;
}

/** All listeners of a client. */
export class WaysIn implements Disposable {
  readonly #options: WaysInOptions;
  #ways: readonly OpenWay[] = [];
  #take: TakeConnection | undefined;
  readonly #ended = Promise.withResolvers<void>();
  #disposed = false;

  private constructor(options: WaysInOptions) {
    this.#options = options;
  }

  /**
   * Listens for all that are `wanted`, at these `places` of theirs where there are
   * some; nothing is accepted yet.
   *
   * @throws {RunError} when one of them cannot be; none is left then.
   */
  static async open(
    wanted: readonly WayIn[],
    places: readonly Place[],
    options: WaysInOptions,
  ): Promise<WaysIn> {
    const waysIn = new WaysIn(options);
    await (await waysIn.prepare(wanted, places)).commit();
    return waysIn;
  }

  /** Where it listens, in the order of the configuration: ports that were free to choose are chosen. */
  get places(): readonly Place[] {
    return this.#ways.map(({ place }) => place);
  }

  /** What all are called in metrics. */
  get labels(): readonly string[] {
    return this.#ways.map(({ label }) => label);
  }

  /** What people are shown of each; none once they are closed. */
  get views(): readonly OpenWayView[] {
    return this.#disposed ? [] : this.#ways.map((way) => way.view);
  }

  /** Says on a line each where it listens, and what for. */
  logListening(): void {
    for (const way of this.#ways) way.logListening();
  }

  /** Accepts connections, which `take` has, until it is disposed. */
  async serve(take: TakeConnection): Promise<void> {
    this.#take = take;
    for (const way of this.#ways) way.serve(take);
    await this.#ended.promise;
    await Promise.all(this.#ways.map((way) => way.close()));
  }

  /**
   * Listens at the places of those `wanted` that are new. One that can be had only
   * where a listener of ours goes, as when a port is to be listened at on other
   * addresses, is taken over last, and given back if that is for nothing.
   *
   * @throws {RunError} when one of them cannot be listened at; all is as before.
   */
  async prepare(
    wanted: readonly WayIn[],
    places: readonly Place[] = [],
  ): Promise<PreparedWays> {
    const from = continuations(
      this.#ways.map(({ wayIn }) => wayIn),
      wanted,
    );
    const gone = this.#ways.filter((_, at) => !from.includes(at));
    const undo: (() => Promise<void>)[] = [];
    const abandon = async (): Promise<void> => {
      for (const step of undo.toReversed()) await step();
    };
    const next: OpenWay[] = [];
    const open = async (at: number, tries?: number): Promise<void> => {
      const wayIn = wanted[at];
      if (wayIn === undefined) return;
      const place = places[at] ?? wayIn.listen;
      const way = await this.#listen(wayIn, place, tries);
      undo.push(() => way.close());
      next[at] = way;
    };
    try {
      const late: number[] = [];
      const left = new Set<OpenWay>();
      const placeOf = (at: number, { listen }: WayIn): Place =>
        places[at] ?? listen;
      const order = listeningOrder(
        wanted.map((wayIn, at) => placeOf(at, wayIn)),
      );
      for (const at of order) {
        const wayIn = wanted[at];
        if (wayIn === undefined) continue;
        const kept = from[at] === undefined ? undefined : this.#ways[from[at]];
        if (kept !== undefined) {
          next[at] = kept;
          continue;
        }
        try {
          await open(at);
        } catch (error) {
          if (!this.#holds(gone, placeOf(at, wayIn))) throw error;
          late.push(at);
        }
      }
      for (const at of late) {
        const wayIn = wanted[at];
        if (wayIn === undefined) continue;
        for (const way of gone) {
          const place = placeOf(at, wayIn);
          if (left.has(way) || !mayCollide(way.place, place)) continue;
          left.add(way);
          await way.close();
          undo.push(() => this.#reopen(way));
        }
        await open(at, REBIND_TRIES);
      }
    } catch (error) {
      await abandon();
      throw error;
    }
    return {
      tunnels: this.#options.session.openBy(new Set(gone)),
      places: next.map(({ place }) => place),
      abandon,
      commit: async () => await this.#commit(wanted, next, gone),
    };
  }

  /** Ends all listeners. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const way of this.#ways) void way.close();
    this.#ended.resolve();
  }

  async #commit(
    wanted: readonly WayIn[],
    next: readonly OpenWay[],
    gone: readonly OpenWay[],
  ): Promise<void> {
    const before = new Set(this.#ways);
    this.#ways = next;
    for (const [at, way] of next.entries()) {
      way.wayIn = wanted[at] ?? way.wayIn;
      if (before.has(way)) continue;
      // It ended while this was made ready.
      if (this.#disposed) await way.close();
      else if (this.#take !== undefined) {
        way.serve(this.#take);
        way.logListening();
      }
    }
    await Promise.all(gone.map((way) => way.close()));
  }

  /** Whether one of `ways` holds what is needed to listen at `place`. */
  #holds(ways: readonly OpenWay[], place: Place): boolean {
    return ways.some((way) => mayCollide(way.place, place));
  }

  async #listen(
    wayIn: WayIn,
    place: Place,
    tries = 1,
  ): Promise<OpenWay> {
    const { unix } = this.#options;
    const way = new OpenWay(wayIn, place);
    if (!("path" in place) || unix) await way.listen(this.#options, tries);
    return way;
  }

  /** Listens again at a place that was left for nothing. */
  async #reopen(way: OpenWay): Promise<void> {
    if (this.#disposed) return;
    try {
      await way.listen(this.#options, REBIND_TRIES);
      if (this.#take !== undefined) way.serve(this.#take);
    } catch (why) {
      log.error("a place that was given up for another is lost", {
        address: formatPlace(way.place),
        why,
      });
    }
  }
}

/** A place that can be listened at. */
export interface Listenable {
  /** The place, with a port that was free where any was asked for. */
  readonly place: Place;
  /** The IP addresses that it stands for; none for a Unix socket. */
  readonly hosts: readonly string[];
}

/**
 * Sees whether all that are `wanted` can be listened for at once, and leaves their
 * places again.
 *
 * @returns what each of them comes to.
 * @throws {RunError} when one cannot.
 */
export async function checkListenable(
  wanted: readonly WayIn[],
): Promise<readonly Listenable[]> {
  using held = new DisposableStack();
  const found: Listenable[] = [];
  for (const at of listeningOrder(wanted.map(({ listen }) => listen))) {
    const wayIn = wanted[at];
    if (wayIn === undefined) continue;
    const { listen } = wayIn;
    const origin = originOf(wayIn);
    if ("path" in listen) {
      held.use(await holdPath(listen, origin));
      found[at] = { place: listen, hosts: [] };
    } else {
      const where = { origin, hosts: await listenHosts(listen) };
      const { hosts, port } = held.use(holdAddress(listen, where));
      found[at] = { place: { host: listen.host, port }, hosts };
    }
  }
  return found;
}
