/**
 * Probes as a client makes them: asked on a subject, sealed where opens are, and
 * each answer told with the time that it took.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { Reason } from "../base/errors.ts";
import type { Bus, BusMessage } from "../nats/bus.ts";
import { JsonMessage } from "../wire/json.ts";
import {
  decodeProbeAnswer,
  encodeProbe,
  PROBE_STREAM,
  type ProbeAnswer,
  type ServerReport,
} from "../wire/probe.ts";
import {
  type ConnectionId,
  firstNumber,
  firstToolNumber,
  OPEN_TOKEN,
  PROBE_TOKEN,
  type Subjects,
} from "../wire/subjects.ts";
import type { SealedOpen, Sealer } from "./sealer.ts";

/** Most numbers that one probe is asked under: by our clock and by a server's, for each of its keys. */
const MAX_ASKED = 4;

/** Asks each broker on the way of a message to tell of it on a subject (ADR-41). */
const TRACE_HEADER = "Nats-Trace-Dest";

/** What an answer was that is not to be believed. */
const NOT_READ =
  "an answer came that was not sealed with the right keys (--server-key, --psk)";

/** What was heard. */
type What =
  | { readonly type: "report"; readonly report: ServerReport }
  /** A server refuses it; where probes are sealed, one that has the right key. */
  | { readonly type: "refused"; readonly reason: Reason }
  /** A server of version 2 that knows no probes, or of version 1. */
  | { readonly type: "old" | "v1" }
  /** What is not to be believed, or no server says; `what` it was, as a clause. */
  | { readonly type: "foreign"; readonly what: string }
  /** The broker says that nobody listens, or does not take it. */
  | { readonly type: "nobody" | "denied" };

/** The same, and how many ms it took. */
export type Heard = What & { readonly ms: number };

/** Takes what is heard. */
export type OnHeard = (heard: Heard) => void;

/** A probe that is listened for until it is disposed of. */
export interface Asking extends Disposable {
  /** Nobody who has the key seems to have heard it: the next is sealed for the next of the servers' keys. */
  tryNextKey(): void;
}

/** Options of a prober. */
export interface ProberOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** Token of the client: where it is answered. */
  readonly token: string;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
  /** What probes are sealed with; undefined where they are not. */
  readonly sealer?: Sealer | undefined;
  /** Whether it is of a tool, beside which nothing of its process asks: of opens a refusal is an event that they need. */
  readonly alone?: boolean;
}

/**
 * Why nobody answers for a service, as what was heard on the subject for other
 * targets tells; undefined where that was no answer either.
 */
export function serviceProblem(
  service: string,
  heard: Heard,
): string | undefined {
  const unknown = `no server offers the service "${service}"`;
  switch (heard.type) {
    case "report": {
      const { id, facts } = heard.report;
      const found = facts?.services.find(({ name }) => name === service);
      if (found === undefined) return unknown;
      const at = facts?.host ?? id;
      return found.up
        ? `the service "${service}" is offered at ${at}, but not heard on its own subject`
        : `the service "${service}" is out of order at ${at}: ${found.why}`;
    }
    case "refused":
      return heard.reason.text;
    case "old":
    case "v1":
      return unknown;
    default:
      return undefined;
  }
}

/** One probe, however often it is asked. */
interface Probe {
  readonly subject: string;
  readonly onHeard: OnHeard;
  /** Takes what a broker tells of its way. */
  readonly onTrace?: ((event: Uint8Array) => void) | undefined;
  readonly numbers: number[];
}

/** A probe that was asked under a number. */
interface Asked {
  readonly probe: Probe;
  readonly sentAt: number;
  readonly sealed: SealedOpen | undefined;
}

/** The probes of a process. */
export class Prober implements Disposable {
  readonly #options: ProberOptions;
  readonly #asked = new Map<number, Asked>();
  /** Where brokers tell of the way of probes: a number that nothing else is answered at. */
  readonly #traceNumber: number;
  #traced: Probe | undefined;
  readonly #stop = new AbortController();
  readonly #first: number;
  #next: number;

