/**
 * Opens that are asked for to see what comes of them: each is ended as soon as
 * it is answered, and carries nothing. They are asked for as those of a client
 * are, so that what is said of them is what a client would log.
 *
 * @module
 */
import type { Decider, Reason } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import type { BusMessage } from "../nats/bus.ts";
import type { Socket } from "../net/socket.ts";
import { TunnelSeal } from "../seal/frames.ts";
import type { SessionOptions } from "../session/session.ts";
import { binaryCodec } from "../wire/binary.ts";
import { JsonMessage } from "../wire/json.ts";
import { encodeMessage } from "../wire/message.ts";
import {
  type ConnectionId,
  firstToolNumber,
  OPEN_TOKEN,
  parseId,
} from "../wire/subjects.ts";
import type { OpenedReply } from "./pending_open.ts";
import { type OpenOptions, PendingOpens } from "./pending_opens.ts";
import { type ClientSeal, Sealer } from "./sealer.ts";

/** What became of a trial. */
export type TrialOutcome =
  & {
    /** How long that took, in ms. */
    readonly ms: number;
  }
  & (
    | {
      readonly type: "open";
      /** Whether the other end is of version 1, which answers before it dials. */
      readonly v1: boolean;
    }
    | {
      readonly type: "failed";
      readonly reason: Reason;
      /** Who says so. */
      readonly by: Decider;
    }
  );

/** Takes a message for this ID; false where it is for somebody else. */
export type Take = (id: ConnectionId, message: BusMessage) => boolean;

/** Hands in what comes until the result is disposed of. */
export type Listen = (take: Take) => Disposable;

/** What trials are made with. */
export interface TrialOptions
  extends
    Omit<OpenOptions, "codec">,
    Pick<SessionOptions, "bus" | "clock" | "subjects" | "token"> {
  /** What opens are sealed with; undefined where they are not. */
  readonly seal?: ClientSeal | undefined;
  /**
   * Hands in what comes for the client, where there is a subscription to it on
   * this connection already: of two, NATS tells one that nobody listens.
   */
  readonly listen?: Listen | undefined;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
}

/** Credit for the server, in bytes: what a target says first is thrown away. */
const WINDOW = 64 * 1024;

/** What the server is told when a trial has shown what it was to. */
const ENOUGH = "this open only tried whether the target can be reached";

/** No connection: nothing is read of it or written to it, for want of a tunnel. */
const NO_SOCKET: Socket = {
  remote: "nowhere",
  get readable(): never {
    throw new Error("a trial has no connection");
  },
  get writable(): never {
    throw new Error("a trial has no connection");
  },
};

/** Tries opens under a client's token, beside the client itself if it runs. */
export class Trials implements Disposable {
  readonly #options: TrialOptions;
  readonly #opens: PendingOpens;
  readonly #sealer: Sealer | undefined;
  readonly #answers: Disposable;
  readonly #waiting = new Map<object, (outcome: TrialOutcome) => void>();

  /** None is under way. */
  constructor(options: TrialOptions) {
    this.#options = options;
    const { bus, subjects, token, seal, random } = options;
    this.#sealer = seal && new Sealer({ ...options, seal });
    this.#opens = new PendingOpens({
      ...options,
      codec: "binary",
      sealer: this.#sealer,
      window: WINDOW,
      firstNumber: firstToolNumber(random),
      onOpen: ({ caller, startedAt }, reply) => {
        this.#endTunnel(reply);
        const v1 = reply.type === "v1";
        this.#conclude(caller, startedAt, { type: "open", v1 });
      },
      onFailed: ({ caller, startedAt }, reason, by) =>
        this.#conclude(caller, startedAt, { type: "failed", reason, by }),
      onUnwanted: () => {},
      onDuplicateClientId: () => {},
    });
    const {
      listen = (take: Take) =>
        bus.subscribe(subjects.pattern("client", token), (message) => {
          const id = parseId(subjects.idOf("client", message.subject) ?? "");
          if (id !== undefined) take(id, message);
        }),
    } = options;
    this.#answers = listen(({ server, number }, message) => {
      const mine = server === OPEN_TOKEN && this.#opens.has(number);
      if (mine) this.#opens.onReply(number, message);
      return mine;
    });
  }

  /** How far the servers' clock is ahead of ours, in ms, where one has said so; undefined where none has. */
  get clockAhead(): number | undefined {
    return this.#sealer?.ahead;
  }

  /** Asks for a tunnel, and resolves to what became of it. */
  open(destination: Destination): Promise<TrialOutcome> {
    const { promise, resolve } = Promise.withResolvers<TrialOutcome>();
    const caller = { ...destination, socket: NO_SOCKET };
    this.#waiting.set(caller, resolve);
    this.#opens.start(caller);
    return promise;
  }

  /** Gives up what is under way, and hears no more. */
  [Symbol.dispose](): void {
    const text = "the trial was given up";
    this.#opens.cancel({ code: "aborted", text });
    this.#opens[Symbol.dispose]();
    this.#answers[Symbol.dispose]();
  }

  #conclude(
    caller: object,
    startedAt: number,
    outcome:
      | { readonly type: "open"; readonly v1: boolean }
      | {
        readonly type: "failed";
        readonly reason: Reason;
        readonly by: Decider;
      },
  ): void {
    const ms = this.#options.clock.now() - startedAt;
    this.#waiting.get(caller)?.({ ...outcome, ms });
    this.#waiting.delete(caller);
  }

  /** Tells the server that nobody will use the tunnel. */
  #endTunnel(reply: OpenedReply): void {
    const { bus, subjects, clock } = this.#options;
    const { id } = reply;
    const subject = subjects.data("server", id);
    if (reply.type === "v1") {
      const close = { id, reply: "", data: null, metadata: { type: "close" } };
      bus.publish(subject, new JsonMessage(encodeMessage(close)));
      return;
    }
    const reset = binaryCodec.encode(id, {
      type: "reset",
      code: "shutdown",
      text: ENOUGH,
    });
    const now = clock.now();
    const seal = reply.seal && new TunnelSeal(reply.seal.keys, now);
    const how = { lane: "data", pair: false, subject } as const;
    bus.publish(subject, seal?.seal(reset, how, now) ?? reset);
  }
}
