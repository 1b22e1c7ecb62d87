/**
 * When to ask the peer where it stands, and what its answer means.
 *
 * @module
 */
import { MAX_PING_ID } from "../wire/frame.ts";
import type { PathEstimate } from "./rtt.ts";

/** First wait for an acknowledgement before asking, in ms: above any sane round trip in a site. */
export const PROBE_MIN_MS = 250;

/** Longest wait between two questions, in ms. */
export const PROBE_MAX_MS = 5_000;

/**
 * Time between two questions about a tunnel at rest, in ms: a RESET that was
 * lost on the way, with no link cut to hint at it, is noticed after so long.
 * Ten thousand tunnels at rest cost each end 33 questions a second.
 */
export const REST_PROBE_MS = 5 * 60_000;

/** Into how many parts the rest probes of tunnels opened one after the other are spread. */
const REST_PARTS = 64;

/**
 * {@linkcode REST_PROBE_MS} for tunnel `number`, a quarter more or less: many
 * that were opened in one second are not to ask in one second.
 */
export function restProbeOf(number: number): number {
  const part = (number % REST_PARTS) / (REST_PARTS - 1);
  return REST_PROBE_MS * (0.75 + part / 2);
}

/** A probe waits at least this many round trips. */
const PROBE_ROUND_TRIPS = 4;

/**
 * The probe timer of one tunnel. A question goes out when acknowledgements
 * stop moving, again and again with growing waits, and at once after the link
 * was down. Then the tunnel is *resuming*: nothing new is sent, and missing
 * bytes are not asked for, until the peer has said where it stands.
 */
export class ProbeTimer {
  readonly #path: PathEstimate;
  readonly #rest: number;
  #due = false;
  /** Whether a question was asked again before it was answered. */
  #unanswered = false;
  #resuming = false;
  #id = 0;
  /** What the answer to the last question is held against; -1 while none is awaited. */
  #sent = -1;
  #askedAt = 0;
  #rewoundAt = -Infinity;
  #at = Infinity;
  #delay = PROBE_MIN_MS;

  /** A prober at rest, for a tunnel over `path`; at rest it asks every `rest` ms. */
  constructor(path: PathEstimate, now: number, rest: number = REST_PROBE_MS) {
    this.#path = path;
    this.#rest = rest;
    this.rest(now);
  }

  /** When the next question is due by time. */
  get at(): number {
    return this.#at;
  }

  /** Whether a PING is to go now. */
  get due(): boolean {
    return this.#due;
  }

  /** Whether an answer is awaited, or the question still to go. */
  get asking(): boolean {
    return this.#due || this.#sent >= 0;
  }

  /** Whether the peer has answered in time, since the link was up again, too. */
  get reached(): boolean {
    return !this.#unanswered && !this.#resuming;
  }

  /** Whether a question was asked again before it was answered, over a link that stayed. */
  get unanswered(): boolean {
    return this.#unanswered && !this.#resuming;
  }

  /** Whether the peer's position is unknown since the link was down. */
  get resuming(): boolean {
    return this.#resuming;
  }

  /** Something more awaits an answer; what does already is not put off. */
  arm(now: number): void {
    this.#at = Math.min(this.#at, now + this.#delay);
  }

  /** There was an answer and more is awaited: ask if that does not come in time. */
  rearm(now: number): void {
    this.#at = now + this.#delay;
  }

  /** Something awaits an answer that may well be long in coming. */
  armSlowly(now: number): void {
    this.#at = now + PROBE_MAX_MS;
  }

  /** Nothing is awaited; ask now and then whether the tunnel is still known. */
  rest(now: number): void {
    this.#at = now + this.#rest;
    this.progress();
  }

  /** Acknowledgements move: waits are short again. */
  progress(): void {
    const wanted = this.#path.minRtt * PROBE_ROUND_TRIPS;
    this.#delay = Math.min(PROBE_MAX_MS, Math.max(PROBE_MIN_MS, wanted));
  }

  /** Asks at once. */
  ask(now: number): void {
    this.#due = true;
    this.rearm(now);
  }

  /** The link is back: asks at once, and nothing else goes before the answer. */
  resume(now: number): void {
    this.#resuming = true;
    this.#sent = -1; // an answer from before says nothing about now
    this.progress();
    this.ask(now);
  }

  /** Asks if the time for it has come; the next wait is twice as long. */
  tick(now: number): void {
    if (now < this.#at) return;
    this.#delay = Math.min(this.#delay * 2, PROBE_MAX_MS);
    if (this.asking) this.#unanswered = true;
    this.ask(now);
  }

  /** The PING that is due goes out now, after everything below `sent`. */
  next(
    sent: number,
    now: number,
  ): { readonly id: number; readonly resumed: boolean } {
    this.#due = false;
    this.#askedAt = now;
    this.#id = (this.#id + 1) % MAX_PING_ID;
    this.#sent = sent;
    return { id: this.#id, resumed: this.#resuming };
  }

  /**
   * A PONG came.
   *
   * @returns the offset up to which everything was sent before its PING, and
   * not again since; -1 when it answers no question, or one already answered.
   */
  answered(id: number, now: number): number {
    if (id !== this.#id || this.#sent < 0) return -1;
    const sent = this.#sent;
    this.#path.atMost(now - this.#askedAt);
    this.#sent = -1;
    this.#unanswered = this.#resuming = false;
    return sent;
  }

  /** Everything from `offset` on is sent again: the answer to come is of before. */
  rewound(offset: number, now: number): void {
    if (offset < this.#sent) this.#sent = offset;
    this.#rewoundAt = now;
  }

  /**
   * Whether a frame that comes at `now` was sent before any of what was sent
   * again last can have arrived: not a round trip ago (as in RACK, RFC 8985).
   */
  crossed(now: number): boolean {
    return now < this.#rewoundAt + this.#path.minRtt;
  }

  /** The peer itself has resumed and said where it stands. */
  peerResumed(): void {
    this.#resuming = false;
  }
}
