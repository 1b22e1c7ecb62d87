/**
 * The opens under way at a client: asked for, and not yet answered.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import type { BusMessage, LinkEvent } from "../nats/bus.ts";
import type { CodecName } from "../wire/codec.ts";
import { type Reason, TunnelError } from "../base/errors.ts";
import { JsonMessage } from "../wire/json.ts";
import { decodeReply, encodeRequest, type OpenReply } from "../wire/open.ts";
import type { SessionOptions } from "../session/session.ts";
import type { Socket } from "../net/socket.ts";
import { formatId, OPEN_TOKEN } from "../wire/subjects.ts";

/**
 * How long a server that took the request may be silent, in ms. It answers,
 * or says each second that it still dials; silence for so long means that it
 * died with the request.
 */
const OPEN_SILENCE_MS = 4_000;

/** Times a request is sent, each to whichever server the queue group picks. */
const MAX_ATTEMPTS = 3;

/**
 * After our link came back servers may still be on their way: for so long "no
 * responders" is not final, in ms (longest reconnect pause, and a margin).
 */
const REJOIN_GRACE_MS = 3_000;

/** Pause before asking again after "no responders", in ms. */
const RETRY_MS = 200;

/**
 * Where version 1 is refused: how long after the answer of such a server one
 * of version 2 may take to show, in ms. It answers, or says within half of
 * this that it dials; version 1 servers always answer, beside any other.
 */
const NATIVE_GRACE_MS = 1_000;

/** Why an open fails that nobody but version 1 servers answered. */
const ONLY_V1: Reason = {
  code: "version",
  text: "only servers of version 1 answered (--refuse-v1)",
};

/** A local connection whose tunnel is being opened. */
export interface PendingOpen {
  /** Number the tunnel will have. */
  readonly number: number;
  /** The local connection. */
  readonly socket: Socket;
  /** When the connection was accepted. */
  readonly startedAt: number;
  /** Servers asked: one, and one more for each that was busy or fell silent. */
  readonly attempts: number;
}

interface Entry extends PendingOpen {
  number: number;
  attempts: number;
  /** The number, and those of earlier requests, which may be answered yet. */
  readonly numbers: number[];
  /** What happens if no answer comes. */
  timer: Disposable | undefined;
}

/** The answer that opens a tunnel. */
export type OpenedReply = OpenReply & { readonly type: "open" | "v1" };

/** What a client asks for, and how. */
export interface OpenOptions {
  /** What the server is to dial. */
  readonly target: Address;
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
  /** Credit for the server, in bytes. */
  readonly window: number;
  /** First tunnel number. */
  readonly firstNumber: number;
  /** A tunnel may begin. */
  readonly onOpen: (open: PendingOpen, reply: OpenedReply) => void;
  /** An open came to nothing. */
  readonly onFailed: (open: PendingOpen, reason: Reason) => void;
  /** A server opened a tunnel nobody waits for any more. */
  readonly onUnwanted: (id: string) => void;
  /** A server answered an open that was never asked for here. */
  readonly onDuplicateClientId: () => void;
}

/** The opens under way. */
export class PendingOpens implements Disposable {
  readonly #options: PendingOpensOptions;
  readonly #entries = new Set<Entry>();
  readonly #byNumber = new Map<number, Entry>();
  readonly #stop = new AbortController();
  #nextNumber: number;
  #upAt = -Infinity;

