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
 * @module
 */
import type { BufferPool } from "./buffer_pool.ts";
import { type Reason, TunnelError } from "./errors.ts";
import { MAX_OFFSET } from "./frame.ts";
import type { MemoryBudget } from "./memory_budget.ts";
import type { Message } from "./message.ts";
import { PathEstimate } from "./path_estimate.ts";
import { ReceiveBuffer } from "./receive_buffer.ts";
import type { Role } from "./subjects.ts";
import { LINGER_MS } from "./tunnel_state.ts";
import type { Outcome, TunnelStats } from "./tunnel_types.ts";

/** Most bytes of data in one message: the original reads into 32 KiB and drops the rest. */
export const V1_MAX_DATA_BYTES = 32 * 1024;

/** Messages that may go in one burst: the original drops the 101st that waits. */
const BURST_MESSAGES = 64;

/** Bytes that may go in one burst: sixteen of the largest messages. */
const BURST_BYTES = 16 * V1_MAX_DATA_BYTES;

/**
 * Messages a second, however small: ten times what one request at a time
 * makes over a local broker, and a twentieth of what the original takes.
 */
const MESSAGES_PER_SECOND = 20_000;

/** First and longest pause between two questions whether the peer listens, in ms. */
const LISTEN_RETRY_MS = { first: 10, longest: 250 } as const;

/** How often an established tunnel is asked for, in ms: the peer's end is noticed so. */
const LISTEN_CHECK_MS = 2_000;

/**
 * After the local application has ended its stream the peer cannot say when
 * its answer is complete: so long without a byte counts as that, in ms.
 */
export const V1_LINGER_MS = 10_000;

/** What the log says once of each such peer. */
export const V1_WARNING =
  "peer speaks version 1: no end of stream, no flow control, no resume";

/** What goes out: bytes, the close, or the empty message that asks NATS whether anybody listens. */
export type V1Frame =
  | { readonly type: "data"; readonly payload: Uint8Array }
  | { readonly type: "close" }
  | { readonly type: "probe"; readonly id: number };

/** What a version 1 tunnel is made of. */
export interface V1Options {
  readonly now: number;
  /** Our own side of the tunnel. */
  readonly role: Role;
  readonly pool: BufferPool;
  readonly sendBudget: MemoryBudget;
  readonly receiveBudget: MemoryBudget;
  /** Bytes a second sent to the peer. */
  readonly rate: number;
  /** Most bytes of data in one message. */
  readonly dataBytes: number;
  /** How long the peer may take to listen, in ms. */
  readonly listenTimeout: number;
  /** In ms; 0 = never. */
  readonly idleTimeout: number;
  /** In ms; 0 = never. */
  readonly halfCloseTimeout: number;
}

/** The machine of one end of a version 1 tunnel. */
export class V1State {
  readonly #options: V1Options;
  readonly #in: ReceiveBuffer;
  #out: Uint8Array[] = [];
  #outHeld = 0;
  #bytesSent = 0;
  #outcome: Outcome | undefined;

  #listening = false;
  #probeId = 0;
  #probing = false;
  #probeAt: number;
  #probeDelay: number = LISTEN_RETRY_MS.first;

  #localEnded = false;
  #closeSent = false;
  #peerClosed = false;
  #ending: Reason | undefined;
  #lingerUntil = Infinity;

  #byteTokens = BURST_BYTES;
  #messageTokens = BURST_MESSAGES;
  #refilledAt: number;
  #activeAt: number;

