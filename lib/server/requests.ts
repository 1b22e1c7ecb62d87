/**
 * Requests for tunnels as they come off the bus: who sends them, where they are
 * answered, and which are looked at. What ends here costs next to nothing.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import { type Reason, TunnelError } from "../base/errors.ts";
import type { BusMessage } from "../nats/bus.ts";
import type { CountedBy, Counters } from "../session/counters.ts";
import {
  type Asker,
  askerOf,
  decodeRequest,
  encodeRefusal,
  type OpenMessage,
  type OpenRequest,
} from "../wire/open.ts";
import {
  isSubject,
  type RequestScope,
  type Subjects,
} from "../wire/subjects.ts";
import type { KnownClient } from "./clients.ts";
import type { Ask } from "./reception.ts";
import { Rates, type Verdict } from "./rates.ts";
import type { Refusal, RefusalLog } from "./refusal_log.ts";

/** Why version 1 clients are not even answered: an inbox may be another's. */
const REFUSE_V1: Reason = {
  code: "version",
  text: "the server refuses version 1 clients (--refuse-v1)",
};

/** A request that is looked at. */
export interface Received {
  /** What it asks for. */
  readonly request: OpenRequest;
  /** Where it came. */
  readonly subject: string;
  /** Whom that says it is for. */
  readonly scope: RequestScope;
  /** Who sent it, as far as the broker vouches for it. */
  readonly sender: string;
  /** Where it is answered. */
  readonly answerTo: string;
}

/** A request that is refused. */
export interface RefusedRequest extends Refusal {
  /** The subject that it came on. */
  readonly subject: string;
  /** When it came; undefined where it was refused at once. */
  readonly since?: number | undefined;
  /** What was understood of it; undefined where it was not looked at. */
  readonly ask?:
    | Pick<Ask, "known" | "key" | "endpoints" | "native">
    | undefined;
}

/** What requests are taken by. */
export interface RequestsOptions {
  /** Token of the server. */
  readonly token: string;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Most opens a second of one sender. */
  readonly maxOpenRate: number;
  /** Turn away clients that speak version 1. */
  readonly refuseV1: boolean;
  /**
   * What the subjects begin with where version 1 clients are answered, and
   * nowhere else: any other may be one that the asker itself may not publish to.
   */
  readonly inboxes: string;
  /** Where what ends here counts. */
  readonly counters: Counters;
  /** Where it is told. */
  readonly refusals: RefusalLog;
  /** Told of each open that is refused. */
  readonly onRefused: (refusal: RefusedRequest) => void;
  /** Why nothing can be published to inboxes; undefined when it can. */
  readonly inboxRefusal: () => Reason | undefined;
  /** Answers a request. */
  readonly send: (subject: string, message: OpenMessage) => void;
}

