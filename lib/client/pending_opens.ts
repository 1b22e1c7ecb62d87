/**
 * Opens under way at the client: asked, not yet answered.
 *
 * @module
 */
import type { Bus, BusMessage } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import type { CodecName } from "../wire/codec.ts";
import { type Reason, TunnelError } from "../base/errors.ts";
import { JsonMessage } from "../wire/json.ts";
import { decodeReply, encodeRequest, type OpenReply } from "../wire/open.ts";
import type { Socket } from "../net/socket.ts";
import { formatId, OPEN_TOKEN, type Subjects } from "../wire/subjects.ts";

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

/** A local connection whose tunnel is being opened. */
export interface Opening {
  /** Number the tunnel will have. */
  readonly number: number;
  /** The local connection. */
  readonly socket: Socket;
  /** When the connection was accepted. */
  readonly startedAt: number;
  /** Times the request was sent. */
  readonly attempts: number;
}

interface Entry extends Opening {
  number: number;
  /** The number, and those of earlier requests, which may be answered yet. */
  readonly numbers: number[];
  attempts: number;
  /** Whether a version 1 server has answered, and is refused. */
  refusedV1: boolean;
  /** When it has taken too long altogether. */
  readonly deadline: number;
  /** When to send the request (again); Infinity while an answer is awaited. */
  askAt: number;
  /** When the server's silence means that the request is lost. */
  silentAt: number;
}

/** The answer that opens a tunnel. */
export type Accepted = OpenReply & { readonly type: "open" | "v1" };

/** What the opens of a client have in common. */
export interface OpeningsOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** Token of this process. */
  readonly token: string;
  /** What the server is to dial. */
  readonly target: { readonly host: string; readonly port: number };
  /** Credit for the server, in bytes. */
  readonly window: number;
  /** The form of frames. */
  readonly codec: CodecName;
  /** First tunnel number. */
  readonly firstNumber: number;
  /** Longest time from accept to open, in ms. */
  readonly openTimeout: number;
  /** Turn away servers that speak version 1. */
  readonly refuseV1: boolean;
  /** A tunnel may begin. */
  readonly onOpen: (
    opening: Opening,
    reply: Accepted,
  ) => void;
  /** An open came to nothing. */
  readonly onFailed: (opening: Opening, reason: Reason) => void;
  /** A server opened a tunnel nobody waits for any more. */
  readonly onOrphan: (id: string) => void;
  /** A server answered an open that was never asked for here. */
  readonly onTwin: () => void;
}

/** The opens under way. */
export class Openings {
  readonly #options: OpeningsOptions;
  readonly #entries = new Set<Entry>();
  readonly #byNumber = new Map<number, Entry>();
  #nextNumber: number;
  #upAt = -Infinity;

