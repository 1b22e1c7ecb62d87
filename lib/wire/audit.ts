/**
 * What is told of tunnels for the record, where that is switched on: an event
 * for each that opens, ends or is refused.
 *
 * @module
 */
import type { Decider, ErrorCode } from "../base/errors.ts";
import type { Role } from "./subjects.ts";

/** What there is to tell. */
export type AuditKind = "open" | "end" | "refused";

/** What an event tells. Undefined is left out. */
export interface AuditFacts {
  /** Which it is. */
  readonly kind: AuditKind;
  /** Connection ID of the tunnel; undefined where there is none. */
  readonly tunnel?: string | undefined;
  /** Name of the client, where its key says who it is. */
  readonly client?: string | undefined;
  /** That public key. */
  readonly key?: string | undefined;
  /** The client's ID in subjects. */
  readonly clientId?: string | undefined;
  /** Whether the broker, or its key, vouches for the client. */
  readonly vouched?: boolean | undefined;
  /** Address of the application. */
  readonly source?: string | undefined;
  /** What was asked for. */
  readonly target?: string | undefined;
  /** What was connected to for that, at a server. */
  readonly address?: string | undefined;
  /** The service that it is. */
  readonly service?: string | undefined;
  /** The way in at a client, where it has a name. */
  readonly forward?: string | undefined;
  /** How long it was open, in ms. */
  readonly ms?: number | undefined;
  /** Bytes taken from the local socket. */
  readonly sent?: number | undefined;
  /** Bytes that came from the other end. */
  readonly received?: number | undefined;
  /** Why it ended or was refused; `ok` for a clean end. */
  readonly reason?: ErrorCode | undefined;
  /** The same for people. */
  readonly why?: string | undefined;
  /** Who decided it. */
  readonly by?: Decider | undefined;
}

/** Who tells an event, and when. */
export interface AuditTeller {
  /** A token of this event's own, by which one that comes twice is known. */
  readonly id: string;
  /** The time as RFC 3339 writes it. */
  readonly timestamp: string;
  /** Which side of the tunnel it is. */
  readonly role: Role;
  /** Its ID as a service of NATS. */
  readonly instance: string;
  /** Its machine, where that is known. */
  readonly host?: string | undefined;
  /** The place that a server answers for. */
  readonly site?: string | undefined;
}

/** Where events of this kind go. */
export function auditSubject(subject: string, kind: AuditKind): string {
  return `${subject}.${kind}`;
}

/** An event as JSON has it (ADR-2: type, id and timestamp). */
export function auditEvent(facts: AuditFacts, teller: AuditTeller): object {
  const { kind, clientId, ...rest } = facts;
  return {
    type: `io.tcp-sproxy.audit.v1.${kind}`,
    ...teller,
    ...(clientId !== undefined && { client_id: clientId }),
    ...rest,
  };
}
