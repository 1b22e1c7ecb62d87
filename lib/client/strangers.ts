/**
 * Connections that have not said yet what they have to say first: so many of
 * them there may be, and of more the oldest goes.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { DirectSocket } from "../net/socket.ts";

/** How long it may take until what is said first is whole, in ms: some round trips of a bad link. */
export const STRANGER_MS = 10_000;

/** Connections at once that have not said it, each with up to 16 KiB: 4 MiB, and more than a browser opens ahead. */
export const MAX_STRANGERS = 256;

/**
 * How long one has its place for sure, in ms, where others can wait: what a proxy
 * says of a connection comes with it, and of many at once more are accepted than
 * are read. A proxy that connects to many before it says anything, a first
 * segment that is lost (it is sent again after 200 ms at the earliest, and after
 * one second where no round trip was measured, RFC 6298), and a busy machine at
 * either end take longer than the way there.
 */
const PLACE_MS = 1_000;

/** One of them, or one that was refused and is not closed. */
export class Stranger {
  /** Its connection. */
  readonly connection: DirectSocket;
  /** Since when it has its place, in ms. */
  readonly since: number;
  #closed: string | undefined;

  /** A connection of somebody. */
  constructor(connection: DirectSocket, since: number) {
    this.connection = connection;
    this.since = since;
  }

  /** Why we closed it; undefined while it is open. */
  get closed(): string | undefined {
    return this.#closed;
  }

  /** Closes it, and remembers why. */
  close(why: string): void {
    this.#closed = why;
    this.connection.close();
  }
}

/** All of one process. */
export class Strangers implements Disposable {
  readonly #clock: Pick<Clock, "now" | "after">;
  #max = MAX_STRANGERS;
  /** Told when there may be a place. */
  readonly #waiting = new Set<() => void>();
  /** The oldest first. */
  readonly #all = new Set<Stranger>();
  #ended = false;

  /** Nobody yet, and at most so many; {@linkcode MAX_STRANGERS} where nobody says. */
  constructor(
    clock: Pick<Clock, "now" | "after">,
    max?: number,
  ) {
    this.#clock = clock;
    this.limitTo(max);
  }

  /** From now on there may be so many; with fewer than there are, none of them is closed for that. */
  limitTo(max: number = MAX_STRANGERS): void {
    this.#max = max;
  }

  /** Whether one more would cost another its place. */
  get full(): boolean {
    return this.#ended || this.#all.size >= this.#max;
  }

  /** Counts a connection among them; the oldest one makes room. */
  take(connection: DirectSocket): Stranger {
    const [oldest] = this.#all;
    if (oldest !== undefined && this.full) {
      this.#all.delete(oldest);
      oldest.close(
        `${this.#max} connections wait whose request or header is not whole: the oldest is closed`,
      );
    }
    const stranger = new Stranger(connection, this.#clock.now());
    this.#all.add(stranger);
    return stranger;
  }

  /**
   * The same, once that costs nobody its place who has just come; whoever calls
   * accepts no other connection meanwhile: they wait with the system. Undefined
   * at the end, when the connection is closed.
   */
  async welcome(connection: DirectSocket): Promise<Stranger | undefined> {
    while (!this.#ended) {
      const [oldest] = this.#all;
      const left = (oldest?.since ?? -Infinity) + PLACE_MS - this.#clock.now();
      if (left <= 0 || !this.full) return this.take(connection);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      using _timer = this.#clock.after(left, resolve);
      await promise;
      this.#waiting.delete(resolve);
    }
    connection.close();
    return undefined;
  }

  /** It is none any more; whether it was one until now. */
  release(stranger: Stranger): boolean {
    const was = this.#all.delete(stranger);
    if (was) this.#wake();
    return was;
  }

  /** Closes all of them. */
  [Symbol.dispose](): void {
    this.#ended = true;
    for (const { connection } of this.#all) connection.close();
    this.#all.clear();
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
  }
}
