/**
 * What a server counts of the opens on each subject where it hears them.
 *
 * @module
 */
import type { ErrorCode } from "../base/errors.ts";
import { EndpointCounter } from "../base/endpoint_counter.ts";
import { MAX_SERVICES } from "../base/service.ts";
import type { Subjects } from "../wire/subjects.ts";
import type { Hearing } from "./hearing.ts";
import type { ServiceState } from "./offers.ts";

/** Most subjects that are counted: all services and the general ones, also of a configuration before. */
const MAX_COUNTERS = 2 * MAX_SERVICES + 2;

/** A place where opens are heard. */
export interface HeardEndpoint {
  /** What tells it from the others: letters, digits, `-` and `_`. */
  readonly name: string;
  /** What is subscribed to. */
  readonly subject: string;
  /** What was counted there; a refusal is an error. */
  readonly counter: EndpointCounter;
  /** The service whose opens come there. */
  readonly service?: ServiceState & {
    /** Tunnels to it that were opened. */
    readonly opened: number;
  };
}

/** The counts of all of them. */
export class HeardCounts {
  readonly #subjects: Subjects;
  /** By the subject that is subscribed to. */
  readonly #counters = new Map<string, EndpointCounter>();

  /** Nothing was heard yet. */
  constructor(subjects: Subjects) {
    this.#subjects = subjects;
  }

  /** Counts an open that came on `subject` and was answered after `ms`, with a refusal if there is a code. */
  answered(subject: string, ms: number, code?: ErrorCode): void {
    const scope = this.#subjects.requestOn(subject);
    if (scope === undefined) return;
    const heard = scope.client === undefined
      ? this.#subjects.request
      : this.#subjects.requestPattern(scope);
    this.#counterOf(heard).note(ms, code);
  }

  /** The places where they are heard; `opened` says of a service how many tunnels were opened to it. */
  endpoints(
    { general, offers }: Pick<Hearing, "general" | "offers">,
    opened: (service: string) => number,
  ): readonly HeardEndpoint[] {
    return [
      ...general.map((subject) => ({
        // There clients only claim who they are.
        name: subject === this.#subjects.request ? "open-any" : "open",
        subject,
        counter: this.#counterOf(subject),
      })),
      ...offers.states.map(({ name, up }, at) => {
        const subject = offers.subjects[at] ?? "";
        return {
          name: `svc-${name}`,
          subject,
          counter: this.#counterOf(subject),
          service: { name, up, opened: opened(name) },
        };
      }),
    ];
  }

  #counterOf(subject: string): EndpointCounter {
    const known = this.#counters.get(subject);
    if (known !== undefined) return known;
    const counter = new EndpointCounter();
    const [oldest] = this.#counters.keys();
    if (this.#counters.size >= MAX_COUNTERS && oldest !== undefined) {
      this.#counters.delete(oldest);
    }
    this.#counters.set(subject, counter);
    return counter;
  }
}