  /** No opens yet. */
  constructor(options: PendingOpensOptions) {
    this.#options = options;
    this.#nextNumber = options.firstNumber;
    options.bus.onLink((event) => this.#onLink(event), this.#stop.signal);
  }

  /** How many are under way. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether an answer to open `number` is awaited. */
  has(number: number): boolean {
    return this.#byNumber.has(number);
  }

  /** Asks for a tunnel for `socket`. */
  start(socket: Socket): void {
    const entry: Entry = {
      number: 0,
      numbers: [],
      socket,
      startedAt: this.#options.clock.now(),
      attempts: 1,
      timer: undefined,
    };
    this.#entries.add(entry);
    this.#ask(entry);
  }

  /** An answer to open `number` came. */
  onReply(number: number, message: BusMessage): void {
    const entry = this.#byNumber.get(number);
    const latest = entry?.number === number;
    if (message.status !== 0) {
      if (entry !== undefined && latest) this.#onNobody(entry);
      return;
    }
    let reply: OpenReply;
    try {
      reply = decodeReply((name) => message.header(name), message.data);
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      if (entry !== undefined && latest) this.#fail(entry, error);
      return;
    }
    this.#onAnswer(entry, number, reply);
  }

  /** Gives all of them up. */
  cancel(reason: Reason): void {
    for (const entry of [...this.#entries]) this.#fail(entry, reason);
  }

  /** Stops timers; nothing more is asked or told. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const entry of [...this.#entries]) this.#remove(entry);
  }

  #onAnswer(entry: Entry | undefined, number: number, reply: OpenReply): void {
    const opened = reply.type === "open" || reply.type === "v1";
    if (entry === undefined) {
      const { firstNumber, onUnwanted, onDuplicateClientId } = this.#options;
      const asked = number >= firstNumber && number < this.#nextNumber;
      if (!asked) onDuplicateClientId();
      else if (opened) onUnwanted(reply.id);
    } else if (reply.type === "v1" && this.#options.refuseV1) {
      this.#wait(entry, NATIVE_GRACE_MS, () => this.#fail(entry, ONLY_V1));
    } else if (opened) {
      entry.number = number;
      this.#remove(entry);
      this.#options.onOpen(entry, reply);
    } else if (number !== entry.number) {
      // It was asked again since: what counts is the answer to that.
    } else if (reply.type === "dialing") {
      this.#awaitAnswer(entry);
    } else if (isTransient(reply.reason) && entry.attempts < MAX_ATTEMPTS) {
      entry.attempts++;
      this.#wait(entry, RETRY_MS, () => this.#ask(entry));
    } else this.#fail(entry, reply.reason);
  }

  #onLink({ type }: LinkEvent): void {
    if (type === "up") this.#upAt = this.#options.clock.now();
    // What was asked may be lost with the link: no silence of a server's.
    for (const entry of [...this.#entries]) this.#ask(entry);
  }

  /**
   * Sends the request, each time under a new number. The first tunnel that a
   * server opens is taken; for any other nobody waits, and its server is told.
   * Without a link only the deadline runs: the request goes once it is up.
   */
  #ask(entry: Entry): void {
    const { bus, subjects, token, target, window, codec } = this.#options;
    const number = this.#nextNumber++;
    entry.number = number;
    entry.numbers.push(number);
    this.#byNumber.set(number, entry);
    if (!bus.connected) {
      this.#wait(entry, Infinity, () => {});
      return;
    }
    this.#awaitAnswer(entry);
    const { headers, body } = encodeRequest({
      ...target,
      native: { client: token, number, window, codec },
    });
    const id = formatId({ client: token, server: OPEN_TOKEN, number });
    bus.publish(subjects.request, new JsonMessage(body), {
      headers,
      reply: subjects.data("client", id),
      lane: "control",
    });
  }

  #awaitAnswer(entry: Entry): void {
    this.#wait(entry, OPEN_SILENCE_MS, () => this.#onSilence(entry));
  }

  /** Does `then` in `delay` ms, unless the open will have taken too long by then. */
  #wait(entry: Entry, delay: number, then: () => void): void {
    const { clock, openTimeout } = this.#options;
    const left = entry.startedAt + openTimeout - clock.now();
    entry.timer?.[Symbol.dispose]();
    entry.timer = delay < left
      ? clock.after(delay, then)
      : clock.after(left, () => this.#onDeadline(entry));
  }

  #onDeadline(entry: Entry): void {
    const { bus, openTimeout } = this.#options;
    this.#fail(entry, {
      code: "timeout",
      text: bus.connected
        ? `no answer to the open in ${openTimeout} ms`
        : `NATS was down for the ${openTimeout} ms an open may take`,
    });
  }

  #onNobody(entry: Entry): void {
    const { clock, subjects } = this.#options;
    if (clock.now() < this.#upAt + REJOIN_GRACE_MS) {
      this.#wait(entry, RETRY_MS, () => this.#ask(entry));
      return;
    }
    this.#fail(entry, {
      code: "no-server",
      text:
        `no server listens on ${subjects.request}; start one, or check its --nats-url and --request-subject`,
    });
  }

  #onSilence(entry: Entry): void {
    if (entry.attempts < MAX_ATTEMPTS) {
      entry.attempts++;
      this.#ask(entry);
      return;
    }
    this.#fail(entry, {
      code: "timeout",
      text: `the server that took the open fell silent, ${MAX_ATTEMPTS} times`,
    });
  }

  #fail(entry: Entry, reason: Reason): void {
    this.#remove(entry);
    this.#options.onFailed(entry, reason);
  }

  #remove(entry: Entry): void {
    entry.timer?.[Symbol.dispose]();
    this.#entries.delete(entry);
    for (const number of entry.numbers) this.#byNumber.delete(number);
  }
}

/** Another server, or the same a little later, may say yes. */
function isTransient({ code }: Reason): boolean {
  return code === "draining" || code === "limit";
}
