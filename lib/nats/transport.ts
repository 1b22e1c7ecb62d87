/**
 * One connection to a broker: a nats-core transport that frames the protocol
 * itself. Messages go straight from the read buffer to their subscription;
 * what else arrives is handed to nats-core, which logs in and keeps the link.
 *
 * @module
 */

import type {
  ConnectionOptions,
  Server,
  Transport,
} from "@nats-io/nats-core/internal";
import { messageOf } from "../base/errors.ts";
import type { Broker } from "./brokers.ts";
import { limitProblem } from "./greeting.ts";
import { Inbox } from "./inbox.ts";
import { Outbox } from "./outbox.ts";
import {
  type BrokerInfo,
  OperationQueue,
  parseBrokerInfo,
} from "./server_info.ts";
import { NatsProtocolError, OP, type Op } from "./parser.ts";
import { type Found, noAnswer } from "./search.ts";
import type { BrokerSocket } from "./socket.ts";
import type { SubscriptionTable } from "./subscriptions.ts";
import { quote } from "../base/text.ts";

/** Counts of what the connections of a bus received and sent. */
export interface TrafficCounts {
  /** Messages received. */
  messagesIn: number;
  /** Bytes read from brokers. */
  bytesIn: number;
  /** Messages larger than the broker's maximum, or for a subscription that is gone. */
  dropped: number;
  /** Messages published. */
  messagesOut: number;
  /** Bytes that the system took for brokers. */
  bytesOut: number;
  /** Times that so much waited for a broker that no more was to be read from sockets. */
  congestions: number;
  /** How long that was in all, in ms, but for a time that is not over. */
  congestedMs: number;
}

/** What a transport needs from the bus it belongs to. */
export interface TransportHost {
  /** Counted up by every transport. */
  readonly counts: TrafficCounts;
  /** Gets the messages. */
  readonly subscriptions: SubscriptionTable;
  /** The outbox has room again. */
  readonly drained: () => void;
  /** Time between the dial of a broker and the end of its login, in ms. */
  readonly dialTimeout: number;
  /**
   * Finds a broker for `transport`.
   *
   * @throws {Error} when the bus has ended.
   * @throws the reason of `signal` when it aborts.
   */
  find(transport: NatsTransport, signal: AbortSignal): Promise<Found>;
  /** `broker` says that these are the brokers of its cluster. */
  discovered(addresses: readonly string[], broker: Broker): void;
  /** The broker of `transport`, which is open, takes messages of another size now. */
  limitChanged(transport: NatsTransport): void;
  /** `transport` has ended: by itself, or because nats-core wants it so. */
  ended(transport: NatsTransport, end: TransportEnd): void;
}

/** How a transport ended. */
export interface TransportEnd {
  /** How far it had come. */
  readonly from: Exclude<TransportState, "ended">;
  /** What happened, as a clause about the broker. */
  readonly reason: string;
  /** The same as an error, for nats-core. */
  readonly error: Error;
}

/**
 * How far a transport has come. `greeting`: nats-core logs in, and waits for
 * the PONG that tells it succeeded.
 */
export type TransportState = "dialing" | "greeting" | "open" | "ended";

const PONG = new TextEncoder().encode("PONG\r\n");

/** The hosts by the options that nats-core hands on to their transports. */
const hosts = new WeakMap<ConnectionOptions, TransportHost>();

/** Makes the transports of a connection with `options` belong to `host`. */
export function adoptTransports(
  options: ConnectionOptions,
  host: TransportHost,
): void {
  hosts.set(options, host);
}

/** One connection to one broker, from its dial to its end. */
export class NatsTransport implements Transport {
  /** The broker's monitoring shows the runtime as our language. */
  readonly lang = "deno";
  /** The runtime's version. */
  readonly version: string = Deno.version.deno;

  #inbox = new Inbox();
  readonly #forCore = new OperationQueue();
  readonly #abort = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  #host: TransportHost | undefined;
  #broker: Broker | undefined;
  /** Ends a login that takes too long. */
  #loginTimer: ReturnType<typeof setTimeout> | undefined;
  #state: TransportState = "dialing";
  #socket: BrokerSocket | undefined;
  #outbox: Outbox | undefined;
  #encrypted = false;
  #wasOpen = false;
  #maxPayload = 0;
  #lastServerError: string | undefined;

  /** How far it has come. */
  get state(): TransportState {
    return this.#state;
  }

  /** The broker; undefined before one is found. */
  get broker(): Broker | undefined {
    return this.#broker;
  }

  /** Largest payload that the broker takes, in bytes. */
  get maxPayload(): number {
    return this.#maxPayload;
  }

  /** What waits to be written; undefined before there is a socket. */
  get outbox(): Outbox | undefined {
    return this.#outbox;
  }

  /** The error that the broker sent last, if nothing followed and it is about the whole connection. */
  get lastServerError(): string | undefined {
    return this.#lastServerError;
  }

  /** Whether the transport has ended. */
  get isClosed(): boolean {
    return this.#state === "ended";
  }

  /** Whether the socket speaks TLS. */
  isEncrypted(): boolean {
    return this.#encrypted;
  }

  /** Connects to a broker, of the bus's choice, and reads its first line. */
  async connect(_server: Server, options: ConnectionOptions): Promise<void> {
    const host = hosts.get(options);
    if (host === undefined) throw new Error("No bus has these options");
    this.#host = host;
    try {
      this.#begin(await host.find(this, this.#abort.signal), host);
    } catch (error) {
      this.#end(messageOf(error), error);
      throw error;
    }
    void this.#pump(host);
  }

