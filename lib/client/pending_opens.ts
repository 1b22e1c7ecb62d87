/**
 * The opens under way at a client: asked for, and not yet answered.
 *
 * @module
 */
import { type Decider, publishDenied, type Reason } from "../base/errors.ts";
import type { Target } from "../base/target.ts";
import type { BusMessage, LinkEvent } from "../nats/bus.ts";
import type { SessionOptions } from "../session/session.ts";
import type { CodecName } from "../wire/codec.ts";
import { JsonMessage } from "../wire/json.ts";
import {
  decodeReply,
  encodeRequest,
  type OpenReply,
  type Sealed,
} from "../wire/open.ts";
import { AnsweringServers, isNative } from "./answering_servers.ts";
import type { Caller } from "./caller.ts";
import {
  type AskedRequest,
  beginOpen,
  type OpenedReply,
  type OpenState,
  type PendingOpen,
  type Unheard,
} from "./pending_open.ts";
import type { AfterRefusal } from "./refusals.ts";
import { RequestSubjects } from "./request_subjects.ts";
import { believe, type BelievedReply, type Sealer } from "./sealer.ts";

/**
 * How long a server that took the request may be silent, in ms. It answers,
 * or says each second that it still dials; silence for so long means that it
 * died with the request.
 */
const OPEN_SILENCE_MS = 4_000;

/** Servers, each whichever the queue group picks, that may be busy or fall silent. */
const MAX_TRIES = 3;

/**
 * After our link came back servers may still be on their way: for so long "no
 * responders" is not final, in ms (longest reconnect pause, and a margin).
 */
const REJOIN_GRACE_MS = 3_000;

/** Pause before asking again after "no responders", in ms. */
const RETRY_MS = 200;

/**
 * How long after an open on the client's own subject, where no server was heard
 * before, one may take to answer, in ms. It says within half of this that it
 * dials; who only listens, as a monitor does, keeps the broker from saying that
 * there is no server.
 */
const OWN_GRACE_MS = 1_000;

/**
 * Where version 1 is refused: how long after the answer of such a server one
 * of version 2 may take to show, in ms. It answers, or says within half of
 * this that it dials; version 1 servers always answer, beside any other.
 */
const NATIVE_GRACE_MS = 1_000;

/**
 * Where opens are sealed: how long after an answer that is not, or the word that
 * there is no server, one that is may take to show, in ms. Servers with another
 * key answer, as may anybody.
 */
const SEALED_GRACE_MS = 1_000;

/** Why an open fails that nobody but version 1 servers answered. */
const ONLY_V1: Reason = {
  code: "version",
  text: "only servers of version 1 answered (--refuse-v1)",
};

/** Why an open fails that none of the version 2 servers answered which were there before. */
const DOWNGRADED: Reason = {
  code: "version",
  text:
    "only servers of version 1 answered, though there were some of version 2 before; start those, or this client again",
};

/** What a client asks for, and how. */
export interface OpenOptions {
  /** The form of frames. */
  readonly codec: CodecName;
  /** Longest time from accept to open, in ms. */
  readonly openTimeout: number;
  /** Turn away servers that speak version 1. */
  readonly refuseV1: boolean;
}

/** What the opens of a client have in common. */
export interface PendingOpensOptions
  extends
    OpenOptions,
    Pick<SessionOptions, "bus" | "clock" | "subjects" | "token"> {
  /** What opens are sealed with; undefined where they are not. */
  readonly sealer?: Sealer | undefined;
  /** Credit for the server, in bytes. */
  readonly window: number;
  /** First tunnel number. */
  readonly firstNumber: number;
  /** A tunnel may begin. */
  readonly onOpen: (open: PendingOpen, reply: OpenedReply) => void;
  /** An open came to nothing. */
  readonly onFailed: (open: PendingOpen, reason: Reason, by: Decider) => void;
  /** A server opened a tunnel nobody waits for any more. */
  readonly onUnwanted: (id: string) => void;
  /** A server answered an open that was never asked for here. */
  readonly onDuplicateClientId: () => void;
}

/** The opens under way. */
export class PendingOpens implements Disposable {
  readonly #options: PendingOpensOptions;
  readonly #entries = new Set<OpenState>();
  readonly #byNumber = new Map<number, OpenState>();
  readonly #stop = new AbortController();
  readonly #requests: RequestSubjects;
  #nextNumber: number;
  readonly #servers = new AnsweringServers();
  #upAt = -Infinity;