/** The requests of all senders. */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #log = getLogger(["sproxy", "open"]);
  readonly #senders = new Rates();
  readonly #clients = new Rates();

  /** No request has come yet. */
  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** Reads a request; undefined when that was all to be done about it. */
  receive(message: BusMessage): Received | undefined {
    const { subject, reply } = message;
    const { counters, token, send } = this.#options;
    const header = (name: string): string | undefined => message.header(name);
    const asker = askerOf(header);
    const { client: owner, ...scope } =
      this.#options.subjects.requestOn(subject) ?? {};
    const sender = owner ?? this.#sharedSender;
    const answerTo = this.#answerSubject(asker, { owner, reply });
    if (typeof answerTo !== "string") {
      this.drop(subject, answerTo.why);
      return undefined;
    }
    if (!this.#isWithinRate(sender, { subject, answerTo })) return undefined;
    const refusal = this.#objection(header, asker, reply);
    if (refusal !== undefined) {
      const client = asker?.client ?? "version 1";
      this.refuse({ client, payer: sender, reason: refusal, subject });
      return undefined;
    }
    try {
      const request = decodeRequest(header, message.data);
      return { request, subject, scope, sender, answerTo };
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      this.drop(subject, error.text);
      counters.refused(error.code);
      const client = asker?.client ?? "version 1";
      const refused = { client, payer: sender, reason: error, subject };
      this.#options.onRefused(refused);
      send(answerTo, encodeRefusal(error, token));
      return undefined;
    }
  }

  /**
   * Whether a client whose key says who it is, on whatever subjects it asks, may
   * have one more open now; else why not, and whether to say so.
   */
  overRate({ name, rate }: KnownClient): OverRate | undefined {
    const { maxOpenRate } = this.#options;
    const verdict = this.#clients.ask(name, rate ?? maxOpenRate, this.#now);
    return overRate(
      verdict,
      rate === undefined
        ? ofAnyClient(maxOpenRate)
        : `${rate} opens in a second of ${name} (rate, shared by all workers)`,
    );
  }

  /** Counts and tells that an open is refused, of this client and for this service where those are known. */
  refuse(refusal: RefusedRequest, by: CountedBy = {}): void {
    this.#options.counters.refused(refusal.reason.code, by);
    this.#options.refusals.note(refusal);
    this.#options.onRefused(refusal);
  }

  /** Counts a request that nobody is answered. */
  drop(subject: string, why: string): void {
    this.#options.counters.malformed++;
    this.#log.debug("request dropped", { subject, why });
  }

  get #now(): number {
    return this.#options.clock.now();
  }

  /** Who asks where the broker vouches for nobody. */
  get #sharedSender(): string {
    return `clients on ${this.#options.subjects.request}`;
  }

  /** The subject for the answer, or why there is to be none. */
  #answerSubject(
    asker: Asker | undefined,
    { owner, reply }: {
      readonly owner: string | undefined;
      readonly reply: string;
    },
  ): string | { readonly why: string } {
    const { subjects, inboxes, inboxRefusal } = this.#options;
    if (asker !== undefined) {
      const { client, number } = asker;
      return owner === undefined || owner === client
        ? subjects.answerTo(client, number)
        : { why: `it says to come from the client ${client}` };
    }
    if (
      owner !== undefined || !reply.startsWith(inboxes) || !isSubject(reply)
    ) return { why: "it cannot be answered" };
    const refusal = inboxRefusal();
    return refusal === undefined ? reply : { why: refusal.text };
  }

  /** Whether the sender of a request may make one now; if not, it is told as long as that is cheap. */
  #isWithinRate(
    sender: string,
    { subject, answerTo }: Pick<Received, "subject" | "answerTo">,
  ): boolean {
    const { maxOpenRate, token, send } = this.#options;
    const verdict = this.#senders.ask(sender, maxOpenRate, this.#now);
    const over = overRate(verdict, ofAnyClient(maxOpenRate));
    if (over === undefined) return true;
    const { reason } = over;
    this.refuse({ client: sender, payer: sender, reason, subject });
    if (over.tell) send(answerTo, encodeRefusal(reason, token));
    return false;
  }

  /** Why a request is refused, and its sender not told: it is not known to listen where it says. */
  #objection(
    header: (name: string) => string | undefined,
    asker: Asker | undefined,
    reply: string,
  ): Reason | undefined {
    const { subjects, refuseV1 } = this.#options;
    if (asker === undefined) {
      const isV1 = header("sproxy-version") === undefined;
      return isV1 && refuseV1 ? REFUSE_V1 : undefined;
    }
    const text = subjects.prefixProblem(asker.client, reply);
    return text === undefined ? undefined : { code: "denied", text };
  }
}

/** An open that is one too many for its second. */
export interface OverRate {
  /** Why it is refused. */
  readonly reason: Reason;
  /** Whether to say so: a flood is not even answered. */
  readonly tell: boolean;
}

/** The rate that counts for all who have none of their own. */
function ofAnyClient(rate: number): string {
  return `${rate} opens in a second (--max-open-rate, shared by all workers)`;
}

function overRate(verdict: Verdict, most: string): OverRate | undefined {
  if (verdict === "take") return undefined;
  const text = `more than ${most}`;
  return { reason: { code: "limit", text }, tell: verdict === "refuse" };
}
