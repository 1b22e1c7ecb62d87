/**
 * Where a server hears opens: on the subjects for those of any target, and on
 * one for each service. While it is mute or deaf it takes no part in the queue
 * groups, so that other servers get the opens.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Reason, subscribeDenied } from "../base/errors.ts";
import type { Service } from "../base/service.ts";
import type { BusSubscription } from "../nats/bus.ts";
import type { OfferOptions } from "./offer.ts";
import { Offers } from "./offers.ts";

/** What hearing opens takes. */
export interface HearingOptions extends OfferOptions {
  /** Token of the server. */
  readonly token: string;
  /** What is offered at first. */
  readonly services?: readonly Service[] | undefined;
  /** Why no open could be answered; undefined when it could. */
  readonly muteness: () => Reason | undefined;
}

/** All places where opens are heard. */
export class Hearing implements Disposable {
  /** The services. */
  readonly offers: Offers;
  /** The subjects for opens of any target. */
  readonly general: readonly string[];
  readonly #options: HearingOptions;
  readonly #log = getLogger(["sproxy", "open"]);
  #subscriptions: readonly BusSubscription[] = [];
  #takesPart = false;
  /** When it last left opens to others. */
  #partedAt: number | undefined;
  #ended = false;

  /** Opens are heard from {@linkcode Hearing.takePart} on. */
  constructor(options: HearingOptions) {
    const { subjects, site, services = [] } = options;
    this.#options = options;
    this.offers = new Offers(options);
    this.offers.set(services);
    // Who asks for a site means that place, and version 1 means none.
    this.general = site === undefined
      ? [subjects.requestPattern(), subjects.request]
      : [subjects.requestPattern({ site })];
  }

  /** Takes part, or not, as it is mute or deaf now. */
  takePart(): void {
    if (this.#ended) return;
    const why = this.#options.muteness() ?? this.#deafness;
    if (this.#takesPart === (why === undefined)) return;
    const now = this.#options.clock.now();
    if (why === undefined) {
      if (this.#partedAt !== undefined) {
        const ms = Math.round(now - this.#partedAt);
        this.#log.info("opens are taken again", { ms });
      }
      this.#join();
      return;
    }
    this.#partedAt = now;
    this.#log.warn("opens are left to other servers", { why: why.text });
    this.#part();
  }

  /** Which of the `refused` subscriptions there is no working without: one place to hear opens is enough. */
  missing(refused: readonly string[]): string | undefined {
    // A service that is out of order has no subscription that could be refused.
    const ways = [...this.general, ...this.offers.subjects];
    const deaf = ways.every((subject) => refused.includes(subject));
    return refused.find((subject) => deaf || !ways.includes(subject));
  }

  /** Hears no more; resolves when no more opens can come. */
  async drain(): Promise<void> {
    this.#ended = true;
    await Promise.all([
      this.offers.drain(),
      ...this.#subscriptions.map((one) => one.drain()),
    ]);
  }

  /** Hears no more at once. */
  [Symbol.dispose](): void {
    this.#ended = true;
    this.#part();
    this.offers[Symbol.dispose]();
  }

  #join(): void {
    const { bus, queueGroup, onRequest } = this.#options;
    this.#takesPart = true;
    this.#subscriptions = this.general.map((subject) =>
      bus.subscribe(subject, onRequest, { queue: queueGroup })
    );
    this.offers.takePart(true);
  }

  #part(): void {
    this.#takesPart = false;
    for (const one of this.#subscriptions) one[Symbol.dispose]();
    this.#subscriptions = [];
    this.offers.takePart(false);
  }

  /** Why no tunnel would be heard; undefined when they are, as far as is known. */
  get #deafness(): Reason | undefined {
    const { bus, subjects, token } = this.#options;
    const data = subjects.pattern("server", token);
    return bus.refusedSubjects.includes(data)
      ? subscribeDenied(data)
      : undefined;
  }
}
