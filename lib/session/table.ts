/**
 * Finding a tunnel by the subject of a message, mostly without making a string.
 *
 * @module
 */
import { numberAtEnd, withoutExpress } from "../wire/subjects.ts";
import type { Tunnel } from "./tunnel.ts";

const decoder = new TextDecoder();

/** The open tunnels of a process; looking one up costs the same however many there are. */
export class TunnelTable<T extends Pick<Tunnel, "number" | "inbound">>
  implements Iterable<T> {
  readonly #bySubject = new Map<string, T>();
  /** The only tunnel of each number: the fast way. */
  readonly #alone = new Map<number, T>();
  /**
   * Numbers that more than one tunnel has or had, and how many have it now:
   * two clients may have chosen the same one by a chance of 1 in 2^48, or with
   * intent, for thousands of tunnels.
   */
  readonly #shared = new Map<number, number>();

  /** How many tunnels there are. */
  get size(): number {
    return this.#bySubject.size;
  }

  /** Adds a tunnel, the only one of its subject. */
  add(tunnel: T): void {
    const { number, inbound } = tunnel;
    this.#bySubject.set(inbound, tunnel);
    const shared = this.#shared.get(number);
    if (shared !== undefined) this.#shared.set(number, shared + 1);
    else if (this.#alone.delete(number)) this.#shared.set(number, 2);
    else this.#alone.set(number, tunnel);
  }

  /** Removes a tunnel; returns whether it was there. */
  remove(tunnel: T): boolean {
    const { number, inbound } = tunnel;
    if (this.#bySubject.get(inbound) !== tunnel) return false;
    this.#bySubject.delete(inbound);
    const shared = this.#shared.get(number);
    if (shared === undefined) this.#alone.delete(number);
    else if (shared > 1) this.#shared.set(number, shared - 1);
    else this.#shared.delete(number);
    return true;
  }

  /** The tunnel whose messages arrive on `subject`. */
  get(subject: string): T | undefined {
    return this.#bySubject.get(subject);
  }

  /** The same, for a subject as it comes, express or not. */
  find(subjectBytes: Uint8Array): T | undefined {
    const subject = withoutExpress(subjectBytes);
    const number = numberAtEnd(subject);
    const tunnel = this.#alone.get(number);
    if (tunnel !== undefined) {
      return equal(tunnel.inbound, subject) ? tunnel : undefined;
    }
    return this.#shared.has(number)
      ? this.#bySubject.get(decoder.decode(subject))
      : undefined;
  }

  /** All tunnels; it is safe to remove while iterating. */
  [Symbol.iterator](): Iterator<T> {
    return this.#bySubject.values();
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
