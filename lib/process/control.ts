/**
 * What an operator may have an instance do over NATS, each on a subject of its
 * own: tell how it does and what is open, end a tunnel, drain.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { EndpointCounter } from "../base/endpoint_counter.ts";
import type { Reason } from "../base/errors.ts";
import type { BusMessage } from "../nats/bus.ts";
import type { Session } from "../session/session.ts";
import type { TunnelView } from "../session/view.ts";
import {
  askerOn,
  CONTROL_VERBS,
  type ControlError,
  type ControlRequest,
  controlType,
  type ControlVerb,
  errorHeaders,
  readControlRequest,
} from "../wire/control.ts";
import type { ServiceEndpoint } from "../wire/micro.ts";
import type { Subjects } from "../wire/subjects.ts";
import { Answers, type AnswersOptions, fitting } from "./answers.ts";
import { sealedView } from "./report.ts";

/** Most tunnels in one answer: of some 400 bytes each, which is half of what brokers take. */
const MAX_TUNNELS = 1_000;

/** Why both ends of a tunnel say that it ended. */
const KILLED: Reason = { code: "denied", text: "ended by an operator" };

const log = getLogger(["sproxy", "control"]);

/** What being controlled takes. */
export interface ControlOptions extends AnswersOptions {
  /** ID of this instance. */
  readonly id: string;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** Whether tunnels are sealed: then the answers, which are not, say less. */
  readonly sealed: boolean;
  /** The tunnels. */
  readonly session: () => Session;
  /** What the whole process says of itself. */
  readonly status: () => object;
  /** Does what SIGTERM does; of several workers all end. */
  readonly drain: () => void;
}

type Answer = object | { readonly error: ControlError };

/** The verbs of one instance, until it is disposed of. */
export class Control implements Disposable {
  readonly #options: ControlOptions;
  readonly #answers: Answers;
  readonly #subscriptions = new DisposableStack();
  #saidRefused = false;
  readonly #counters: ReadonlyMap<ControlVerb, EndpointCounter> = new Map(
    CONTROL_VERBS.map((verb) => [verb, new EndpointCounter()]),
  );

  /** Listens for each. */
  constructor(options: ControlOptions) {
    this.#options = options;
    this.#answers = new Answers(options);
    const { bus, id, subjects } = options;
    for (const verb of CONTROL_VERBS) {
      const subject = subjects.control(id, verb);
      this.#subscriptions.use(
        bus.subscribe(
          subject,
          (message) => this.#onRequest(verb, message),
          { onRefused: (why) => this.#onRefused(why) },
        ),
      );
    }
  }

  /** Where it is asked, and what was counted there. */
  get endpoints(): readonly ServiceEndpoint[] {
    const { id, subjects } = this.#options;
    return [...this.#counters].map(([name, counter]) => ({
      ...{ name, counter },
      subject: subjects.control(id, name),
      queueGroup: "",
    }));
  }

  /** Takes no more requests. */
  [Symbol.dispose](): void {
    this.#subscriptions.dispose();
  }

  #onRequest(verb: ControlVerb, message: BusMessage): void {
    if (!this.#answers.takes(message)) return;
    const { clock, id } = this.#options;
    const since = clock.now();
    const request = readControlRequest(verb, message.data);
    const answer: Answer = "error" in request
      ? request
      : this.#answerTo(verb, request, message);
    const error = "error" in answer && isError(answer.error)
      ? answer.error
      : undefined;
    this.#counters.get(verb)?.note(clock.now() - since, error?.text);
    void this.#answers.send(
      message.reply,
      { type: controlType(verb), id, ...answer },
      error && errorHeaders(error),
    );
    // After the answer: what follows may end the connection.
    if (verb === "drain" && error === undefined) this.#options.drain();
  }

  #answerTo(
    verb: ControlVerb,
    { tunnel = "", limit }: Exclude<ControlRequest, { error: ControlError }>,
    message: BusMessage,
  ): Answer {
    const session = this.#options.session();
    switch (verb) {
      case "status":
        return this.#options.status();
      case "tunnels": {
        const most = Math.min(limit ?? MAX_TUNNELS, MAX_TUNNELS);
        const total = session.size;
        return fitting(
          this.#answers,
          session.views(most),
          (some) => ({ total, tunnels: some.map((view) => this.#shown(view)) }),
        );
      }
      case "kill": {
        const view = session.view(tunnel);
        if (view === undefined) {
          const text = "no tunnel of this ID is open here";
          return { error: { code: 404, text } };
        }
        const { id, target, client } = view;
        log.warn("an operator ends a tunnel", {
          ...{ target, client },
          ...asked(message),
          id,
        });
        session.abort(tunnel, KILLED);
        return { killed: this.#shown(view) };
      }
      case "drain":
        log.warn("an operator has the process drain", {
          tunnels: session.size,
          ...asked(message),
        });
        return { tunnels: session.size };
    }
  }

  #shown(view: TunnelView): object {
    return this.#options.sealed ? sealedView(view) : view;
  }

  #onRefused(why: string): void {
    if (this.#saidRefused) return;
    this.#saidRefused = true;
    const { id, subjects } = this.#options;
    log.warn(
      "NATS refuses to have this process controlled (--control): that takes the permission to subscribe to these subjects",
      { subject: subjects.control(id, "*"), why },
    );
  }
}

function isError(value: unknown): value is ControlError {
  return typeof value === "object" && value !== null && "code" in value;
}

/** Who asks: what they say, and the inbox that they listen at. */
function asked(message: BusMessage): Readonly<Record<string, unknown>> {
  return {
    by: askerOn((name) => message.header(name)),
    reply: message.reply,
  };
}
