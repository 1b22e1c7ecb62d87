/**
 * What one thread keeps for those who may come to look, and what it tells them:
 * one sample each few seconds, and the outages of its link; all else is asked
 * for when somebody looks.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { Bus } from "../nats/bus.ts";
import type { ServiceView } from "../server/offers.ts";
import type { CountedWay } from "../session/counters.ts";
import type { Ending } from "../session/recent.ts";
import type { Session } from "../session/session.ts";
import { emptyPart } from "./merge.ts";
import { Outages } from "./outages.ts";
import {
  type EndingRow,
  type LinkView,
  MAX_ROWS,
  type Part,
  type WayView,
} from "./snapshot.ts";
import { Throughput } from "./throughput.ts";

/** A round trip that was measured within that time, in ms, counts for now. */
const FRESH_MS = 900;

/** One that is older tells nothing, in ms: the broker has not answered since. */
const STALE_MS = 5_000;

/** How long a look waits for the broker, in ms; later answers are for the next one. */
const PING_WAIT_MS = 250;

/** The part of a role that is looked at. */
export interface Looked {
  /** The tunnels. */
  readonly session: Session;
  /** Opens under way. */
  readonly opening: number;
  /** What people are shown of a server's services. */
  readonly serviceViews?: readonly ServiceView[];
}

/** A way in, as its listener knows it. */
export interface OpenWayView extends Omit<WayView, "open"> {
  /** What its tunnels are found by. */
  readonly way: CountedWay;
}

/** The part of a bus that is looked at. */
export type WatchedBus =
  & Pick<Bus, "connected" | "onLink" | "flush">
  & {
    readonly server: string;
    stats(): { readonly reconnects: number };
  };

/** Watches one thread of a process. */
export class Watch implements Disposable {
  /** The role, once there is one. */
  looked: Looked | undefined;
  /** A client's ways in, now. */
  ways: () => readonly OpenWayView[] = () => [];
  readonly #clock: Clock;
  readonly #bus: WatchedBus;
  readonly #throughput = new Throughput();
  readonly #outages = new Outages();
  readonly #stop = new AbortController();
  #timer: Disposable;
  /** The last round trip, and when it ended. */
  #trip: { readonly ms: number; readonly at: number } | undefined;
  #pinging: Promise<void> | undefined;

  /** Watches from now on, until it is disposed. */
  constructor({ clock, bus }: {
    readonly clock: Clock;
    readonly bus: WatchedBus;
  }) {
    this.#clock = clock;
    this.#bus = bus;
    bus.onLink((event) => {
      const now = clock.wallTime();
      if (event.type === "up") this.#outages.up(now);
      else if (event.type === "down" || event.type === "closed") {
        this.#outages.down(now, event.reason ?? "");
      }
    }, this.#stop.signal);
    this.#timer = this.#schedule();
  }

  /** Keeps nothing any more. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#timer[Symbol.dispose]();
  }

  /** What it tells now; `notReady` is why it cannot do its work. */
  async look(notReady: string | undefined): Promise<Part> {
    await this.#measure();
    const { looked } = this;
    const about = {
      ...(notReady !== undefined && { notReady }),
      link: this.#link(),
    };
    if (looked === undefined) {
      return { ...emptyPart(notReady ?? "starting"), ...about };
    }
    const { session, opening, serviceViews = [] } = looked;
    const { bytesSent: sent, bytesReceived: received } = session.totals;
    const byWay = session.tally(({ way }) => way);
    const byService = session.tally(({ service }) => service);
    return {
      ...about,
      tunnels: {
        ...{ open: session.size, opening, stalled: session.stalled },
        allowed: session.allowed,
        rows: session.views(MAX_ROWS),
      },
      total: { sent, received },
      points: this.#throughput.points(this.#clock.wallTime()),
      ways: this.ways().map(({ way, ...view }) => ({
        ...view,
        open: byWay.get(way) ?? 0,
      })),
      services: serviceViews.map((view) => ({
        ...view,
        open: byService.get(view.name) ?? 0,
      })),
      endings: this.#endings(session.recent.endings),
    };
  }

  #schedule(): Disposable {
    const delay = Throughput.untilNext(this.#clock.wallTime());
    return this.#clock.after(delay, () => {
      this.#sample();
      this.#timer = this.#schedule();
    });
  }

  #sample(): void {
    const { session } = this.looked ?? {};
    const { bytesSent: sent = 0, bytesReceived: received = 0 } =
      session?.totals ?? {};
    this.#throughput.sample({
      total: { sent, received },
      tunnels: session?.size ?? 0,
      wallTime: this.#clock.wallTime(),
    });
  }

  #link(): LinkView {
    const { connected, server } = this.#bus;
    const trip = this.#trip;
    const isKnown = connected && trip !== undefined &&
      this.#clock.now() - trip.at < STALE_MS;
    return {
      ...{ connected, server },
      ...(isKnown && { roundTrip: trip.ms }),
      reconnects: this.#bus.stats().reconnects,
      outages: this.#outages.since(this.#clock.wallTime()),
    };
  }

  /** Times a round trip to the broker, one at a time; does not wait long for it. */
  async #measure(): Promise<void> {
    const now = this.#clock.now();
    if (!this.#bus.connected) return;
    if (this.#trip !== undefined && now - this.#trip.at < FRESH_MS) return;
    this.#pinging ??= this.#ping();
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = this.#clock.after(PING_WAIT_MS, resolve);
    await Promise.race([this.#pinging, promise]);
  }

  async #ping(): Promise<void> {
    const begun = this.#clock.now();
    try {
      await this.#bus.flush();
      const at = this.#clock.now();
      this.#trip = { ms: Math.round((at - begun) * 100) / 100, at };
    } catch {
      // The link was lost meanwhile, which its events tell.
      this.#trip = undefined;
    } finally {
      this.#pinging = undefined;
    }
  }

  /** What ended, by the time that others know. */
  #endings(all: readonly Ending[]): readonly EndingRow[] {
    const offset = this.#clock.wallTime() - this.#clock.now();
    return all.map((ending) => ({
      ...ending,
      at: Math.round(ending.at + offset),
    }));
  }
}
