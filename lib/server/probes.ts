/**
 * Probes as a server answers them: who asks is looked at as with an open, and
 * each is answered with one message that says how the server does.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import type { Bus, BusMessage, BusSubscription } from "../nats/bus.ts";
import { JsonMessage } from "../wire/json.ts";
import type { OpenMessage } from "../wire/open.ts";
import {
  decodeProbe,
  type Probe,
  PROBE_HEADER,
  type ServerFacts,
} from "../wire/probe.ts";
import type { Subjects } from "../wire/subjects.ts";
import type { KnownClient } from "./clients.ts";
import { Rates } from "./rates.ts";
import type { Reception } from "./reception.ts";

/**
 * Most probes a second of one sender that are answered: a thousand clients that
 * are watched and only claim who they are ask so often, every ten seconds each.
 */
const MAX_PROBE_RATE = 100;

/** What answering probes takes. */
export interface ProbesOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** The server's public ID. */
  readonly publicId: string;
  /** Who understands sealed ones. */
  readonly reception: Reception;
  /** What is told of the server to this client, where its key says who it is. */
  readonly facts: (known: KnownClient | undefined) => ServerFacts;
}

/** Whether `message` asks for nothing but how this server does. */
export function isProbe(message: BusMessage): boolean {
  return message.header(PROBE_HEADER) !== undefined;
}

/** The probes of all senders. */
export class Probes implements Disposable {
  readonly #options: ProbesOptions;
  readonly #rates = new Rates();
  readonly #log = getLogger(["sproxy", "probe"]);
  readonly #subscription: BusSubscription;

  /** From now on the server is found by those who ask all; others hand in what they are asked. */
  constructor(options: ProbesOptions) {
    const { bus, subjects } = options;
    this.#options = options;
    // In no queue group: all are to answer, also one that is about to stop.
    this.#subscription = bus.subscribe(
      subjects.probePattern,
      (message) => this.receive(message),
      { onRefused: (why) => this.#noteRefused(why) },
    );
  }

  /** Answers a probe, on whatever subject it came. */
  receive(message: BusMessage): void {
    const { subject } = message;
    const probe = isProbe(message)
      ? decodeProbe((name) => message.header(name), message.data)
      : undefined;
    if (probe === undefined) this.#drop(subject, "it cannot be answered");
    else {
      const why = this.#objection(probe, message);
      if (why !== undefined) this.#drop(subject, why);
      else this.#answer(probe, subject);
    }
  }

  /** Who cannot be found by those who list servers works all the same. */
  #noteRefused(why: string): void {
    this.#log.info(
      "ls does not find this server: NATS refuses a subscription",
      {
        subject: this.#options.subjects.probePattern,
        why,
        hint: "'permissions' of this program prints what it needs",
      },
    );
  }

  /** Is not found any more. */
  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }

  /** Why nobody is answered; undefined where it is known that the asker listens. */
  #objection(
    { client }: Probe,
    { subject, reply }: BusMessage,
  ): string | undefined {
    const { subjects, clock } = this.#options;
    const owner = subjects.proberOn(subject) ??
      subjects.requestOn(subject)?.client;
    if (owner !== undefined && owner !== client) {
      return `it says to come from the client ${client}`;
    }
    const verdict = this.#rates.ask(owner ?? "", MAX_PROBE_RATE, clock.now());
    return verdict === "take"
      ? subjects.prefixProblem(client, reply)
      : "its sender asks too often";
  }

  #answer(probe: Probe, subject: string): void {
    const { publicId: id, reception, subjects, facts } = this.#options;
    const understood = reception.understandProbe(probe, { subject, id });
    const to = subjects.probeAnswerTo(probe.client, probe.number);
    switch (understood.type) {
      case "told": {
        const { known, answer } = understood;
        const sealed = reception.clients !== undefined;
        const message = answer({ id, sealed, facts: facts(known) });
        if (message !== undefined) this.#send(to, message);
        break;
      }
      case "answer":
        this.#send(to, understood.answer);
        break;
      case "nothing":
        this.#drop(subject, understood.why);
    }
  }

  #send(subject: string, { headers, body }: OpenMessage): void {
    this.#options.bus.publish(subject, new JsonMessage(body), {
      headers,
      lane: "control",
    });
  }

  #drop(subject: string, why: string): void {
    this.#log.debug("probe dropped", { subject, why });
  }
}
