/**
 * Where a client asks for tunnels. Of addresses: on the subject of its own,
 * which permissions can fence, or, where no server hears that, on the one that
 * all share. Of services and sites: on theirs.
 *
 * @module
 */
import { publishDenied, type Reason } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import type { Subjects } from "../wire/subjects.ts";

/**
 * How long opens go straight to the shared subject once a server was heard
 * there only, in ms: it saves each of them a question in vain, and a server
 * that is replaced by a newer one is soon asked in the newer way.
 */
const SHARED_FIRST_MS = 60_000;

/** How long a refused publish counts against readiness, in ms: until then the next open will tell. */
const DENIED_MS = 60_000;

/**
 * The subjects, and what is known of who hears them. There are no more than
 * a client's forwards, front-ends and targets of `exec` lead to.
 */
export class RequestSubjects {
  /** Nobody else may be allowed to publish here. */
  readonly own: string;
  /** Where version 1 servers listen, too. */
  readonly shared: string;
  readonly #subjects: Subjects;
  readonly #token: string;
  /** Subjects that something was asked on. */
  readonly #tried = new Set<string>();
  /** When NATS last refused what was published to a subject. */
  readonly #denied = new Map<string, number>();
  /** Subjects on which a server has answered, and somebody listens yet. */
  readonly #served = new Set<string>();
  #sharedFirstUntil = -Infinity;
  /** Told of each answer, and of the subject that it is to. */
  onAnswered: (subject: string) => void = () => {};

  /** Those of the client with this token. */
  constructor(subjects: Subjects, token: string) {
    this.#subjects = subjects;
    this.#token = token;
    this.own = subjects.requestOf(token);
    this.shared = subjects.request;
  }

  /**
   * Where an open for a destination is asked for, one after the other, as long
   * as nobody answers. For a service the last one only tells why.
   */
  subjectsTo(
    { target, site }: Destination,
    now: number,
  ): readonly [first: string, ...others: string[]] {
    const general = this.#subjects.requestOf(this.#token, { site });
    if ("service" in target) {
      const { service } = target;
      const own = this.#subjects.requestOf(this.#token, { site, service });
      return [own, general];
    }
    if (site !== undefined) return [general];
    return now < this.#sharedFirstUntil
      ? [this.shared, this.own]
      : [this.own, this.shared];
  }

  /**
   * Whether silence on `subject` may mean that only others listen there, and no
   * server, so that it is worth to ask on the `next` one.
   */
  doubtful(subject: string, next: string | undefined, now: number): boolean {
    return next !== undefined && subject !== this.shared &&
      !this.#served.has(subject) && !this.#isDenied(next, now);
  }

  /** Something is asked on `subject`. */
  asked(subject: string): void {
    this.#tried.add(subject);
  }

  /** A server answered what was asked on `subject`. */
  answered(subject: string, now: number): void {
    this.#denied.delete(subject);
    if (subject !== this.shared) this.#served.add(subject);
    if (subject === this.own) this.#sharedFirstUntil = -Infinity;
    if (
      subject === this.shared && !this.#served.has(this.own) &&
      now >= this.#sharedFirstUntil
    ) {
      this.#sharedFirstUntil = now + SHARED_FIRST_MS;
    }
    this.onAnswered(subject);
  }

  /** Nobody listens on `subject`. */
  unheard(subject: string): void {
    this.#served.delete(subject);
  }

  /** NATS refuses what is published to `subject`. */
  denied(subject: string, now: number): void {
    this.unheard(subject);
    this.#denied.set(subject, now);
  }

  /** Whether something was asked on `subject`, so that it is one of these. */
  has(subject: string): boolean {
    return this.#tried.has(subject);
  }

  /** Why no open can be asked for; undefined when one can, as far as is known. */
  refusal(now: number): Reason | undefined {
    const [first] = this.#tried;
    return first !== undefined &&
        [...this.#tried].every((subject) => this.#isDenied(subject, now))
      ? publishDenied(first)
      : undefined;
  }

  /**
   * Why an open for a destination is not answered, on none of its subjects; which
   * of them NATS refuses `isDenied` says.
   */
  noServer(
    { target, site }: Destination,
    isDenied: (subject: string) => boolean,
  ): Reason {
    const at = site === undefined ? "" : ` @${site}`;
    const ofSite = site === undefined ? "" : ` --site ${site}`;
    const general = this.#subjects.requestOf(this.#token, { site });
    if ("service" in target) {
      const { service } = target;
      const own = this.#subjects.requestOf(this.#token, { site, service });
      return isDenied(general)
        ? {
          code: "no-such-service",
          text: `no server${at} offers the service ${service} now (on ${own})`,
        }
        : {
          code: "no-server",
          text:
            `no server${at} listens on ${general}, nor for the service ${service} on ${own}; start one with${ofSite} --service ${service}=…, or check its /ready, --nats-url and --request-subject`,
        };
    }
    if (site !== undefined) {
      const text =
        `no server${at} listens on ${general}; start one with${ofSite}, or check its /ready, --nats-url and --request-subject`;
      return { code: "no-server", text };
    }
    const { own, shared } = this;
    const text = isDenied(shared)
      ? `no server listens on ${own}, and NATS refuses what is published to ${shared}; start a server, or check its /ready, --nats-url and --request-subject`
      : `no server listens on ${shared}; start one, or check its /ready, --nats-url and --request-subject`;
    return { code: "no-server", text };
  }

  /** Another connection may lead to other servers, and have other rules. */
  forget(): void {
    this.#tried.clear();
    this.#denied.clear();
    this.#served.clear();
    this.#sharedFirstUntil = -Infinity;
  }

  /** Whether NATS refused what was published to `subject` lately. */
  #isDenied(subject: string, now: number): boolean {
    const at = this.#denied.get(subject);
    return at !== undefined && now - at <= DENIED_MS;
  }
}
