/**
 * The claim of a process to a client ID that was configured: nobody else may
 * use it at the same time, since each would be taken for the other. It asks
 * before it listens, holds the ID, and gives way to whoever has held it longer.
 * docs/protocol.md says what travels.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import { messageOf, RunError, TunnelError } from "../base/errors.ts";
import type { Encodable } from "../base/encodable.ts";
import type { Bus, BusMessage, LinkEvent } from "../nats/bus.ts";
import type { PeerTimes } from "../tunnel/liveness.ts";
import { binaryCodec } from "../wire/binary.ts";
import { decodeFrame } from "../wire/codec.ts";
import type { HoldSeal } from "../seal/hold.ts";
import { type Frame, PEER_NUMBER } from "../wire/frame.ts";
import {
  firstNumber,
  formatId,
  HOLD_TOKEN,
  parseId,
  type Subjects,
} from "../wire/subjects.ts";

/** How long an answer may take before it is asked again, in ms: some round trips. */
const ANSWER_MS = 200;

/**
 * How long whoever listens on the subjects of the ID may be silent at the
 * start, in ms: a predecessor whose connection the broker has not given up, an
 * older version, or somebody who listens to everything.
 */
const SILENCE_MS = 2_000;

/** Pause between two questions while another holds the ID, in ms. */
const PAUSE_MS = 1_000;

/** How long a holder waits for another to object, in ms: a slow round trip. */
const OBJECTION_MS = 500;

/** Answers that wait for that at once; what finds no room will be asked for again. */
const MAX_DEFERRED = 4096;

/** Who has held the ID for less, in ms, has claimed it at the same time as we: chance decides. */
const SAME_TIME_MS = 200;

/** Processes that wait for the ID and are told when it is free; others find out by asking. */
const MAX_WAITING = 8;

/** What came of a question. */
type Answer = "held" | "leaving" | "nobody" | "silent" | "refused" | "down";

/** An ID is held. */
interface Held {
  /** Since when. */
  since: number;
  /** Aborts when it is lost. */
  readonly loss: AbortController;
}

/** Options of a claim. */
export interface ClaimOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** The ID. */
  readonly token: string;
  /** For how long a process that is gone, or silent, may come back. */
  readonly times: Pick<PeerTimes, "peerTimeout" | "resumeTimeout">;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
  /** What tells processes that have this one's key from others; undefined where there is no key, and all are believed. */
  readonly seal?: HoldSeal | undefined;
}

/** The claim of one process to one ID. */
export class Claim implements Disposable {
  readonly #options: ClaimOptions;
  readonly #log = getLogger(["sproxy", "client"]);
  readonly #stop = new AbortController();
  /** Tells this process from others: where it is answered. */
  readonly #number: number;
  /** Those who wait for the ID, and what they asked last. */
  readonly #waiting = new Map<number, number>();
  #seal: HoldSeal | undefined;
  /** How often was asked, which tells answers to the last question from older ones. */
  #questions = 0;
  /** How good the claim was when that was asked. */
  #asserted = 0;
  #onAnswer: ((answer: Answer) => void) | undefined;
  /** Undefined while the ID is not held. */
  #held: Held | undefined;
  /** The hold of which it is being asked whether anybody objects. */
  #checked: Held | undefined;
  /** Whether it is to be asked once more. */
  #doubted = false;
  #leaving = false;
  /** Whether another process was heard to hold the ID. */
  #contested = false;
  /** Whether the broker lets us ask. */
  #permitted = true;
  #saidRefused = false;
  /** What is to be done if nobody objects to what is asked next. */
  #deferred: (() => void)[] = [];
  #downSince = -Infinity;
  /** Whether the bus has ended for good. */
  #ended = false;