  /** No opens yet. */
  constructor(options: PendingOpensOptions) {
    this.#options = options;
    this.#nextNumber = options.firstNumber;
    this.#requests = new RequestSubjects(options.subjects, options.token);
    options.bus.onLink((event) => this.#onLink(event), this.#stop.signal);
  }

  /** Where is asked, and what is known of who hears it. */
  get requests(): RequestSubjects {
    return this.#requests;
  }

  /** How many are under way. */
  get size(): number {
    return this.#entries.size;
  }

  /** Why no open can be asked for; undefined when one can, as far as is known. */
  get refusal(): Reason | undefined {
    return this.#requests.refusal(this.#options.clock.now());
  }

  /** Whether an answer to open `number` is awaited. */
  has(number: number): boolean {
    return this.#byNumber.has(number);
  }

  /** Whether open `number` was asked for here, ever. */
  asked(number: number): boolean {
    return number >= this.#options.firstNumber && number < this.#nextNumber;
  }

  /** Asks for a tunnel for a local connection. */
  start(caller: Caller): void {
    const entry = beginOpen(caller, this.#options.clock.now());
    this.#entries.add(entry);
    this.#ask(entry);
  }

  /** An answer to open `number` came. */
  onReply(number: number, message: BusMessage): void {
    const entry = this.#byNumber.get(number);
    const latest = entry?.number === number;
    if (message.status !== 0) {
      if (entry !== undefined && latest) this.#onUnheard(entry, "nobody");
      return;
    }
    const reply = this.#read(
      entry,
      number,
      decodeReply((name) => message.header(name), message.data),
    );
    if (reply === undefined) return;
    if (reply.type !== "foreign") this.#onAnswer(entry, number, reply);
    else if (entry !== undefined) entry.foreign = reply.what;
  }

  /** What an answer says, as far as it may be believed; undefined for what is not an answer. */
  #read(
    entry: OpenState | undefined,
    number: number,
    reply: OpenReply,
  ): BelievedReply | undefined {
    const { sealer } = this.#options;
    if (sealer === undefined || entry === undefined) return reply;
    const latest = number === entry.number;
    const open = entry.asked.get(number)?.sealed;
    const believed = believe(reply, open);
    switch (believed.type) {
      case "reply":
        return believed.reply;
      case "clock":
        sealer.setClock(believed.time);
        if (latest) this.#onSilence(entry);
        return undefined;
      case "unsealed":
        entry.foreign = believed.what;
        // The right one may answer yet.
        if (latest) {
          // Nobody who has the key answers: the servers may have the other one.
          this.#wait(entry, SEALED_GRACE_MS, () => {
            if (open !== undefined) sealer.tryNextKey(open);
            this.#onSilence(entry);
          });
        }
    }
    return undefined;
  }

  /** Gives all of them up. */
  cancel(reason: Reason): void {
    for (const entry of [...this.#entries]) this.#fail(entry, reason, "local");
  }

  /** Stops timers; nothing more is asked or told. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const entry of [...this.#entries]) this.#remove(entry);
  }

  #onAnswer(
    entry: OpenState | undefined,
    number: number,
    reply: BelievedReply,
  ): void {
    const subject = entry?.asked.get(number)?.subject;
    this.#servers.note(reply, subject);
    const native = isNative(reply);
    if (
      subject !== undefined && (native || subject === this.#requests.shared)
    ) {
      this.#requests.answered(subject, this.#options.clock.now());
    }
    const opened = reply.type === "open" || reply.type === "v1";
    if (entry === undefined) {
      const { onUnwanted, onDuplicateClientId } = this.#options;
      if (!this.asked(number)) onDuplicateClientId();
      else if (opened) onUnwanted(reply.id);
    } else if (!native && subject !== this.#requests.shared) {
      entry.foreign = "an answer came in the form of version 1";
    } else if (!native && (this.#servers.native || this.#options.refuseV1)) {
      const why = this.#options.refuseV1 ? ONLY_V1 : DOWNGRADED;
      const refuse = (): void => this.#fail(entry, why, "local");
      this.#wait(entry, NATIVE_GRACE_MS, refuse);
    } else if (opened) {
      entry.number = number;
      this.#remove(entry);
      this.#options.onOpen(entry, reply);
    } else if (number !== entry.number) {
      // It was asked again since: what counts is the answer to that.
    } else if (reply.type === "dialing") {
      entry.dialing = true;
      this.#awaitAnswer(entry);
    } else if (reply.type === "again") {
      const there = this.#servers.on(subject ?? entry.subject);
      const refused = entry.refusals.noteAgain(there);
      if (refused === undefined) return;
      entry.attempts--;
      this.#onRefused(entry, refused);
    } else if (reply.type === "refused") {
      const there = this.#servers.on(subject ?? entry.subject);
      this.#onRefused(entry, entry.refusals.note(reply, there));
    }
  }

  /** An open was refused, and may be asked of another server, or of the same once more after a pause. */
  #onRefused(entry: OpenState, { next, reason }: AfterRefusal): void {
    if (next === "another") this.#ask(entry);
    else if (next === "later" && ++entry.failures < MAX_TRIES) {
      entry.refusals.forgetPassing();
      this.#wait(entry, RETRY_MS, () => this.#ask(entry));
    } else this.#fail(entry, reason, "peer");
  }

  #onLink(event: LinkEvent): void {
    const { type } = event;
    if (type === "denied") this.#onDenied(event.subject);
    if (type !== "up" && type !== "down") return;
    this.#requests.forget();
    if (type === "up") this.#upAt = this.#options.clock.now();
    // What was asked may be lost with the link: no silence of a server's.
    for (const entry of [...this.#entries]) this.#ask(entry);
  }

  /**
   * Sends the request, each time under a new number. The first tunnel that a
   * server opens is taken; for any other nobody waits, and its server is told.
   * Without a link only the deadline runs: the request goes once it is up.
   */
  #ask(entry: OpenState): void {
    entry.unheard.clear();
    if (this.#options.bus.connected) entry.attempts++;
    const now = this.#options.clock.now();
    const [first, ...others] = this.#requests.subjectsTo(entry.caller, now);
    entry.subjects = [first, ...others];
    this.#askOn(first, entry);
  }

  #askOn(subject: string, entry: OpenState): void {
    const { bus, clock, subjects, token, window, codec } = this.#options;
    const number = this.#nextNumber++;
    const request: AskedRequest = { subject, sealed: undefined };
    entry.number = number;
    entry.subject = subject;
    entry.dialing = false;
    entry.asked.set(number, request);
    this.#byNumber.set(number, entry);
    if (!bus.connected) {
      this.#wait(entry, Infinity, () => {});
      return;
    }
    this.#requests.asked(subject);
    const next = this.#nextSubject(entry);
    if (
      entry.failures === 0 &&
      this.#requests.doubtful(subject, next, clock.now())
    ) {
      const doubt = (): void => this.#onUnheard(entry, "silence");
      this.#wait(entry, OWN_GRACE_MS, doubt);
    } else this.#awaitAnswer(entry);
    const target = this.#targetOf(entry, request);
    if (target === undefined) return;
    const { endpoints, trace } = entry.caller;
    const { headers, body } = encodeRequest({
      target,
      native: {
        client: token,
        number,
        window,
        codec,
        express: true,
        not: entry.refusals.servers,
        ...(!("sealed" in target) && {
          endpoints,
          traceparent: trace?.open.traceparent,
        }),
      },
    });
    bus.publish(subject, new JsonMessage(body), {
      headers,
      reply: subjects.answerTo(token, number),
      lane: "control",
    });
  }

  /** What goes into the request of `entry`; undefined if it cannot be sealed, and has failed. */
  #targetOf(
    entry: OpenState,
    request: AskedRequest,
  ): Target | Sealed | undefined {
    const { sealer, subjects, token, window, codec } = this.#options;
    const { target, endpoints, trace } = entry.caller;
    if (sealer === undefined) return target;
    const { number } = entry;
    request.sealed = sealer.seal(target, {
      requestSubject: request.subject,
      dataPrefix: subjects.prefix,
      client: token,
      number,
      window,
      codec,
    }, { endpoints, traceparent: trace?.open.traceparent });
    if (request.sealed === undefined) {
      const text =
        "nothing can be sealed for the key of the server (--server-key)";
      this.#fail(entry, { code: "denied", text }, "local");
    }
    return request.sealed;
  }

  #awaitAnswer(entry: OpenState): void {
    this.#wait(entry, OPEN_SILENCE_MS, () => this.#onSilence(entry));
  }

  /** Does `then` in `delay` ms, unless the open will have taken too long by then. */
  #wait(entry: OpenState, delay: number, then: () => void): void {
    const { clock, openTimeout } = this.#options;
    const left = entry.startedAt + openTimeout - clock.now();
    entry.timer?.[Symbol.dispose]();
    entry.timer = delay < left
      ? clock.after(delay, then)
      : clock.after(left, () => this.#onDeadline(entry));
  }

  #onDeadline(entry: OpenState): void {
    const { bus, openTimeout } = this.#options;
    const what = !bus.connected
      ? "NATS is not connected, and the open was not answered"
      : entry.dialing
      ? "the server still dials the target, and the open was not answered"
      : "no server answered the open";
    this.#giveUp(entry, {
      code: "timeout",
      text: `${what} within ${openTimeout} ms (--open-timeout)`,
    });
  }

  #onDenied(subject: string): void {
    if (!this.#requests.has(subject)) return;
    this.#requests.denied(subject, this.#options.clock.now());
    for (const entry of [...this.#entries]) {
      if (entry.subject === subject) this.#onUnheard(entry, "denied");
    }
  }

  /** No server takes what was asked on a subject: one may on the other. */
  #onUnheard(entry: OpenState, how: Unheard["how"]): void {
    const { clock } = this.#options;
    const { subject, number, unheard, subjects } = entry;
    if (how === "nobody") this.#requests.unheard(subject);
    unheard.set(subject, { number, how });
    const rejoining = clock.now() < this.#upAt + REJOIN_GRACE_MS;
    const next = this.#nextSubject(entry);
    // Where a service is not asked for, it is refused for good.
    const final = "service" in entry.caller.target;
    if (next !== undefined && !(rejoining && final && how === "nobody")) {
      this.#askOn(next, entry);
      return;
    }
    const ends = [...unheard.values()];
    const silent = ends.find(({ how }) => how === "silence");
    if (silent !== undefined) {
      // If there is a server at all, it is where nobody has said that there is none.
      entry.number = silent.number;
      const left = OPEN_SILENCE_MS - OWN_GRACE_MS;
      this.#wait(entry, left, () => this.#onSilence(entry));
    } else if (ends.every(({ how }) => how === "denied")) {
      this.#fail(entry, publishDenied(subjects[0] ?? subject), "local");
    } else if (rejoining) {
      this.#wait(entry, RETRY_MS, () => this.#ask(entry));
    } else {
      const isDenied = (one: string): boolean =>
        unheard.get(one)?.how === "denied";
      const reason = this.#requests.noServer(entry.caller, isDenied);
      const giveUp = (): void => this.#giveUp(entry, reason);
      // Anybody may have said so: the right answer may come yet.
      if (this.#options.sealer === undefined) giveUp();
      else this.#wait(entry, SEALED_GRACE_MS, giveUp);
    }
  }

  /** Where else than on the last subject an open may be asked for. */
  #nextSubject({ subjects, subject, unheard }: OpenState): string | undefined {
    return subjects.find((one) => one !== subject && !unheard.has(one));
  }

  #onSilence(entry: OpenState): void {
    if (++entry.failures < MAX_TRIES) {
      this.#ask(entry);
      return;
    }
    this.#giveUp(entry, {
      code: "timeout",
      text:
        `the server that took the open fell silent, ${MAX_TRIES} times: 'ls' lists those that answer; its log says why if it has another --data-prefix or this client asks too much`,
    });
  }

  /** No answer will come: what did come tells more than that. */
  #giveUp(entry: OpenState, silence: Reason): void {
    const { refusals: { reason: refusal }, foreign, subjects } = entry;
    const { shared } = this.#requests;
    const request = subjects.includes(shared) ? shared : subjects[0];
    if (refusal !== undefined) this.#fail(entry, refusal, "peer");
    else if (foreign === undefined) this.#fail(entry, silence, "local");
    else {
      const text = `no server answers on ${request}, but ${foreign}`;
      this.#fail(entry, { code: "no-server", text }, "local");
    }
  }

  #fail(entry: OpenState, reason: Reason, by: Decider): void {
    this.#remove(entry);
    this.#options.onFailed(entry, reason, by);
  }

  #remove(entry: OpenState): void {
    entry.timer?.[Symbol.dispose]();
    this.#entries.delete(entry);
    for (const number of entry.asked.keys()) this.#byNumber.delete(number);
  }
}
