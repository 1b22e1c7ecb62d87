/**
 * The port to the message bus: what the shell needs of NATS and no more.
 *
 * `connection.ts` is the real one; tests have a simulated one. The contract is
 * that of core NATS: at most once, in order per publisher and subject, and
 * while disconnected nothing is sent at all.
 *
 * @module
 */

import type { Encodable } from "../base/encodable.ts";

/**
 * One message off the bus. The object, its `data` and its subject bytes are
 * valid only during the callback: they are views into the read buffer, which
 * is used again. Copy what must live longer.
 */
export interface BusMessage {
  /** The subject, as ASCII bytes. */
  readonly subjectBytes: Uint8Array;
  /** The subject, decoded on first use. */
  readonly subject: string;
  /** The subject to answer to; empty when the sender wants no answer. */
  readonly reply: string;
  /** The payload, without headers. */
  readonly data: Uint8Array;
  /**
   * Status of a status message, e.g. 503 when a message sent with a reply
   * subject had no subscriber ("no responders"); 0 for ordinary messages.
   */
  readonly status: number;
  /** The first value of header `name` (case-insensitive), or undefined. */
  header(name: string): string | undefined;
}

/** Called for each message, synchronously, in order; must not throw or wait. */
export type MessageHandler = (message: BusMessage) => void;

/** The way of a message; see {@linkcode PublishOptions.lane}. */
export type PublishLane = "control" | "data" | "express";

/** What of a message beside its payload. */
export interface PublishOptions {
  /**
   * Where the answer goes. If nobody listens on the message's subject, a
   * message of status 503 arrives there.
   */
  readonly reply?: string;
  /** Headers, in order. */
  readonly headers?: readonly (readonly [string, string])[];
  /**
   * `control` overtakes queued `data`: an ACK never waits behind the bytes it
   * acknowledges. `express` goes by a connection of its own where there is one
   * (see {@linkcode Bus.wantExpress}), and may overtake both all the way. Order
   * is kept within a lane. Default `data`.
   */
  readonly lane?: PublishLane;
}

/** What of a subscription beside its subject. */
export interface SubscribeOptions {
  /** The queue group. */
  readonly queue?: string;
  /**
   * For a subscription that can be done without: called, in place of all else,
   * when the broker refuses it. It is asked for again after a reconnect only.
   */
  readonly onRefused?: (reason: string) => void;
  /**
   * Two parts of the subject that together are the whole. While there is a
   * connection for what is express, that part comes by it, and the other as
   * ever; when one begins or ends, some messages may come twice, or be lost.
   */
  readonly split?: { readonly ordinary: string; readonly express: string };
}

/** A standing subscription; `[Symbol.dispose]` unsubscribes. */
export interface BusSubscription extends Disposable {
  /** The subject or pattern subscribed to. */
  readonly subject: string;
  /**
   * Asks for no more, and unsubscribes once what is on its way has been heard
   * out (or the link is lost).
   */
  drain(): Promise<void>;
}

/** What happened to the link to the broker. */
export type LinkEvent =
  /** Connected (again); subscriptions are in place; maxPayload may have changed. */
  | { readonly type: "up"; readonly server: string }
  /** The broker takes messages of another size from now on; the link stays up. */
  | { readonly type: "limit"; readonly maxPayload: number }
  /** Which subscriptions the broker refuses has changed; see {@linkcode Bus.refusedSubjects}. */
  | { readonly type: "subscriptions" }
  /** The broker refuses what is published to `subject`: it is lost. */
  | {
    readonly type: "denied";
    readonly subject: string;
    readonly reason: string;
  }
  /** What was published as `express`, or came by its connection, may be lost: that has ended. */
  | { readonly type: "express-lost"; readonly reason: string }
  /** The connection is lost; what was queued or in flight may be lost with it. */
  | { readonly type: "down"; readonly reason: string }
  /** The bus has ended for good (closed, or NATS refused us for good). */
  | { readonly type: "closed"; readonly reason?: string };

/** The bus as the shell sees it. */
export interface Bus {
  /** Largest payload (headers and data) the broker takes, in bytes. */
  readonly maxPayload: number;
  /** Whether messages published now reach the broker's socket. */
  readonly connected: boolean;
  /** Subjects of subscriptions that the broker refuses; it is asked again now and then. */
  readonly refusedSubjects: readonly string[];
  /** Bytes published and not yet handed to the operating system. */
  readonly pendingBytes: number;
  /** Whether `pendingBytes` is at or over the high-water mark: stop reading sockets. */
  readonly congested: boolean;
  /** The same for the lane `express`. */
  readonly expressCongested: boolean;
  /**
   * There is bulk beside other tunnels: what is small is worth a connection of
   * its own, if one may be had. It lasts no longer than the link, nor than it
   * is `wanted`.
   */
  wantExpress(wanted: boolean): void;
  /**
   * Queues a message. The bytes are encoded before this returns, so the
   * caller may reuse its buffers at once.
   *
   * @returns false when disconnected: nothing was or will be sent.
   * @throws {RangeError} when the message is larger than `maxPayload`.
   */
  publish(
    subject: string,
    message: Encodable,
    options?: PublishOptions,
  ): boolean;
  /**
   * Publishes a message to find out whether the broker takes it: here a refusal
   * is the answer, and no event. What the broker itself says to the message,
   * such as "no responders", has been heard by then.
   *
   * @throws {Error} when the link is down, or lost meanwhile.
   * @throws {RangeError} when the message is larger than `maxPayload`.
   */
  mayPublish(
    subject: string,
    message: Encodable,
    options?: PublishOptions,
  ): Promise<boolean>;
  /** Subscribes, with a queue group or without; survives reconnects. */
  subscribe(
    subject: string,
    handler: MessageHandler,
    options?: SubscribeOptions,
  ): BusSubscription;
  /**
   * Calls `listener` on each {@linkcode LinkEvent} until `signal` aborts; with
   * `closed`, at once, when the bus has ended already.
   */
  onLink(listener: (event: LinkEvent) => void, signal?: AbortSignal): void;
  /**
   * Calls `listener` each time a lane of the bus stops being congested; also
   * when the link is lost while it is, after `down`.
   */
  onDrain(listener: () => void, signal?: AbortSignal): void;
  /** Resolves when all that was published so far has passed the broker (PING/PONG). */
  flush(): Promise<void>;
  /** Sends what is queued, bounded by `timeout` ms, and ends the connection. */
  close(timeout?: number): Promise<void>;
}
