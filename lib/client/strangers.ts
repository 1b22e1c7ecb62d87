/**
 * Connections that have not said yet what they have to say first: so many of
 * them there may be, and of more the oldest goes.
 *
 * @module
 */
import type { DirectSocket } from "../net/socket.ts";

/** How long it may take until what is said first is whole, in ms: some round trips of a bad link. */
export const STRANGER_MS = 10_000;

/** Connections at once that have not said it, each with up to 16 KiB: 4 MiB, and more than a browser opens ahead. */
export const MAX_STRANGERS = 256;

/** One of them, or one that was refused and is not closed. */
export class Stranger {
  /** Its connection. */
  readonly connection: DirectSocket;
  #closed: string | undefined;

  /** A connection of somebody. */
  constructor(connection: DirectSocket) {
    this.connection = connection;
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
  readonly #max: number;
  /** The oldest first. */
  readonly #all = new Set<Stranger>();
  #ended = false;

  /** Nobody yet, and at most so many; {@linkcode MAX_STRANGERS} where nobody says. */
  constructor(max: number = MAX_STRANGERS) {
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
    const stranger = new Stranger(connection);
    this.#all.add(stranger);
    return stranger;
  }

  /** It is none any more; whether it was one until now. */
  release(stranger: Stranger): boolean {
    return this.#all.delete(stranger);
  }

  /** Closes all of them. */
  [Symbol.dispose](): void {
    this.#ended = true;
    for (const { connection } of this.#all) connection.close();
    this.#all.clear();
  }
}
