/**
 * One tunnel with a peer that speaks version 1, as seen from our end.
 *
 * That peer has no offsets, no credit and no end of stream. It subscribes to
 * the tunnel's subject some time after the open, drops what comes when 100
 * messages wait, and reads at most 32 KiB of each. So this end asks NATS
 * itself whether the peer listens yet, sends pieces it can read, no faster
 * than a set rate, and cuts the tunnel where bytes may have been lost. Pure,
 * and driven as `TunnelState` is.
 *
 * | the peer | what happens here |
 * | --- | --- |
 * | does not listen yet | the application waits, unread; the peer is asked for |
 * | listens | bytes go both ways; now and then the peer is asked for |
 * | no longer listens | a client's close may follow its absence; then a cut |
 * | has closed | the application gets what came, then the end of stream |
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";
import { MAX_OFFSET } from "../wire/frame.ts";
import type { Message } from "../wire/message.ts";
import { PathEstimate } from "./rtt.ts";
import { ReceiveBuffer } from "./receive_buffer.ts";
import { IdleTimer } from "./idle_timer.ts";
import { localEnd, otherRole, type Role } from "../wire/subjects.ts";
import { LINGER_MS } from "./machine.ts";
import type { Outcome, Pause, TunnelOptions, TunnelStats } from "./types.ts";
import { type Stall, StallTimer } from "./stall.ts";
import { V1Pace } from "./v1_pace.ts";

/** First and longest pause between two questions whether the peer listens, in ms. */
const LISTEN_RETRY_MS = { first: 10, longest: 250 } as const;

/** How often an established tunnel is asked for, in ms: the peer's end is noticed so. */
const LISTEN_CHECK_MS = 2_000;

/**
 * After the local application has ended its stream the server cannot say when
 * its answer is complete: so long without a byte counts as that, in ms.
 */
const ANSWER_LINGER_MS = 10_000;

/**
 * The same where the application ended after it was answered and nothing came
 * since, in ms: most then want nothing more, and wait for us to close.
 */
const ANSWERED_LINGER_MS = 500;

/**
 * A client unsubscribes first and sends its close then, in the same breath:
 * how long the close may be behind, in ms.
 */
const CLOSE_GRACE_MS = 1_000;

/**
 * How long the application may take to end its side once it was told that
 * the peer has closed, in ms. What it still sends is thrown away: a socket
 * closed with bytes unread would take back what was just written to it.
 */
const DRAIN_MS = 30_000;

/** The warning that is logged once for each such peer. */
export const V1_WARNING =
  "peer speaks version 1: no end of stream, no flow control, no resume";

/** A message to send: bytes, the close, or the empty one that asks NATS whether anybody listens. */
export type V1Frame =
  | { readonly type: "data"; readonly payload: Uint8Array }
  | { readonly type: "close" }
  | { readonly type: "probe"; readonly id: number };

/** Options of a version 1 tunnel. */
export interface V1Options extends
  Pick<
    TunnelOptions,
    | "now"
    | "pool"
    | "sendBudget"
    | "receiveBudget"
    | "idleTimeout"
    | "halfCloseTimeout"
  > {
  /** Our own side of the tunnel. */
  readonly role: Role;
  /** Bytes a second sent to the peer. */
  readonly rate: number;
  /** Most bytes of data in one message. */
  readonly dataBytes: number;
  /** How long the peer may take to listen, in ms. */
  readonly listenTimeout: number;
}

/** The machine of one end of a version 1 tunnel. */
export class V1State {
  /** Version 1 acknowledges nothing. */
  readonly ack = 0;
  readonly #options: V1Options;
  readonly #in: ReceiveBuffer;
  #out: Uint8Array[] = [];
  #outHeld = 0;
  #bytesSent = 0;
  #outcome: Outcome | undefined;

  /** Whether NATS has said that the peer listens. */
  #listening = false;
  #probeId = 0;
  #probing = false;
  #probeAt: number;
  #probeDelay: number = LISTEN_RETRY_MS.first;

