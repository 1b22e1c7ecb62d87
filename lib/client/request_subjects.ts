/**
 * Where a client asks for tunnels: on the subject of its own, which permissions
 * can fence, or, where no server hears that, on the one that all share.
 *
 * @module
 */
import { publishDenied, type Reason } from "../base/errors.ts";
import type { Subjects } from "../wire/subjects.ts";

/**
 * How long opens go straight to the shared subject once a server was heard
 * there only, in ms: it saves each of them a question in vain, and a server
 * that is replaced by a newer one is soon asked in the newer way.
 */
const SHARED_FIRST_MS = 60_000;

/** How long a refused publish counts against readiness, in ms: until then the next open will tell. */
const DENIED_MS = 60_000;

/** The two subjects, and what is known of who hears them. */
export class RequestSubjects {
  /** Nobody else may be allowed to publish here. */
  readonly own: string;
  /** Where version 1 servers listen, too. */
  readonly shared: string;
  /** When NATS last refused what was published to a subject. */
  readonly #denied = new Map<string, number>();
  /** Whether a server has answered on the own subject, and somebody listens there yet. */
  #ownServed = false;
  #sharedFirstUntil = -Infinity;

  /** Those of the client with this token. */
  constructor(subjects: Subjects, token: string) {
    this.own = subjects.requestOf(token);
    this.shared = subjects.request;
  }

  /** Where an open is asked for first. */
  first(now: number): string {
    return now < this.#sharedFirstUntil ? this.shared : this.own;
  }

  /** The other one. */
  other(subject: string): string {
    return subject === this.own ? this.shared : this.own;
  }

  /** Whether silence on `subject` may mean that only others listen there, and no server. */
  doubtful(subject: string, now: number): boolean {
    return subject === this.own && !this.#ownServed &&
      !this.isDenied(this.shared, now);
  }

  /** A server answered what was asked on `subject`. */
  answered(subject: string, now: number): void {
    this.#denied.delete(subject);
    if (subject === this.own) {
      this.#ownServed = true;
      this.#sharedFirstUntil = -Infinity;
    } else if (!this.#ownServed && now >= this.#sharedFirstUntil) {
      this.#sharedFirstUntil = now + SHARED_FIRST_MS;
    }
  }

  /** Nobody listens on `subject`. */
  unheard(subject: string): void {
    if (subject === this.own) this.#ownServed = false;
  }

  /** NATS refuses what is published to `subject`. */
  denied(subject: string, now: number): void {
    this.unheard(subject);
    this.#denied.set(subject, now);
  }

  /** Whether NATS refused what was published to `subject` lately. */
  isDenied(subject: string, now: number): boolean {
    const at = this.#denied.get(subject);
    return at !== undefined && now - at <= DENIED_MS;
  }

  /** Why no open can be asked for; undefined when one can, as far as is known. */
  refusal(now: number): Reason | undefined {
    return this.isDenied(this.own, now) && this.isDenied(this.shared, now)
      ? publishDenied(this.own)
      : undefined;
  }

  /** Another connection may lead to other servers, and have other rules. */
  forget(): void {
    this.#denied.clear();
    this.#ownServed = false;
    this.#sharedFirstUntil = -Infinity;
  }
}