  /** No opens yet. */
  constructor(options: OpeningsOptions) {
    this.#options = options;
    this.#nextNumber = options.firstNumber;
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
    const { clock, openTimeout } = this.#options;
    const now = clock.now();
    this.#ask({
      number: 0,
      numbers: [],
      socket,
      startedAt: now,
      attempts: 0,
      refusedV1: false,
      deadline: now + openTimeout,
      askAt: now,
      silentAt: Infinity,
    }, now);
  }

  /** An answer to open `number` came. */
  onReply(number: number, message: BusMessage, now: number): void {
    const entry = this.#byNumber.get(number);
    const latest = entry?.number === number;
    if (message.status !== 0) {
      if (entry !== undefined && latest) this.#onNobody(entry, now);
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
    if (entry === undefined) {
      const { firstNumber, onOrphan, onTwin } = this.#options;
      if (number < firstNumber || number >= this.#nextNumber) onTwin();
      else if (reply.type === "open" || reply.type === "v1") onOrphan(reply.id);
      return;
    }
    if (reply.type === "v1" && this.#options.refuseV1) {
      entry.refusedV1 = true;
      entry.silentAt = now + NATIVE_GRACE_MS;
    } else if (reply.type === "open" || reply.type === "v1") {
      entry.number = number;
      this.#remove(entry);
      this.#options.onOpen(entry, reply);
    } else if (!latest) {
      // It was asked again since: what counts is the answer to that.
    } else if (reply.type === "dialing") {
      entry.refusedV1 = false;
      entry.silentAt = now + OPEN_SILENCE_MS;
    } else if (isTransient(reply.reason) && entry.attempts < MAX_ATTEMPTS) {
      this.#again(entry, now + RETRY_MS);
    } else this.#fail(entry, reply.reason);
  }

  /** Time has passed: sends again, gives up. */
  tick(now: number): void {
    const { openTimeout, bus } = this.#options;
    for (const entry of [...this.#entries]) {
      if (now >= entry.deadline) {
        this.#fail(entry, {
          code: "timeout",
          text: bus.connected
            ? `no answer to the open in ${openTimeout} ms`
            : `NATS was down for the ${openTimeout} ms an open may take`,
        });
      } else if (now >= entry.askAt) this.#ask(entry, now);
      else if (now >= entry.silentAt) this.#onSilence(entry, now);
    }
  }

  /** The link to NATS is down: what was asked is asked again later. */
  linkDown(): void {
    for (const entry of this.#entries) {
      // What was asked may be lost with the link: no silence of a server's.
      if (entry.silentAt !== Infinity) entry.attempts--;
      this.#again(entry, Infinity);
    }
  }

  /** The link to NATS is back. */
  linkUp(now: number): void {
    this.#upAt = now;
    for (const entry of [...this.#entries]) this.#ask(entry, now);
  }

  /** Gives all of them up. */
  cancel(reason: Reason): void {
    for (const entry of [...this.#entries]) this.#fail(entry, reason);
  }

  /**
   * Sends the request, each time under a new number. The first tunnel that a
   * server opens is taken; for any other nobody waits, and its server is told.
   */
  #ask(entry: Entry, now: number): void {
    const { bus, subjects, token, target, window, codec } = this.#options;
    entry.number = this.#nextNumber++;
    entry.numbers.push(entry.number);
    this.#entries.add(entry);
    this.#byNumber.set(entry.number, entry);
    this.#again(entry, Infinity);
    if (!bus.connected) return; // linkUp will ask
    entry.attempts++;
    entry.silentAt = now + OPEN_SILENCE_MS;
    const { headers, body } = encodeRequest({
      ...target,
      native: { client: token, number: entry.number, window, codec },
    });
    const reply = subjects.data(
      "client",
      formatId({ client: token, server: OPEN_TOKEN, number: entry.number }),
    );
    bus.publish(subjects.request, new JsonMessage(body), {
      headers,
      reply,
      lane: "control",
    });
  }

  #again(entry: Entry, at: number): void {
    entry.askAt = at;
    entry.silentAt = Infinity;
  }

  #onNobody(entry: Entry, now: number): void {
    if (now < this.#upAt + REJOIN_GRACE_MS) {
      entry.attempts--;
      this.#again(entry, now + RETRY_MS);
      return;
    }
    const { request } = this.#options.subjects;
    this.#fail(entry, {
      code: "no-server",
      text:
        `no server listens on ${request}; start one, or check its --nats-url and --request-subject`,
    });
  }

  #onSilence(entry: Entry, now: number): void {
    if (entry.refusedV1) {
      this.#fail(entry, {
        code: "version",
        text: "only servers of version 1 answered (--refuse-v1)",
      });
    } else if (entry.attempts < MAX_ATTEMPTS) this.#ask(entry, now);
    else {
      this.#fail(entry, {
        code: "timeout",
        text:
          `the server that took the open fell silent, ${MAX_ATTEMPTS} times`,
      });
    }
  }

  #fail(entry: Entry, reason: Reason): void {
    this.#remove(entry);
    this.#options.onFailed(entry, reason);
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry);
    for (const number of entry.numbers) this.#byNumber.delete(number);
  }
}

/** Another server, or the same a little later, may say yes. */
function isTransient({ code }: Reason): boolean {
  return code === "draining" || code === "limit";
}
