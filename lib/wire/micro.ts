/**
 * What a process says of itself as a service of NATS (ADR-32): the subjects
 * where it is asked, and its answers, which the `nats` command reads.
 *
 * @module
 */
import { listOf, parse, recordOf } from "../base/foreign_json.ts";

/** What the service is called, in subjects and answers. */
export const SERVICE_NAME = "tcp-sproxy";

/** One sentence for people who list services. */
export const SERVICE_DESCRIPTION = "TCP connections through NATS";

/** What is asked of services. */
const VERBS = ["PING", "INFO", "STATS"] as const;

/** One of these. */
export type ServiceVerb = (typeof VERBS)[number];

/** What subjects of services begin with. */
const PREFIX = "$SRV";

/** The permission that all of it takes. */
export const SERVICE_SUBJECTS = `${PREFIX}.>`;

/** Where all services are asked, those of our name, or one instance of them. */
export function serviceSubject(verb: ServiceVerb, ...of: string[]): string {
  return [PREFIX, verb, ...of].join(".");
}

/** Every subject where the instance of this ID is asked, and what for. */
export function serviceSubjects(
  id: string,
): readonly (readonly [subject: string, verb: ServiceVerb])[] {
  return VERBS.flatMap((verb) =>
    [[], [SERVICE_NAME], [SERVICE_NAME, id]].map((of) =>
      [serviceSubject(verb, ...of), verb] as const
    )
  );
}

/** What stays as it is for the life of an instance. */
export interface ServiceFacts {
  /** A token of its own, which everybody may know. */
  readonly id: string;
  /** Version of the program, as semver has it. */
  readonly version: string;
  /** What else there is to know; undefined is left out. */
  readonly metadata: Readonly<Record<string, string | undefined>>;
  /** When it started, as RFC 3339 writes it. */
  readonly started: string;
}

/** Where an instance takes requests. */
export interface ServiceEndpoint {
  /** Its name: letters, digits, `-` and `_`. */
  readonly name: string;
  /** What is subscribed to. */
  readonly subject: string;
  /** The queue group there; empty for none. */
  readonly queueGroup: string;
  /** What was counted there. */
  readonly counter: {
    readonly requests: number;
    readonly errors: number;
    readonly lastError: string;
    readonly time: number;
    readonly averageTime: number;
  };
  /** What else there is to count; undefined for nothing. */
  readonly data?: object | undefined;
}

/** The answer to PING. */
export function pingAnswer(facts: ServiceFacts): object {
  return { type: typeOf("ping"), ...namesOf(facts) };
}

/** The answer to INFO. */
export function infoAnswer(
  facts: ServiceFacts,
  endpoints: readonly ServiceEndpoint[],
): object {
  return {
    type: typeOf("info"),
    ...namesOf(facts),
    description: SERVICE_DESCRIPTION,
    endpoints: endpoints.map((endpoint) => ({
      ...placeOf(endpoint),
      metadata: {},
    })),
  };
}

/** The answer to STATS. */
export function statsAnswer(
  facts: ServiceFacts,
  endpoints: readonly ServiceEndpoint[],
): object {
  return {
    type: typeOf("stats"),
    ...namesOf(facts),
    started: facts.started,
    endpoints: endpoints.map((endpoint) => {
      const { counter, data } = endpoint;
      return {
        ...placeOf(endpoint),
        num_requests: counter.requests,
        num_errors: counter.errors,
        last_error: counter.lastError,
        processing_time: counter.time,
        average_processing_time: counter.averageTime,
        ...(data !== undefined && { data }),
      };
    }),
  };
}

function typeOf(answer: string): string {
  return `io.nats.micro.v1.${answer}_response`;
}

function namesOf({ id, version, metadata }: ServiceFacts): object {
  return {
    name: SERVICE_NAME,
    id,
    version,
    metadata: Object.fromEntries(
      Object.entries(metadata).filter(([, text]) => text !== undefined),
    ),
  };
}

function placeOf({ name, subject, queueGroup }: ServiceEndpoint): object {
  return { name, subject, queue_group: queueGroup };
}

/** An instance that was found, as its INFO says. */
export interface FoundInstance {
  /** Its ID. */
  readonly id: string;
  /** Version of its program. */
  readonly version: string;
  /** What else it says of itself. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The subjects of its endpoints. */
  readonly subjects: readonly string[];
}

/** Reads an answer to INFO; undefined where it is none of this service. */
export function readInfo(text: string): FoundInstance | undefined {
  const info = recordOf(parse(text));
  if (info?.type !== typeOf("info") || info.name !== SERVICE_NAME) {
    return undefined;
  }
  const { id, version, endpoints } = info;
  // It becomes a part of subjects.
  if (typeof id !== "string" || !/^[\w-]{1,64}$/.test(id)) return undefined;
  const metadata = Object.entries(recordOf(info.metadata) ?? {}).flatMap(
    ([key, text]) => typeof text === "string" ? [[key, text] as const] : [],
  );
  return {
    id,
    version: typeof version === "string" ? version : "",
    metadata: Object.fromEntries(metadata),
    subjects: listOf(endpoints).flatMap((endpoint) => {
      const subject = recordOf(endpoint)?.subject;
      return typeof subject === "string" ? [subject] : [];
    }),
  };
}
