/**
 * Opens under way at the client: asked, not yet answered.
 *
 * @module
 */
import type { Bus, BusMessage } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { CodecName } from "./codec.ts";
import { type Reason, TunnelError } from "./errors.ts";
import { JsonMessage } from "./json_codec.ts";
import { decodeReply, encodeRequest, type OpenReply } from "./open.ts";
import type { Socket } from "./socket.ts";
import { formatId, OPEN_TOKEN, type Subjects } from "./subjects.ts";

/**
 * How long a server that took the request may be silent, in ms. It answers,
 * or says twice a second that it still dials; silence for so long means that
 * it died with the request.
 */
export const OPEN_SILENCE_MS = 4_000;

/** Times a request is sent, each to whichever server the queue group picks. */
const MAX_ATTEMPTS = 3;

/**
 * After our link came back servers may still be on their way: for so long "no
 * responders" is not final, in ms (longest reconnect pause, and a margin).
 */
const REJOIN_GRACE_MS = 3_000;

/** Pause before asking again after "no responders", in ms. */
const RETRY_MS = 200;

/** A local connection whose tunnel is being opened. */
export interface Opening {
  /** Number the tunnel will have. */
  readonly number: number;
  readonly socket: Socket;
  /** When the connection was accepted. */
  readonly startedAt: number;
  /** Times the request was sent. */
  readonly attempts: number;
}

interface Entry extends Opening {
  number: number;
  attempts: number;
  /** When it has taken too long altogether. */
  readonly deadline: number;
  /** When to send the request (again); Infinity while an answer is awaited. */
  askAt: number;
  /** When the server's silence means that the request is lost. */
  silentAt: number;
}

/** What the opens of a client have in common. */
export interface OpeningsOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly subjects: Subjects;
  /** Token of this process. */
  readonly token: string;
  readonly target: { readonly host: string; readonly port: number };
  /** Credit for the server, in bytes. */
  readonly window: number;
  /** The form of frames. */
  readonly codec: CodecName;
  /** First tunnel number. */
  readonly firstNumber: number;
  /** Longest time from accept to open, in ms. */
  readonly openTimeout: number;
  readonly onOpen: (
    opening: Opening,
    reply: OpenReply & { type: "open" | "v1" },
  ) => void;
  readonly onFailed: (opening: Opening, reason: Reason) => void;
  /** A server opened a tunnel nobody waits for any more. */
  readonly onOrphan: (id: string) => void;
}

/** The opens under way. */
export class Openings {
  readonly #options: OpeningsOptions;
  readonly #entries = new Map<number, Entry>();
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

  /** Asks for a tunnel for `socket`. */
  start(socket: Socket): void {
    const { clock, openTimeout } = this.#options;
    const now = clock.now();
    this.#ask({
      number: 0,
      socket,
      startedAt: now,
      attempts: 0,
      deadline: now + openTimeout,
      askAt: now,
      silentAt: Infinity,
    }, now);
  }

  /** An answer to open `number` came; returns false when it is for none. */
  onReply(number: number, message: BusMessage, now: number): void {
    const entry = this.#entries.get(number);
    if (message.status !== 0) {
      if (entry !== undefined) this.#onNobody(entry, now);
      return;
    }
    let reply: OpenReply;
    try {
      reply = decodeReply((name) => message.header(name), message.data);
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      if (entry !== undefined) this.#fail(entry, error);
      return;
    }
    if (entry === undefined) {
      if (reply.type === "open" || reply.type === "v1") {
        this.#options.onOrphan(reply.id);
      }
      return;
    }
    switch (reply.type) {
      case "dialing":
        entry.silentAt = now + OPEN_SILENCE_MS;
        break;
      case "refused":
        if (isTransient(reply.reason) && entry.attempts < MAX_ATTEMPTS) {
          this.#again(entry, now + RETRY_MS);
        } else this.#fail(entry, reply.reason);
        break;
      default:
        this.#entries.delete(number);
        this.#options.onOpen(entry, reply);
    }
  }

  /** Time has passed: sends again, gives up. */
  tick(now: number): void {
    const { openTimeout, bus } = this.#options;
    for (const entry of this.#entries.values()) {
      if (now >= entry.deadline) {
        this.#fail(entry, {
          code: "timeout",
          text: bus.connected
            ? `no answer to the open in ${openTimeout} ms`
            : `NATS was down for the ${openTimeout} ms an open may take`,
        });
      } else if (now >= entry.askAt) this.#ask(entry, now);
      else if (now >= entry.silentAt) {
        if (entry.attempts < MAX_ATTEMPTS) this.#ask(entry, now);
        else {
          this.#fail(entry, {
            code: "timeout",
            text:
              `the server that took the open fell silent, ${MAX_ATTEMPTS} times`,
          });
        }
      }
    }
  }

  /** The link to NATS is down: what was asked is asked again later. */
  linkDown(): void {
    for (const entry of this.#entries.values()) {
      entry.askAt = Infinity;
      entry.silentAt = Infinity;
    }
  }

  /** The link to NATS is back. */
  linkUp(now: number): void {
    this.#upAt = now;
    for (const entry of [...this.#entries.values()]) this.#ask(entry, now);
  }

  /** Gives all of them up. */
  cancel(reason: Reason): void {
    for (const entry of [...this.#entries.values()]) this.#fail(entry, reason);
  }

  /**
   * Sends the request under a new number: should a server have opened a
   * tunnel under the old one, its answer finds nobody and it is told.
   */
  #ask(entry: Entry, now: number): void {
    const { bus, subjects, token, target, window, codec } = this.#options;
    this.#entries.delete(entry.number);
    entry.number = this.#nextNumber++;
    this.#entries.set(entry.number, entry);
    entry.askAt = Infinity;
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

  #fail(entry: Entry, reason: Reason): void {
    this.#entries.delete(entry.number);
    this.#options.onFailed(entry, reason);
  }
}

/** Another server, or the same a little later, may say yes. */
function isTransient({ code }: Reason): boolean {
  return code === "draining" || code === "limit";
}
