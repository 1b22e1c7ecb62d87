/**
 * One connection to a broker: a nats-core transport that frames the protocol
 * itself. Messages go straight from the read buffer to their subscription;
 * what else arrives is handed to nats-core, which logs in and keeps the link.
 *
 * @module
 */

import {
  type ConnectionOptions,
  type Server,
  TimeoutError,
  type Transport,
} from "@nats-io/nats-core/internal";
import { messageOf } from "../base/errors.ts";
import { Inbox } from "./inbox.ts";
import type { NatsTls } from "./options.ts";
import { Outbox } from "./outbox.ts";
import {
  type BrokerInfo,
  OperationQueue,
  parseBrokerInfo,
} from "./server_info.ts";
import { NatsProtocolError, OP, type Op } from "./parser.ts";
import { dialBroker } from "./dial.ts";
import type { BrokerSocket, PlainSocket } from "./socket.ts";
import type { SubscriptionTable } from "./subscriptions.ts";
import { quote } from "../base/text.ts";

/** Counts of what the connections of a bus received. */
export interface ReceivedCounts {
  /** Messages received. */
  messagesIn: number;
  /** Messages larger than the broker's maximum, or for a subscription that is gone. */
  dropped: number;
}

/** What a transport needs from the bus it belongs to. */
export interface TransportHost {
  /** Counted up by every transport. */
  readonly counts: ReceivedCounts;
  /** Gets the messages. */
  readonly subscriptions: SubscriptionTable;
  /** The outbox has room again. */
  readonly drained: () => void;
  /**
   * How to speak TLS this time; undefined when only a broker that demands it
   * gets it. Credentials are read anew, too.
   *
   * @throws {Error} when they cannot be read or used.
   */
  tlsNow(): NatsTls | undefined;
  /**
   * `transport` is going to dial; what this gives is disposed of when it has.
   *
   * @throws {Error} when the bus has ended.
   */
  dialing(transport: NatsTransport): Disposable | undefined;
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

/**
 * Smallest max_payload of a broker that can be worked with, in bytes: a
 * request with its headers, or a refusal with its sentence, must fit.
 */
const MIN_MAX_PAYLOAD = 4096;

function tooSmall({ maxPayload }: BrokerInfo): string {
  return `its max_payload of ${maxPayload} bytes is below the ${MIN_MAX_PAYLOAD} that are needed`;
}

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

  readonly #inbox = new Inbox();
  readonly #forCore = new OperationQueue();
  readonly #abort = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  #host: TransportHost | undefined;
  #server = "";
  /** How long nats-core waits for dial and login, in ms. */
  #timeout = 0;
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

  /** `host:port` of the broker. */
  get server(): string {
    return this.#server;
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

  /** Connects to `server` and reads its first line. */
  async connect(server: Server, options: ConnectionOptions): Promise<void> {
    const host = hosts.get(options);
    if (host === undefined) throw new Error("No bus has these options");
    this.#server = server.listen;
    this.#timeout = options.timeout ?? 0;
    using _room = host.dialing(this);
    this.#host = host;
    try {
      await this.#open(server, host);
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
    const reason = error instanceof TimeoutError
      ? `no answer within ${this.#timeout / 1000} s`
      : error
      ? messageOf(error)
      : "it was closed";
    this.#end(reason, error);
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

  async #open(server: Server, host: TransportHost): Promise<void> {
    const { hostname, port } = server;
    const { signal } = this.#abort;
    // A cluster's members may be known by address only; their certificates
    // are for the name of the one that was asked.
    const tlsName = server.tlsName || hostname;
    const tls = host.tlsNow();
    const plain = await dialBroker({ hostname, port, tls, signal });
    let socket = this.#own(plain.socket);
    if (tls?.first) socket = await this.#secure(plain, tlsName);
    const info = await this.#greeting();
    if (!info.headers) throw new Error("it is older than NATS 2.2");
    if (info.maxPayload < MIN_MAX_PAYLOAD) throw new Error(tooSmall(info));
    if (!this.#encrypted && (tls !== undefined || info.tlsRequired)) {
      if (!info.tlsOffered) throw new Error("it does not offer TLS");
      if (this.#inbox.hasMore) {
        throw new Error("it sends more before TLS than it may");
      }
      socket = await this.#secure(plain, tlsName);
    }
    this.#state = "greeting";
    this.#maxPayload = info.maxPayload;
    this.#outbox = new Outbox(socket, {
      drained: host.drained,
      failed: (error) => this.#lost(`writing failed: ${messageOf(error)}`),
    });
    // Still that INFO: nats-core answers it with the login.
    this.#forCore.push(this.#inbox.copy());
  }

  async #secure(plain: PlainSocket, hostname: string): Promise<BrokerSocket> {
    try {
      const secure = this.#own(await plain.startTls(hostname));
      this.#encrypted = true;
      return secure;
    } catch (error) {
      throw new Error(`TLS failed: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Ends `socket` with the transport; at once, when that has ended meanwhile. */
  #own(socket: BrokerSocket): BrokerSocket {
    if (this.#state === "ended") {
      socket[Symbol.dispose]();
      throw new Error("it was closed");
    }
    return this.#socket = socket;
  }

  /** Reads until the broker's first line is there. */
  async #greeting(): Promise<BrokerInfo> {
    for (;;) {
      if (!await this.#fill()) throw new Error("it closed the connection");
      const op = this.#inbox.next(0);
      if (op === OP.incomplete) continue;
      if (op !== OP.info) throw new Error("it does not begin with INFO");
      return parseBrokerInfo(this.#inbox.argument());
    }
  }

  /** Reads and takes apart until the connection ends. */
  async #pump(host: TransportHost): Promise<void> {
    try {
      do this.#consume(host); while (await this.#fill());
      this.#lost("it closed the connection");
    } catch (error) {
      const text = messageOf(error);
      if (error instanceof NatsProtocolError) {
        this.#end(`it breaks the protocol: ${text}`, error);
      } else this.#lost(`reading failed: ${text}`, error);
    }
  }

  /** Reads once; false at the end, whoever brought it about. */
  async #fill(): Promise<boolean> {
    if (this.#socket === undefined) return false;
    const count = await this.#socket.read(this.#inbox.room());
    if (count === null || this.isClosed) return false;
    this.#inbox.add(count);
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
    } else if (op === OP.info) this.#updateInfo(host);
    this.#forCore.push(this.#inbox.copy());
  }

  /** INFO again: the limits of the account come after the login, and may change later. */
  #updateInfo(host: TransportHost): void {
    const before = this.#maxPayload;
    const info = parseBrokerInfo(this.#inbox.argument());
    this.#maxPayload = info.maxPayload;
    if (info.maxPayload < MIN_MAX_PAYLOAD) this.#end(tooSmall(info));
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