  /** Nothing is claimed yet. */
  constructor(options: ClaimOptions) {
    this.#options = options;
    this.#number = firstNumber(options.random);
    this.#seal = options.seal;
    options.bus.onLink((event) => this.#onLink(event), this.#stop.signal);
  }

  /** Why the ID cannot be used now; undefined when nothing is known against it. */
  get objection(): string | undefined {
    return this.#contested
      ? `--client-id ${this.#options.token} is used by another process`
      : undefined;
  }

  /** From now on those are believed that have this. */
  reload(seal: HoldSeal): void {
    this.#seal = seal;
  }

  /**
   * Waits until no other process holds the ID. To be called before anything
   * else subscribes to the subjects of it; {@linkcode Claim.hold} is to follow.
   *
   * @param options Whether it waits where another does.
   * @throws the reason of `stop` when it aborts.
   * @throws {RunError} when another process holds it, and it does not wait.
   */
  async acquire(
    stop: AbortSignal,
    { wait = true }: { readonly wait?: boolean } = {},
  ): Promise<void> {
    using _answers = this.#options.bus.subscribe(
      this.#subject(this.#number),
      (message) => this.receive(this.#number, message),
    );
    const wake = (): void => this.#onAnswer?.("silent");
    stop.addEventListener("abort", wake, { once: true });
    try {
      await this.#untilFree(stop, wait);
    } finally {
      stop.removeEventListener("abort", wake);
    }
    if (this.#contested) {
      this.#contested = false;
      this.#log.info(`--client-id ${this.#options.token} is free`);
    }
  }

  /**
   * Holds the ID: whatever comes for it comes to this process from now on.
   *
   * @returns what aborts when another process turns out to have held it longer.
   */
  hold(): AbortSignal {
    const loss = new AbortController();
    this.#held = { since: this.#options.clock.now(), loss };
    // Another may have begun in the same moment.
    if (this.#permitted) void this.check();
    return loss.signal;
  }

  /**
   * Does `then` once it is known that no other process holds the ID: what came
   * for a tunnel that this process never had is then of an earlier one with the
   * ID, and must be answered, while another's must not.
   */
  whenAlone(then: () => void): void {
    if (!this.#permitted) then();
    else if (
      this.#held !== undefined && this.#deferred.length < MAX_DEFERRED
    ) {
      this.#deferred.push(then);
      void this.check();
    }
  }

  /** Asks whether another process holds the ID, too, if it is held and that is not being asked. */
  async check(): Promise<void> {
    const held = this.#held;
    if (held === undefined || this.#checked === held) return;
    this.#checked = held;
    do {
      this.#doubted = false;
      const due = this.#deferred.splice(0);
      const answer = await this.#ask(OBJECTION_MS);
      if (this.#held !== held) return;
      if (answer !== "down") { for (const then of due) then(); }
      // What came meanwhile may be of one that did not hear the question.
    } while (this.#doubted || this.#deferred.length > 0);
    this.#checked = undefined;
  }

  /** A message came on one of the subjects where processes speak of the ID. */
  receive(number: number, message: BusMessage): void {
    if (message.status !== 0) {
      if (number === this.#number) this.#onAnswer?.("nobody");
      return;
    }
    let frame: Frame | undefined;
    try {
      const data = this.#opened(number, message);
      frame = data && decodeFrame(data);
    } catch (error) {
      // Of somebody who listens to everything, such as a stream.
      if (error instanceof TunnelError) return;
      throw error;
    }
    if (number === PEER_NUMBER) {
      if (frame?.type === "ping") this.#onQuestion(frame, message.reply);
    } else if (number !== this.#number) {
      // An answer to another process.
    } else if (frame?.type === "reset") this.#onHolder("leaving");
    else if (frame?.type === "pong" && frame.sent >= this.#rival) {
      this.#onHolder("held");
    }
  }

  /** This process is about to stop: those who wait may have the ID once it is gone. */
  leave(): void {
    this.#leaving = true;
    for (const one of this.#waiting) this.#sayLeaving(...one);
  }

  /** Asks and answers nothing more. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#held = undefined;
  }

  /** How good this claim is: 0 for none, else more for each ms for which the ID is held. */
  get #standing(): number {
    if (this.#held === undefined) return 0;
    const age = this.#options.clock.now() - this.#held.since;
    return age < SAME_TIME_MS ? 1 : Math.floor(age);
  }

  /** What another has to have that is to have the ID: the more was asked with, if its answer cannot be an old one. */
  get #rival(): number {
    return this.#seal === undefined ? this.#standing : this.#asserted;
  }

  async #untilFree(stop: AbortSignal, wait: boolean): Promise<void> {
    const { clock, times } = this.#options;
    /** Since when nobody has answered. */
    let absentSince: number | undefined;
    let left = false;
    for (;;) {
      stop.throwIfAborted();
      const answer = await this.#ask(ANSWER_MS);
      stop.throwIfAborted();
      switch (answer) {
        case "refused":
          return;
        case "held":
        case "leaving":
          if (!wait) throw this.#taken();
          left = answer === "leaving";
          absentSince = undefined;
          this.#contest();
          break;
        case "down":
          // Whoever goes on finds that out, and says why.
          if (this.#ended) return;
          absentSince = undefined;
          break;
        default: {
          // One that was there may come back, as long as its tunnels wait for it.
          const patience = answer === "nobody"
            ? this.#contested && !left ? times.peerTimeout : 0
            : this.#contested
            ? times.resumeTimeout
            : SILENCE_MS;
          absentSince ??= clock.now();
          if (clock.now() - absentSince >= patience) return;
        }
      }
      if (answer === "silent" && !this.#contested) continue;
      // Half to one and a half of it: two that wait do not take over as one.
      const pause = (0.5 + Math.random()) * (left ? ANSWER_MS : PAUSE_MS);
      if (await this.#wait(pause) === "leaving") left = true;
    }
  }

  #taken(): RunError {
    return new RunError(
      `--client-id ${this.#options.token} is used by another process: give this one an ID of its own, or none (--client-id=)`,
    );
  }

  /** Asks who holds the ID, and waits for an answer. */
  async #ask(patience: number): Promise<Answer> {
    const { bus } = this.#options;
    const answer = this.#wait(patience);
    const subject = this.#subject(PEER_NUMBER);
    const reply = this.#subject(this.#number);
    const id = ++this.#questions;
    const sent = this.#asserted = this.#standing;
    try {
      this.#permitted = await bus.mayPublish(
        subject,
        this.#encode(subject, reply, {
          type: "ping",
          id,
          sent,
          ack: 0,
          limit: 0,
          // Older versions answer nothing to such a one.
          resumed: true,
        }),
        {
          reply,
          lane: "control",
        },
      );
    } catch (error) {
      const why = messageOf(error);
      this.#log.debug("lost while another process was asked after", { why });
      return "down";
    }
    if (this.#permitted) return await answer;
    if (!this.#saidRefused) {
      this.#saidRefused = true;
      this.#log.info(
        "it is not known whether another process uses the same --client-id: NATS refuses the question",
        { subject },
      );
    }
    return "refused";
  }

  /** The next answer, within `patience` ms. */
  async #wait(patience: number): Promise<Answer> {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#onAnswer = resolve;
    using _timer = this.#options.clock.after(patience, () => resolve("silent"));
    return await promise;
  }

  /** Another process asks who holds the ID. */
  #onQuestion(
    { id, sent }: Frame & { readonly type: "ping" },
    reply: string,
  ): void {
    const { subjects, token } = this.#options;
    const asker = parseId(subjects.idOf("client", reply) ?? "");
    if (
      this.#held === undefined || asker?.client !== token ||
      asker.server !== HOLD_TOKEN || asker.number === this.#number
    ) return;
    const { number } = asker;
    const own = this.#standing;
    if (sent > own || sent === own && number < this.#number) {
      // Under a seal it may have been recorded: who is there will answer.
      if (this.#seal === undefined) this.#giveWay();
      else this.#doubt();
      return;
    }
    if (this.#waiting.size >= MAX_WAITING) this.#waiting.clear();
    this.#waiting.set(number, id);
    if (this.#leaving) this.#sayLeaving(number, id);
    else {
      this.#send(number, id, {
        type: "pong",
        id,
        sent: own,
        ack: 0,
        limit: 0,
        hold: false,
      });
    }
  }

  /** Another process has the ID, also if it says so late. */
  #onHolder(answer: "held" | "leaving"): void {
    if (this.#held === undefined) this.#onAnswer?.(answer);
    else this.#giveWay();
  }

  /** Asks whether another process holds the ID, anew if that is just being asked. */
  #doubt(): void {
    this.#doubted = true;
    if (this.#permitted) void this.check();
  }

  #giveWay(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#deferred = [];
    this.#contest();
    held.loss.abort();
  }

  #contest(): void {
    if (this.#contested) return;
    this.#contested = true;
    this.#log.warn(`${this.objection}: this one waits until that has ended`);
  }

  #onLink(event: LinkEvent): void {
    const now = this.#options.clock.now();
    if (event.type === "down") this.#downSince = now;
    if (event.type === "closed") this.#ended = true;
    const held = this.#held;
    if (event.type !== "up" || held === undefined) return;
    // By then others may take the ID over.
    if (now - this.#downSince > this.#options.times.peerTimeout) {
      held.since = now;
    }
    // Another connection may have other rules.
    this.#permitted = true;
    this.#doubt();
  }

  #sayLeaving(number: number, question: number): void {
    this.#send(number, question, {
      type: "reset",
      code: "shutdown",
      text: "the process that holds this client ID is about to stop",
    });
  }

  /** Answers a question of the process with this number. */
  #send(number: number, question: number, frame: Frame): void {
    const subject = this.#subject(number);
    const message = this.#encode(subject, question, frame);
    this.#options.bus.publish(subject, message, { lane: "control" });
  }

  #encode(subject: string, about: string | number, frame: Frame): Encodable {
    const plain = binaryCodec.encode("", frame);
    return this.#seal?.seal(plain, { subject, about }) ?? plain;
  }

  /** The frame that came for `number`; undefined where it is not of somebody who has the key, and speaks of now. */
  #opened(
    number: number,
    { data, reply }: BusMessage,
  ): Uint8Array | undefined {
    if (this.#seal === undefined) return data;
    const subject = this.#subject(number);
    const about = number === PEER_NUMBER ? reply : this.#questions;
    return this.#seal.open(data, { subject, about });
  }

  #subject(number: number): string {
    const { subjects, token } = this.#options;
    return subjects.data(
      "client",
      formatId({ client: token, server: HOLD_TOKEN, number }),
    );
  }
}
