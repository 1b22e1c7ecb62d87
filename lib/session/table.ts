/**
 * Finding a tunnel by the subject of a message, without making a string.
 *
 * @module
 */
import { numberAtEnd } from "../wire/subjects.ts";
import type { Tunnel } from "./tunnel.ts";

/** The open tunnels of a process. */
export class TunnelTable<T extends Pick<Tunnel, "number" | "inbound">>
  implements Iterable<T> {
  /**
   * By number. Two clients may have chosen the same one, so a number leads to
   * a list; it has one entry but for a coincidence of 1 in 2^48 (or malice).
   */
  readonly #byNumber = new Map<number, T[]>();
  #size = 0;

  /** How many tunnels there are. */
  get size(): number {
    return this.#size;
  }

  /** Adds a tunnel. */
  add(tunnel: T): void {
    const same = this.#byNumber.get(tunnel.number);
    if (same === undefined) this.#byNumber.set(tunnel.number, [tunnel]);
    else same.push(tunnel);
    this.#size++;
  }

  /** Removes a tunnel; returns whether it was there. */
  remove(tunnel: T): boolean {
    const same = this.#byNumber.get(tunnel.number);
    const at = same?.indexOf(tunnel) ?? -1;
    if (same === undefined || at < 0) return false;
    same.splice(at, 1);
    if (same.length === 0) this.#byNumber.delete(tunnel.number);
    this.#size--;
    return true;
  }

  /** The tunnel whose messages arrive on `subject`. */
  find(subject: Uint8Array): T | undefined {
    const same = this.#byNumber.get(numberAtEnd(subject));
    if (same === undefined) return undefined;
    for (const tunnel of same) {
      if (equal(tunnel.inbound, subject)) return tunnel;
    }
    return undefined;
  }

  /** All tunnels; it is safe to remove while iterating. */
  *[Symbol.iterator](): Iterator<T> {
    for (const same of this.#byNumber.values()) yield* [...same];
  }
}

/** Whether `subject` spells `text`, which is ASCII. */
function equal(text: string, subject: Uint8Array): boolean {
  if (text.length !== subject.length) return false;
  // Subjects differ towards their end first.
  for (let at = subject.length - 1; at >= 0; at--) {
    if (text.charCodeAt(at) !== subject[at]) return false;
  }
  return true;
}