  /** A tunnel just opened; nothing is sent until the peer listens. */
  constructor(options: V1Options) {
    this.#options = options;
    const { now, pool, receiveBudget } = options;
    this.#in = new ReceiveBuffer({
      pool,
      budget: receiveBudget,
      path: new PathEstimate(),
      window: MAX_OFFSET,
      maxWindow: MAX_OFFSET,
      now,
    });
    this.#probeAt = this.#refilledAt = this.#activeAt = now;
  }

  /** How the tunnel ended; undefined while it has not. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** Whether NATS has said that the peer listens. */
  get listening(): boolean {
    return this.#listening;
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

  /** How many bytes may be read from the application now. */
  get readAllowance(): number {
    const open = this.#listening && !this.#localEnded && !this.#stopping;
    const tokens = this.#byteTokens > 0 && this.#messageTokens >= 1;
    return open && tokens && this.#out.length === 0
      ? this.#options.dataBytes
      : 0;
  }

  /** Whether the application is to be told that the stream has ended. */
  get endDue(): boolean {
    return this.#peerClosed && this.#in.held === 0 && !this.#stopping;
  }

  /** When {@linkcode V1State.tick} is to be called at the latest. */
  get nextTimeout(): number {
    if (this.#outcome !== undefined) return Infinity;
    const { now, listenTimeout } = this.#options;
    return Math.min(
      this.#probing ? Infinity : this.#probeAt,
      this.#listening ? Infinity : now + listenTimeout,
      this.#lingerUntil,
      this.#quietUntil,
      this.#tokensAt,
    );
  }

  // Events

  /** The application sent `chunk`. */
  read(chunk: Uint8Array, now: number): void {
    this.#activeAt = now;
    const { dataBytes, sendBudget } = this.#options;
    for (let at = 0; at < chunk.length; at += dataBytes) {
      this.#out.push(chunk.subarray(at, at + dataBytes));
    }
    this.#outHeld += chunk.length;
    this.#bytesSent += chunk.length;
    sendBudget.reserve(chunk.length);
  }

  /** The application ended its stream. */
  readEnd(now: number): void {
    this.#activeAt = now;
    this.#localEnded = true;
  }

  /** `chunk`, from `takeWritable`, was written to the application. */
  wrote(chunk: Uint8Array, now: number): void {
    this.#in.wrote(chunk);
    this.#activeAt = now;
    if (this.#ending && this.#in.held === 0) this.#cut(this.#ending, "peer");
  }

  /** The end of stream was passed to the application. */
  wroteEnd(): void {
    this.#end({ clean: true });
  }

  /** The local socket failed. */
  fail(reason: Reason): void {
    this.abort(reason);
  }

  /** Ends the tunnel; the peer is told that it is closed. */
  abort(reason: Reason): void {
    this.#cut(reason, "local");
  }

  /** The link to NATS is down: what was under way is lost, and nobody can tell what. */
  linkDown(): void {
    this.abort({
      code: "nats-down",
      text: "NATS was away, and a version 1 peer cannot resume",
    });
  }

  /** The link is back; nothing of this tunnel is left to see it. */
  linkUp(): void {}

  /** A message came from the peer. */
  receive(message: Message, now: number): void {
    if (this.#stopping) return;
    this.#activeAt = now;
    if (message.metadata?.type === "close") {
      this.#peerClosed = true;
      return;
    }
    const { data } = message;
    if (data === null || data.length === 0 || this.#peerClosed) return;
    const accepted = this.#in.accept(this.#in.received, data);
    if (accepted !== "no-memory") return;
    this.abort(
      new TunnelError(
        "limit",
        `a version 1 peer, which knows no flow control, sent faster than the application reads: ${this.#in.held} bytes wait`,
      ),
    );
  }

  /** NATS says that nobody listens on the tunnel's subject. */
  noResponders(now: number): void {
    if (this.#stopping) return;
    this.#probing = false;
    if (!this.#listening) {
      this.#probeAt = now + this.#probeDelay;
      this.#probeDelay = Math.min(
        this.#probeDelay * 1.5,
        LISTEN_RETRY_MS.longest,
      );
      return;
    }
    const reason: Reason = {
      code: "peer-gone",
      text: "the version 1 peer no longer listens; its end has closed",
    };
    if (this.#in.held === 0) this.#cut(reason, "peer");
    else {
      this.#ending = reason;
      this.#lingerUntil = now + LINGER_MS;
    }
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
    const { now: openedAt, listenTimeout } = this.#options;
    this.#refill(now);
    if (now >= this.#lingerUntil && this.#ending) {
      this.#cut(this.#ending, "peer");
    } else if (!this.#listening && now >= openedAt + listenTimeout) {
      this.abort({
        code: "timeout",
        text:
          `the version 1 peer did not listen within ${listenTimeout} ms; it may have failed to dial`,
      });
    } else if (now >= this.#quietUntil) this.#onQuiet();
  }

  // What follows

  /** The next message to send, or undefined. */
  pollFrame(now: number, answersOnly = false): V1Frame | undefined {
    if (this.#outcome !== undefined || answersOnly) {
      return answersOnly ? undefined : this.#pollClose();
    }
    if (!this.#probing && now >= this.#probeAt && !this.#ending) {
      this.#probing = true;
      return { type: "probe", id: ++this.#probeId };
    }
    this.#refill(now);
    const [payload] = this.#out;
    if (payload === undefined) {
      return this.#localEnded && this.#listening
        ? this.#pollClose()
        : undefined;
    }
    if (this.#byteTokens <= 0 || this.#messageTokens < 1) return undefined;
    this.#out.shift();
    this.#outHeld -= payload.length;
    this.#options.sendBudget.release(payload.length);
    this.#byteTokens -= payload.length;
    this.#messageTokens--;
    return { type: "data", payload };
  }

  /** The next bytes to write to the application. */
  takeWritable(): Uint8Array | undefined {
    return this.#outcome === undefined ? this.#in.take() : undefined;
  }

  // Inside

  get #stopping(): boolean {
    return this.#outcome !== undefined || this.#ending !== undefined;
  }

  get #quietUntil(): number {
    const { idleTimeout, halfCloseTimeout, role } = this.#options;
    const limits = [
      idleTimeout,
      this.#localEnded ? halfCloseTimeout : 0,
      this.#closeSent && role === "client" ? V1_LINGER_MS : 0,
    ].filter((limit) => limit > 0);
    return this.#activeAt + Math.min(...limits, Infinity);
  }

  /** When sending may go on, if only the rate keeps it. */
  get #tokensAt(): number {
    if (this.#byteTokens > 0 && this.#messageTokens >= 1) return Infinity;
    const bytes = Math.max(0, 1 - this.#byteTokens) / this.#options.rate;
    const messages = Math.max(0, 1 - this.#messageTokens) /
      MESSAGES_PER_SECOND;
    return this.#refilledAt + Math.max(bytes, messages) * 1000;
  }

  #refill(now: number): void {
    const seconds = (now - this.#refilledAt) / 1000;
    this.#refilledAt = now;
    this.#byteTokens = Math.min(
      BURST_BYTES,
      this.#byteTokens + seconds * this.#options.rate,
    );
    this.#messageTokens = Math.min(
      BURST_MESSAGES,
      this.#messageTokens + seconds * MESSAGES_PER_SECOND,
    );
  }

  #pollClose(): V1Frame | undefined {
    if (this.#closeSent) return undefined;
    this.#closeSent = true;
    return { type: "close" };
  }

  #onQuiet(): void {
    const { idleTimeout, role } = this.#options;
    if (this.#closeSent && role === "client") {
      this.#end({ clean: true });
      return;
    }
    this.abort(
      this.#localEnded
        ? {
          code: "half-closed",
          text: "one direction has ended and no byte moved in the other",
        }
        : { code: "idle", text: `no byte moved for ${idleTimeout} ms` },
    );
  }

  #cut(reason: Reason, by: "local" | "peer"): void {
    this.#end({ clean: false, by, reason });
  }

  #end(outcome: Outcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#options.sendBudget.release(this.#outHeld);
    this.#outHeld = 0;
    this.#out = [];
    this.#in.discard();
  }
}
