/**
 * The record of tunnels on a subject of NATS: an event for each that opens,
 * ends or is refused. It waits for nothing: what cannot go now is counted.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import { Throttle } from "../base/throttle.ts";
import { TokenBucket } from "../base/token_bucket.ts";
import type { Bus, LinkEvent } from "../nats/bus.ts";
import type { RefusedOpen, TunnelObserver } from "../session/observer.ts";
import type { Tunnel } from "../session/tunnel.ts";
import type { Outcome } from "../tunnel/types.ts";
import {
  auditEvent,
  type AuditFacts,
  auditSubject,
  type AuditTeller,
} from "../wire/audit.ts";
import { JsonMessage } from "../wire/json.ts";
import { makeToken, parseId } from "../wire/subjects.ts";

/** Most events a second of tunnels that open and end: more than a process opens. */
const MAX_TUNNEL_EVENTS = 10_000;

/** Most of opens that are refused: a flood of those is no reason to lose the others. */
const MAX_REFUSED_EVENTS = 200;

/** Shortest time between two lines about events that were lost, in ms. */
const DROPPED_LINE_MS = 10_000;

const log = getLogger(["sproxy", "audit"]);
const encoder = new TextEncoder();

/** What a record takes. */
export interface AuditOptions extends Omit<AuditTeller, "id" | "timestamp"> {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** What its subjects begin with. */
  readonly subject: string;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
}

/** The record of one process. */
export class Audit implements TunnelObserver {
  readonly #options: AuditOptions;
  readonly #tunnels: TokenBucket;
  readonly #refused: TokenBucket;
  readonly #lines = new Throttle(DROPPED_LINE_MS);
  #lost = 0;

  /** Nothing happened yet. */
  constructor(options: AuditOptions) {
    this.#options = options;
    const now = options.clock.now();
    this.#tunnels = new TokenBucket({ rate: MAX_TUNNEL_EVENTS, now });
    this.#refused = new TokenBucket({ rate: MAX_REFUSED_EVENTS, now });
    options.bus.onLink((event) => this.#onLink(event));
  }

  /** See {@linkcode TunnelObserver}. */
  get lost(): number {
    return this.#lost;
  }

  /** See {@linkcode TunnelObserver}. */
  opened(tunnel: Tunnel): void {
    this.#tell({ kind: "open", ...this.#factsOf(tunnel) }, this.#tunnels);
  }

  /** See {@linkcode TunnelObserver}. */
  ended(tunnel: Tunnel, outcome: Outcome, now: number): void {
    const { info: { openedAt }, stats } = tunnel;
    const reason = outcome.clean ? undefined : outcome.reason;
    this.#tell({
      kind: "end",
      ...this.#factsOf(tunnel),
      ms: Math.round(now - openedAt),
      sent: stats.bytesSent,
      received: stats.bytesReceived,
      reason: reason?.code ?? "ok",
      why: reason?.text,
      by: outcome.clean ? undefined : outcome.by,
    }, this.#tunnels);
  }

  /** See {@linkcode TunnelObserver}. */
  refused({ reason, ...about }: RefusedOpen): void {
    const { code, text: why } = reason;
    const facts = { ...about, reason: code, why };
    this.#tell({ kind: "refused", ...facts }, this.#refused);
  }

  #factsOf({ info }: Tunnel): Omit<AuditFacts, "kind"> {
    const { id: tunnel, remote, target, service, forward } = info;
    const { client, key, source, payer } = info;
    const clientId = parseId(tunnel)?.client;
    return {
      ...{ tunnel, client, key, clientId, target, service, forward },
      ...(this.#options.role === "server"
        ? {
          source,
          address: remote,
          vouched: client !== undefined || payer === clientId,
        }
        : { source: remote }),
    };
  }

  #tell(facts: AuditFacts, rate: TokenBucket): void {
    const { bus, clock, subject, random, ...who } = this.#options;
    if (!bus.connected) this.#drop("NATS is not connected");
    else if (bus.congested) {
      this.#drop("the link to NATS is full");
    } else if (!rate.take(clock.now())) {
      this.#drop("there are too many at once");
    } else {
      const { role, instance, host, site } = who;
      const event = auditEvent(facts, {
        id: makeToken(random),
        timestamp: new Date(clock.wallTime()).toISOString(),
        ...{ role, instance, host, site },
      });
      const body = encoder.encode(JSON.stringify(event));
      if (body.length > bus.maxPayload) this.#drop("it is too large for NATS");
      else {
        bus.publish(auditSubject(subject, facts.kind), new JsonMessage(body));
      }
    }
  }

  /** The broker refuses an event: its own line says so. */
  #onLink(event: LinkEvent): void {
    if (event.type !== "denied") return;
    if (event.subject.startsWith(`${this.#options.subject}.`)) this.#lost++;
  }

  #drop(why: string): void {
    this.#lost++;
    const count = this.#lines.note(this.#options.clock.now());
    if (count === undefined) return;
    const { subject } = this.#options;
    log.warn("audit events are lost", { subject, count, why });
  }
}
