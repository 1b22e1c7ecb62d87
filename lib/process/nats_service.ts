/**
 * The process as a service of NATS (ADR-32): each instance, in no queue group,
 * answers who asks what there is.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { BusMessage } from "../nats/bus.ts";
import {
  infoAnswer,
  pingAnswer,
  SERVICE_SUBJECTS,
  type ServiceEndpoint,
  type ServiceFacts,
  serviceSubjects,
  type ServiceVerb,
  statsAnswer,
} from "../wire/micro.ts";
import { Answers, type AnswersOptions, fitting } from "./answers.ts";

/** What being a service takes. */
export interface NatsServiceOptions extends AnswersOptions {
  /** What stays as it is. */
  readonly facts: ServiceFacts;
  /** Where requests are taken, and what was counted there. */
  readonly endpoints: () => readonly ServiceEndpoint[];
}

/** A service, from now on until it is disposed of. */
export class NatsService implements Disposable {
  readonly #options: NatsServiceOptions;
  readonly #answers: Answers;
  readonly #subscriptions = new DisposableStack();
  #saidRefused = false;

  /** Listens where services are asked, as far as the broker lets it. */
  constructor(options: NatsServiceOptions) {
    this.#options = options;
    this.#answers = new Answers(options);
    for (const [subject, verb] of serviceSubjects(options.facts.id)) {
      this.#subscriptions.use(
        options.bus.subscribe(
          subject,
          (message) => this.#onRequest(verb, message),
          { onRefused: (why) => this.#onRefused(subject, why) },
        ),
      );
    }
  }

  /** Answers no more. */
  [Symbol.dispose](): void {
    this.#subscriptions.dispose();
  }

  #onRequest(verb: ServiceVerb, message: BusMessage): void {
    if (!this.#answers.takes(message)) return;
    void this.#answers.send(message.reply, this.#answerTo(verb));
  }

  #answerTo(verb: ServiceVerb): object {
    const { facts, endpoints } = this.#options;
    switch (verb) {
      case "PING":
        return pingAnswer(facts);
      case "INFO":
        return fitting(
          this.#answers,
          endpoints(),
          (some) => infoAnswer(facts, some),
        );
      case "STATS":
        return fitting(
          this.#answers,
          endpoints(),
          (some) => statsAnswer(facts, some),
        );
    }
  }

  /** Tunnels need none of it: one line, whatever is refused, and how often. */
  #onRefused(subject: string, why: string): void {
    if (this.#saidRefused) return;
    this.#saidRefused = true;
    getLogger(["sproxy", "service"]).info(
      `NATS refuses to have this process seen as a service ('nats service ls'), which tunnels do not need: that takes the permission to subscribe to ${SERVICE_SUBJECTS}; --nats-service=false asks for nothing`,
      { subject, why },
    );
  }
}
