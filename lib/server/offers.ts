/**
 * The services that a server offers, what opens lead to with them, and what is
 * said of a name that nothing is offered under.
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";
import { MAX_SERVICES, type Service } from "../base/service.ts";
import type { Address } from "../base/address.ts";
import { formatPlace, type UnixPath } from "../base/place.ts";
import { formatTarget, type Target } from "../base/target.ts";
import { joined } from "../base/text.ts";
import type { ToldService } from "../wire/probe.ts";
import type { RequestScope } from "../wire/subjects.ts";
import { type KnownClient, serviceObjection } from "./clients.ts";
import { Offer, type OfferOptions } from "./offer.ts";

/** Most names that a refusal lists: it is one line, and a short message. */
const MAX_NAMES = 20;

/** Why a service is not offered whose first check has not ended. */
const NOT_TRIED = "it has not been tried yet";

/** What an open leads to. */
export type Aim =
  | {
    /** What is dialled. */
    readonly target: Address | UnixPath;
    /** The service that it is dialled for. */
    readonly service?: Service;
  }
  | { readonly refusal: Reason };

/** How a service is. */
export interface ServiceState {
  /** Its name. */
  readonly name: string;
  /** Whether it is offered. */
  readonly up: boolean;
}

/** A service as people are shown it. */
export interface ServiceView {
  /** Its name. */
  readonly name: string;
  /** Where it is. */
  readonly target: string;
  /** What it is, for people. */
  readonly description?: string;
  /** Whether its target is tried now and then. */
  readonly checked: boolean;
  /** Whether it is offered. */
  readonly up: boolean;
  /** Why its last check failed. */
  readonly why?: string;
  /** Tunnels to it that were opened. */
  readonly opened: number;
}

/** All services of a server. */
export class Offers implements Disposable {
  readonly #options: OfferOptions;
  #offers: ReadonlyMap<string, Offer> = new Map();
  #takesPart = false;
  #ended = false;

  /** Nothing is offered yet. */
  constructor(options: OfferOptions) {
    this.#options = options;
  }

  /**
   * Offers these from now on, and no others. What has not changed goes on as it
   * was; what has is tried anew, and offered meanwhile if it was before.
   */
  set(services: readonly Service[]): void {
    if (this.#ended) return;
    const before = new Map(this.#offers);
    const after = new Map<string, Offer>();
    for (const service of services.slice(0, MAX_SERVICES)) {
      const old = before.get(service.name);
      const same = old !== undefined && isSame(old.service, service);
      if (same) before.delete(service.name);
      after.set(
        service.name,
        same ? old : new Offer(service, this.#options, old),
      );
    }
    this.#offers = after;
    for (const offer of after.values()) {
      offer.start();
      offer.takePart(this.#takesPart);
    }
    // After: one that leads elsewhere now is heard without a gap.
    for (const offer of before.values()) offer.end();
  }

  /** Whether opens are heard at all, as far as services are in order. */
  takePart(takesPart: boolean): void {
    this.#takesPart = takesPart;
    for (const offer of this.#offers.values()) offer.takePart(takesPart);
  }

  /** The service of this name, offered or out of order; undefined where there is none. */
  find(name: string): Service | undefined {
    return this.#offers.get(name)?.service;
  }

  /** Where opens for all of them would come, in order or not. */
  get subjects(): readonly string[] {
    return [...this.#offers.values()].map(({ subject }) => subject);
  }

  /** How each of them is. */
  get states(): readonly ServiceState[] {
    return [...this.#offers.values()].map(
      ({ service: { name }, up }) => ({ name, up }),
    );
  }

  /** What people are shown of each. */
  get views(): readonly Omit<ServiceView, "opened">[] {
    return [...this.#offers.values()].map(({ service, up, why }) => ({
      ...{ name: service.name, up },
      target: formatPlace(service.target),
      checked: service.check !== undefined,
      ...(service.description !== undefined && {
        description: service.description,
      }),
      ...(why !== undefined && { why: why.text }),
    }));
  }

  /** What is told of each that the client may have. */
  told(known: KnownClient | undefined): readonly ToldService[] {
    return [...this.#offers.values()]
      .filter(({ service: { name } }) =>
        known === undefined || serviceObjection(known, name) === undefined
      )
      .map(({ service: { name }, up, why }) => ({
        name,
        up,
        ...(!up && { why: why?.text ?? NOT_TRIED }),
      }));
  }

  /**
   * What an open for `target` leads to, that came on a subject of this `scope`
   * from a client whose key is known, if it is.
   *
   * A service counts on its own subject, in order or not: what was asked before
   * the server left its group is answered, too, and what it does not offer any
   * more another server may. There nothing else counts, nor is anything else
   * told, as who may publish there may have that service and no more.
   */
  aim(
    target: Target,
    scope: RequestScope,
    known: KnownClient | undefined,
  ): Aim {
    const asked = "service" in target ? target.service : undefined;
    if (scope.service !== undefined && scope.service !== asked) {
      const text = `an open for ${
        formatTarget(target)
      } came on the subject of the service "${scope.service}"`;
      return { refusal: { code: "protocol", text } };
    }
    if (!("service" in target)) return { target };
    const { service: name } = target;
    const service = this.find(name);
    const refusal = service && known && serviceObjection(known, name);
    if (refusal !== undefined) return { refusal };
    if (scope.service === name) {
      if (service !== undefined) return { target: service.target, service };
      const text = `the service "${name}" is not offered here any more`;
      return { refusal: { code: "draining", text } };
    }
    return { refusal: this.#whyNotHere(name, known?.services) };
  }

  /** Tries nothing any more, and hears no more; resolves when no more opens can come. */
  async drain(): Promise<void> {
    this.#ended = true;
    await Promise.all(
      [...this.#offers.values()].map((offer) => offer.drain()),
    );
  }

  /** Ends all of it at once. */
  [Symbol.dispose](): void {
    this.#ended = true;
    for (const offer of this.#offers.values()) offer[Symbol.dispose]();
  }

  /** Why a service is not to be had on a subject for any target. */
  #whyNotHere(name: string, allowed: readonly string[] | undefined): Reason {
    const code = "no-such-service";
    const offer = this.#offers.get(name);
    if (offer === undefined) {
      return { code, text: this.#unknown(name, allowed) };
    }
    const { subject, up, why } = offer;
    if (!up) {
      const reason = why?.text ?? NOT_TRIED;
      return { code, text: `the service "${name}" is out of order: ${reason}` };
    }
    if (this.#options.bus.refusedSubjects.includes(subject)) {
      const text =
        `the service "${name}" cannot be offered: NATS refuses the server's subscription to ${subject}`;
      return { code, text };
    }
    // It is offered: whoever may ask there, and was not answered in time, asks again.
    const text =
      `the service "${name}" is to be asked for on ${subject}, its own subject`;
    return { code: "denied", text };
  }

  #unknown(name: string, allowed: readonly string[] | undefined): string {
    const names = [...this.#offers.values()]
      .filter(({ up }) => up)
      .map(({ service: { name } }) => name)
      .filter((name) => allowed === undefined || allowed.includes(name))
      .toSorted();
    if (names.length === 0) {
      return `no service "${name}" is offered; there are none`;
    }
    return `no service "${name}" is offered; there are: ${
      joined(names, MAX_NAMES)
    }`;
  }
}

function isSame(one: Service, other: Service): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