  /** Nothing is asked yet; whoever has the subscription hands in what comes. */
  constructor(options: ProberOptions) {
    this.#options = options;
    const { alone, random } = options;
    this.#first = this.#traceNumber = alone === true
      ? firstToolNumber(random)
      : firstNumber(random);
    this.#next = this.#first + 1;
    options.bus.onLink((event) => {
      if (event.type === "denied") this.#onDenied(event.subject);
    }, this.#stop.signal);
  }

  /**
   * Asks on `subject`, and tells all that is heard until the result is disposed
   * of. Nothing is sent while there is no link. With `onTrace` the brokers on the
   * way are asked to tell of it.
   */
  ask(
    subject: string,
    onHeard: OnHeard,
    { onTrace }: Pick<Probe, "onTrace"> = {},
  ): Asking {
    const probe: Probe = { subject, onHeard, onTrace, numbers: [] };
    this.#traced = probe;
    this.#send(probe);
    return {
      tryNextKey: () => this.#tryNextKey(probe),
      [Symbol.dispose]: () => this.#end(probe),
    };
  }

  /** Where brokers tell of the way of probes, which they do for those only who may publish there. */
  get traceTo(): string {
    const { subjects, token } = this.#options;
    return subjects.probeAnswerTo(token, this.#traceNumber);
  }

  /** The same as often as servers may have different keys: what all are asked is sealed for each of them. */
  askAll(subject: string, onHeard: OnHeard): Disposable {
    const probe = { subject, onHeard, numbers: [] };
    const keys = this.#options.sealer?.keys ?? 1;
    for (let key = 0; key < keys; key++) {
      this.#send(probe);
      this.#tryNextKey(probe);
    }
    return { [Symbol.dispose]: () => this.#end(probe) };
  }

  /** A message came for this ID; whether it was one to a probe. */
  receive({ server, number }: ConnectionId, message: BusMessage): boolean {
    const mine = number >= this.#first && number < this.#next;
    const probing = server === PROBE_TOKEN || server === OPEN_TOKEN && mine;
    if (number === this.#traceNumber && server === PROBE_TOKEN) {
      this.#traced?.onTrace?.(message.data.slice());
    }
    const asked = probing ? this.#asked.get(number) : undefined;
    if (asked !== undefined) this.#hear(asked, message);
    return probing;
  }

  /** Asks and tells nothing more. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#asked.clear();
  }

  #end(probe: Probe): void {
    for (const number of probe.numbers) this.#asked.delete(number);
    if (this.#traced === probe) this.#traced = undefined;
  }

  #send(probe: Probe): void {
    const { bus, clock, subjects, token, sealer, alone } = this.#options;
    const { subject, numbers } = probe;
    const number = this.#next++;
    const sealed = sealer?.sealProbe({
      ...PROBE_STREAM,
      requestSubject: subject,
      dataPrefix: subjects.prefix,
      client: token,
      number,
    });
    numbers.push(number);
    this.#asked.set(number, { probe, sealed, sentAt: clock.now() });
    if (sealer !== undefined && sealed === undefined) {
      const what =
        "nothing can be sealed for the key of the server (--server-key)";
      probe.onHeard({ type: "foreign", what, ms: 0 });
      return;
    }
    const { headers, body } = encodeProbe({
      client: token,
      number,
      sealed: sealed?.sealed,
    });
    const message = new JsonMessage(body);
    const reply = subjects.probeAnswerTo(token, number);
    const options = {
      headers: probe.onTrace === undefined
        ? headers
        : [...headers, [TRACE_HEADER, this.traceTo] as const],
      reply,
      lane: "control",
    } as const;
    if (alone !== true) bus.publish(subject, message, options);
    else {void this.#sendAlone(number, () =>
        bus.mayPublish(subject, message, options));}
  }

  /** Where nothing else asks on the subject its refusal is an answer, and no line of the log. */
  async #sendAlone(
    number: number,
    send: () => Promise<boolean>,
  ): Promise<void> {
    try {
      if (await send()) return;
    } catch {
      return; // The link is lost: no answer comes, and others tell why.
    }
    const asked = this.#asked.get(number);
    if (asked !== undefined) this.#tell(asked, { type: "denied" });
  }

  #onDenied(subject: string): void {
    for (const asked of [...this.#asked.values()]) {
      if (asked.probe.subject === subject) {
        this.#tell(asked, { type: "denied" });
      }
    }
  }

  #hear(asked: Asked, message: BusMessage): void {
    if (message.status !== 0) {
      this.#tell(asked, { type: "nobody" });
      return;
    }
    const { sealer } = this.#options;
    const answer = decodeProbeAnswer(
      (name) => message.header(name),
      message.data,
    );
    if (answer.type === "foreign") this.#tell(asked, answer);
    else if (sealer !== undefined) this.#hearSealed(asked, answer, sealer);
    else if (answer.type === "sealed") {
      this.#tell(asked, { type: "foreign", what: NOT_READ });
    } else this.#tell(asked, answer);
  }

  /** Only what the holder of the key has sealed is believed. */
  #hearSealed(asked: Asked, answer: ProbeAnswer, sealer: Sealer): void {
    const read = answer.type === "sealed"
      ? asked.sealed?.read(answer.sealed)?.answer
      : undefined;
    switch (read?.type) {
      case undefined:
        this.#tell(asked, {
          type: "foreign",
          what: answer.type === "refused"
            ? `a server without the right key says: ${answer.reason.text}`
            : NOT_READ,
        });
        break;
      case "clock": {
        sealer.setClock(read.time);
        // Once: a clock that is right by now is not asked for again.
        if (asked.probe.numbers.length < MAX_ASKED) this.#send(asked.probe);
        break;
      }
      case "report":
        this.#tell(asked, read);
        break;
      case "refused":
        this.#tell(
          asked,
          read.reason.code === "protocol" ? { type: "old" } : read,
        );
        break;
      case "open":
        this.#tell(asked, { type: "foreign", what: NOT_READ });
    }
  }

  #tryNextKey({ numbers }: Probe): void {
    const sealed = numbers.map((number) => this.#asked.get(number)?.sealed)
      .findLast((one) => one !== undefined);
    if (sealed !== undefined) this.#options.sealer?.tryNextKey(sealed);
  }

  #tell({ probe, sentAt }: Asked, what: What): void {
    probe.onHeard({ ...what, ms: this.#options.clock.now() - sentAt });
  }
}