  /** The peer had the last word so far, if anybody had. */
  #answered = true;
  /** The application has ended its stream. */
  #localEnded = false;
  #lingerFor: number = ANSWER_LINGER_MS;
  #closeSent = false;
  /** The peer sends nothing more, and hears nothing. */
  #peerClosed = false;
  /** The application was told so. */
  #endPassed = false;
  #drainUntil = Infinity;
  /** The peer no longer listens, and has not said that it closed. */
  #gone: Reason | undefined;
  #closeBy = Infinity;
  #lingerUntil = Infinity;

  readonly #pace: V1Pace;
  readonly #idle: IdleTimer;
  /** When the application last took something. */
  readonly #here: StallTimer;

  /** A tunnel just opened; nothing is sent until the peer listens. */
  constructor(options: V1Options) {
    this.#options = options;
    this.#in = new ReceiveBuffer({
      ...options,
      budget: options.receiveBudget,
      path: new PathEstimate(),
      window: MAX_OFFSET,
      maxWindow: MAX_OFFSET,
    });
    this.#pace = new V1Pace(options);
    this.#idle = new IdleTimer(options);
    this.#here = new StallTimer(options.now);
    this.#probeAt = options.now;
  }

  /** How the tunnel ended; undefined while it has not. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** Counters. */
  get stats(): TunnelStats {
    return {
      bytesSent: this.#bytesSent,
      bytesReceived: this.#in.received,
      replays: 0,
      gaps: 0,
    };
  }

  /** Bytes held for sending and bytes held for writing. */
  get held(): { readonly send: number; readonly receive: number } {
    return { send: this.#outHeld, receive: this.#in.held };
  }

  /** Whether the application takes nothing; of the peer's, version 1 does not tell. */
  get stall(): Stall | undefined {
    const { stalled, since } = this.#here;
    const waiting = this.#in.held;
    return stalled
      ? { side: "here", since, waiting, certain: true }
      : undefined;
  }

  /** Whether one direction has ended. */
  get halfClosed(): boolean {
    return this.#localEnded || this.#peerClosed;
  }

  /** Whether the peer is not heard to listen. */
  get silent(): boolean {
    return !this.#listening;
  }

  /** How many bytes may be read from the application now. */
  get readAllowance(): number {
    if (this.#outcome !== undefined || this.#localEnded) return 0;
    const { dataBytes } = this.#options;
    if (this.#peerUnreachable) return dataBytes; // to be thrown away
    return this.#listening && this.#out.length === 0 && this.#pace.open
      ? dataBytes
      : 0;
  }

  /** Why the application may not be read now; undefined where it may, or has nothing more to say. */
  get pause(): Pause | undefined {
    return this.#outcome !== undefined || this.#localEnded ||
        this.readAllowance > 0
      ? undefined
      : "pace";
  }

  /** Version 1 is not told how much it may send. */
  get window(): number {
    return 0;
  }

  /** Whether the application is to be told that the stream has ended. */
  get endDue(): boolean {
    return this.#peerClosed && !this.#endPassed && this.#in.held === 0 &&
      this.#outcome === undefined;
  }

  /** When {@linkcode V1State.tick} is to be called at the latest. */
  get nextTimeout(): number {
    if (this.#outcome !== undefined) return Infinity;
    return Math.min(
      this.#probing || this.#peerUnreachable ? Infinity : this.#probeAt,
      this.#listenBy,
      this.#goneUntil,
      this.#drainUntil,
      this.#quietUntil,
      this.#in.held > 0 ? this.#here.dueAt : Infinity,
      this.#pace.opensAt,
    );
  }

  // Events

  /** The application sent `chunk`. */
  read(chunk: Uint8Array, now: number): void {
    const { dataBytes, sendBudget, pool } = this.#options;
    if (
      this.#peerUnreachable || this.#localEnded || this.#outcome !== undefined
    ) {
      pool.release(chunk);
      return;
    }
    this.#idle.moved(now);
    this.#answered = false;
    for (let at = 0; at < chunk.length; at += dataBytes) {
      this.#out.push(chunk.subarray(at, at + dataBytes));
    }
    this.#outHeld += chunk.length;
    this.#bytesSent += chunk.length;
    sendBudget.reserve(chunk.length);
  }

  /** The application ended its stream. */
  readEnd(now: number): void {
    this.#idle.moved(now);
    this.#localEnded = true;
    if (this.#answered) this.#lingerFor = ANSWERED_LINGER_MS;
    if (this.#endPassed) this.#end({ clean: true });
  }

  /** `chunk`, from `takeWritable`, was written to the application. */
  wrote(chunk: Uint8Array, now: number): void {
    this.#in.wrote(chunk);
    this.#idle.moved(now);
    this.#here.moved(now);
    if (this.#gone && now >= this.#goneUntil) this.abort(this.#gone);
  }

  /** The end of stream was passed to the application. */
  wroteEnd(now: number): void {
    this.#endPassed = true;
    if (this.#localEnded) this.#end({ clean: true });
    else this.#drainUntil = now + DRAIN_MS;
  }

  /** The local socket failed. */
  fail(reason: Reason): void {
    this.abort(reason);
  }

  /** Ends the tunnel; a server is told that it is closed. */
  abort(reason: Reason): void {
    this.#end({ clean: false, by: "local", reason });
  }

  /** The link to NATS is down: what was under way is lost, and nobody can tell what. */
  linkDown(): void {
    if (this.#peerClosed) return; // nothing was under way
    this.abort({
      code: "nats-down",
      text: "NATS was away, and a version 1 peer cannot resume",
    });
  }

  /** The link is back; what is left of this tunnel does not need it. */
  linkUp(): void {}

  /** A message came from the peer. */
  receive(message: Message, now: number): void {
    if (this.#outcome !== undefined || this.#peerClosed) return;
    const { data, metadata } = message;
    if (metadata?.type === "close") {
      this.#onClose(now);
      return;
    }
    if (metadata?.error === "true") {
      // An early version of the original takes data for requests now and then.
      this.abort({
        code: "protocol",
        text: `${this.#peer} answered data with an error, so bytes are lost`,
      });
      return;
    }
    if (data === null || data.length === 0) return;
    this.#idle.moved(now);
    this.#answered = true;
    this.#lingerFor = ANSWER_LINGER_MS;
    if (this.#in.held === 0) this.#here.moved(now);
    if (this.#in.accept(this.#in.received, data) !== "no-memory") return;
    this.abort({
      code: "limit",
      text: `${this.#peer}, which knows no flow control, sent faster than ${
        localEnd(this.#options.role)
      } reads: ${this.#in.held} bytes wait`,
    });
  }

  /** NATS says that nobody listens on the tunnel's subject. */
  noResponders(now: number): void {
    if (this.#outcome !== undefined || this.#peerUnreachable) return;
    this.#probing = false;
    if (!this.#listening) {
      this.#probeAt = now + this.#probeDelay;
      this.#probeDelay = Math.min(
        this.#probeDelay * 1.5,
        LISTEN_RETRY_MS.longest,
      );
      return;
    }
    if (this.#closeSent) {
      this.#onClose(now); // it heard the close, and that is its answer
      return;
    }
    const { role } = this.#options;
    this.#dropUnsent();
    this.#closeBy = role === "server" ? now + CLOSE_GRACE_MS : now;
    this.#lingerUntil = now + LINGER_MS;
    this.#gone = {
      code: "peer-gone",
      text: `${this.#peer} no longer listens`,
    };
    if (now >= this.#goneUntil) this.abort(this.#gone);
  }

  /** Everything up to probe `id` has passed the broker, and no "no responders" came back. */
  passed(id: number, now: number): void {
    if (id !== this.#probeId || !this.#probing) return;
    this.#probing = false;
    this.#listening = true;
    this.#probeAt = now + LISTEN_CHECK_MS;
  }

  /** Time has passed. */
  tick(now: number): void {
    if (this.#outcome !== undefined) return;
    this.#pace.refill(now);
    if (this.#in.held > 0) this.#here.tick(now);
    if (this.#gone !== undefined && now >= this.#goneUntil) {
      this.abort(this.#gone);
    } else if (now >= this.#listenBy) {
      this.abort({
        code: "timeout",
        text: this.#notListening,
      });
    } else if (now >= this.#drainUntil) this.#end({ clean: true });
    else if (now >= this.#quietUntil) this.#onQuiet(now);
  }

  // What follows

  /** The next message to send, or undefined; with `answersOnly` only the last. */
  pollFrame(now: number, answersOnly = false): V1Frame | undefined {
    if (this.#peerUnreachable) return undefined;
    if (this.#outcome !== undefined) return this.#pollClose(now);
    if (answersOnly) return undefined;
    if (!this.#probing && now >= this.#probeAt) {
      this.#probing = true;
      return { type: "probe", id: ++this.#probeId };
    }
    if (!this.#listening) return undefined;
    this.#pace.refill(now);
    const [payload] = this.#out;
    if (payload === undefined) {
      return this.#localEnded ? this.#pollClose(now) : undefined;
    }
    if (!this.#pace.open) return undefined;
    this.#out.shift();
    this.#outHeld -= payload.length;
    this.#options.sendBudget.release(payload.length);
    this.#pace.take(payload.length);
    return { type: "data", payload };
  }

  /** The next bytes to write to the application. */
  takeWritable(): Uint8Array | undefined {
    return this.#outcome === undefined ? this.#in.take() : undefined;
  }

  // Inside

  /** Whether nothing that is sent reaches the peer any more. */
  get #peerUnreachable(): boolean {
    return this.#peerClosed || this.#gone !== undefined;
  }

  /** What to call the process at the other end. */
  get #peer(): string {
    return `the version 1 ${otherRole(this.#options.role)}`;
  }

  get #notListening(): string {
    const { role, listenTimeout } = this.#options;
    const text = `${this.#peer} did not listen within ${listenTimeout} ms`;
    return role === "client"
      ? `${text} (--open-timeout); it may have failed to dial`
      : `${text} (--dial-timeout)`;
  }

  get #listenBy(): number {
    const { now, listenTimeout } = this.#options;
    return this.#listening || this.#peerUnreachable
      ? Infinity
      : now + listenTimeout;
  }

  /** When a peer that is gone without a close is given up. */
  get #goneUntil(): number {
    if (this.#gone === undefined) return Infinity;
    return this.#in.held === 0 ? this.#closeBy : this.#lingerUntil;
  }

  get #halfClosed(): boolean {
    return this.#localEnded || this.#peerClosed;
  }

  /** Whether the peer was told the end, and may still be answering. */
  get #lingering(): boolean {
    return this.#closeSent && !this.#peerClosed;
  }

  get #quietUntil(): number {
    if (this.#endPassed) return Infinity;
    const idle = this.#idle.endsAt(this.#halfClosed);
    return this.#lingering
      ? Math.min(idle, this.#idle.movedAt + this.#lingerFor)
      : idle;
  }

  /** A server is told of the end, though it takes no heed; a client has no ear for it. */
  #pollClose(now: number): V1Frame | undefined {
    if (this.#closeSent || this.#options.role === "server") return undefined;
    this.#closeSent = true;
    this.#idle.moved(now);
    return { type: "close" };
  }

  #onClose(now: number): void {
    this.#idle.moved(now);
    this.#peerClosed = true;
    this.#gone = undefined;
    this.#dropUnsent();
  }

  #onQuiet(now: number): void {
    if (this.#lingering) this.#onClose(now);
    else this.abort(this.#idle.reason(this.#halfClosed));
  }

  #dropUnsent(): void {
    this.#options.sendBudget.release(this.#outHeld);
    this.#outHeld = 0;
    this.#out = [];
  }

  #end(outcome: Outcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#dropUnsent();
    this.#in.discard();
  }
}
