/**
 * What is counted apart for each forward, service or client: only for names
 * that the configuration has, so that nobody else can make one.
 *
 * @module
 */
import type { TunnelStats } from "../tunnel/types.ts";

/**
 * Most names that are counted apart; what the rest do is counted under
 * {@linkcode OTHERS}. There are no more services than this, and with five
 * numbers for each name it is a hundred kilobytes of a metrics page.
 */
export const MAX_TALLIES = 256;

/** The name under which names are counted for which there is no room. */
export const OTHERS = "other";

/** What is counted of one name. */
export interface Tally {
  /** The name. */
  readonly name: string;
  /** Tunnels open now. */
  open: number;
  /** Tunnels that were opened. */
  opened: number;
  /** Opens that came to nothing. */
  refused: number;
  /** Bytes sent on tunnels that have ended. */
  bytesSent: number;
  /** Bytes received on them. */
  bytesReceived: number;
}

/** The names of one kind. */
export class Tallies implements Iterable<Tally> {
  readonly #byName = new Map<string, Tally>();
  /** Names of the configuration that have a tally of their own. */
  #own: ReadonlySet<string> = new Set();
  /** Names of the configuration for which there was no room. */
  #rest: ReadonlySet<string> = new Set();

  /**
   * The configuration has these names now, and no others. What was counted of a
   * name that stays goes on; one that is gone is shown until its tunnels have
   * ended.
   */
  keep(names: Iterable<string>): void {
    const all = [...new Set(names)];
    this.#own = new Set(all.slice(0, MAX_TALLIES));
    this.#rest = new Set(all.slice(MAX_TALLIES));
    for (const name of this.#own) this.#make(name);
    if (this.#rest.size > 0) this.#make(OTHERS);
    for (const tally of this.#byName.values()) this.#forgetIfGone(tally);
  }

  /** Where something of this name counts; undefined for a name that the configuration has not. */
  find(name: string | undefined): Tally | undefined {
    if (name === undefined) return undefined;
    if (this.#own.has(name)) return this.#byName.get(name);
    return this.#rest.has(name) ? this.#byName.get(OTHERS) : undefined;
  }

  /** A tunnel that counts in `tally`, if that is one of these, has ended. */
  ended(tally: Tally, { bytesSent, bytesReceived }: TunnelStats): void {
    if (this.#byName.get(tally.name) !== tally) return;
    tally.open--;
    tally.bytesSent += bytesSent;
    tally.bytesReceived += bytesReceived;
    this.#forgetIfGone(tally);
  }

  /** All of them. */
  [Symbol.iterator](): Iterator<Tally> {
    return this.#byName.values();
  }

  #make(name: string): void {
    if (this.#byName.has(name)) return;
    const none = { open: 0, opened: 0, refused: 0 };
    this.#byName.set(name, { name, ...none, bytesSent: 0, bytesReceived: 0 });
  }

  #forgetIfGone({ name, open }: Tally): void {
    const kept = this.#own.has(name) ||
      name === OTHERS && this.#rest.size > 0;
    if (!kept && open === 0) this.#byName.delete(name);
  }
}