  /** Operations for nats-core, each whole. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return this.#forCore.read();
  }

  /** Queues operations of nats-core. */
  send(frame: Uint8Array): void {
    if (this.#state !== "ended") this.#outbox?.push("control", frame);
  }

  /** Ends the connection; nats-core calls it when login fails and at the end. */
  close(error?: Error): Promise<void> {
    this.#end(error ? messageOf(error) : "it was closed", error);
    return this.#wasOpen ? this.#closed.promise : Promise.resolve();
  }

  /** Ends the connection; nats-core calls it when pings stay unanswered. */
  disconnect(): void {
    this.#lost("it answers no pings");
  }

  /** Resolves when a connection that was open has ended. */
  closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Ends what nats-core has no more use for. */
  discard(): void {
    this.#end("it was discarded");
  }

  /** Takes over the connection to a broker that has greeted us. */
  #begin(found: Found, host: TransportHost): void {
    const { broker, socket, inbox, info, encrypted, deadline } = found;
    if (this.#state === "ended") {
      socket[Symbol.dispose]();
      throw new Error("it was closed");
    }
    this.#broker = broker;
    this.#socket = socket;
    this.#inbox = inbox;
    this.#encrypted = encrypted;
    this.#state = "greeting";
    const late = noAnswer(host.dialTimeout);
    this.#loginTimer = setTimeout(
      () => this.#end(late.message, late),
      deadline - performance.now(),
    );
    this.#take(info, host);
    this.#outbox = new Outbox(socket, {
      drained: host.drained,
      failed: (error) => this.#lost(`writing failed: ${messageOf(error)}`),
    }, host.counts);
    // Still that INFO: nats-core answers it with the login.
    this.#forCore.push(inbox.copy());
  }

  /** Takes note of what the broker says about itself. */
  #take(info: BrokerInfo, host: TransportHost): void {
    this.#maxPayload = info.maxPayload;
    if (info.cluster !== undefined && this.#broker !== undefined) {
      host.discovered(info.cluster, this.#broker);
    }
  }

  /** Reads and takes apart until the connection ends. */
  async #pump(host: TransportHost): Promise<void> {
    try {
      do this.#consume(host); while (await this.#fill(host));
      this.#lost("it closed the connection");
    } catch (error) {
      const text = messageOf(error);
      if (error instanceof NatsProtocolError) {
        this.#end(`it breaks the protocol: ${text}`, error);
      } else this.#lost(`reading failed: ${text}`, error);
    }
  }

  /** Reads once; false at the end, whoever brought it about. */
  async #fill(host: TransportHost): Promise<boolean> {
    // What was read last may not have been taken apart, if a write failed since.
    if (this.#socket === undefined || this.isClosed) return false;
    const count = await this.#socket.read(this.#inbox.room());
    if (count === null || this.isClosed) return false;
    this.#inbox.add(count);
    host.counts.bytesIn += count;
    // An error that ends the connection is the last thing the broker says.
    this.#lastServerError = undefined;
    return true;
  }

  /** Takes apart what has been read. */
  #consume(host: TransportHost): void {
    const inbox = this.#inbox;
    const { counts, subscriptions } = host;
    const { oversized } = inbox;
    while (!this.isClosed) {
      const op = inbox.next(this.#maxPayload);
      if (op === OP.message) {
        counts.messagesIn++;
        if (!subscriptions.deliver(inbox.parser.sid, inbox.message)) {
          counts.dropped++;
        }
      } else if (op === OP.incomplete) {
        counts.dropped += inbox.oversized - oversized;
        return;
      } else this.#operation(op, host);
    }
  }

  /** Takes note of the operation found last, and hands it to nats-core. */
  #operation(op: Op, host: TransportHost): void {
    this.#lastServerError = op === OP.error ? this.#serverError() : undefined;
    if (op === OP.ping) {
      // Answer at once, instead of when nats-core comes to read it.
      this.#outbox?.push("control", PONG);
      return;
    }
    if (op === OP.ok) return;
    if (op === OP.pong && this.#state === "greeting") {
      this.#state = "open";
      this.#wasOpen = true;
      clearTimeout(this.#loginTimer);
    } else if (op === OP.info) this.#updateInfo(host);
    this.#forCore.push(this.#inbox.copy());
  }

  /** INFO again: the limits of the account come after the login, and may change later. */
  #updateInfo(host: TransportHost): void {
    const before = this.#maxPayload;
    const info = parseBrokerInfo(this.#inbox.argument());
    this.#take(info, host);
    const problem = limitProblem(info);
    if (problem !== undefined) this.#end(problem);
    else if (this.#state === "open" && info.maxPayload !== before) {
      host.limitChanged(this);
    }
  }

  /** The text of -ERR; undefined for a refused subject, which does not end the connection. */
  #serverError(): string | undefined {
    const text = new TextDecoder().decode(this.#inbox.argument())
      .replaceAll(/^'|'$/g, "");
    return /^permissions violation/i.test(text) ? undefined : text;
  }

  /** The connection broke: because of the broker's last error, if there is one. */
  #lost(symptom: string, cause?: unknown): void {
    const error = this.#lastServerError;
    this.#end(
      error === undefined
        ? symptom
        : `it closed the connection: ${quote(error)}`,
      cause,
    );
  }

  /** The one way out. */
  #end(reason: string, cause?: unknown): void {
    const from = this.#state;
    if (from === "ended") return;
    this.#state = "ended";
    const error = cause instanceof Error ? cause : new Error(reason);
    clearTimeout(this.#loginTimer);
    this.#abort.abort(error);
    this.#socket?.[Symbol.dispose]();
    this.#outbox?.close();
    this.#forCore.end();
    this.#host?.ended(this, { from, reason, error });
    // Not before nats-core has dealt with all that it was handed: told of the
    // end while it still takes in the login, it would wait for ever.
    if (from === "open") setTimeout(() => this.#closed.resolve(), 0);
  }
}
