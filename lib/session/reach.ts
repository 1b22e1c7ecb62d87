/**
 * Whether the broker lets this process speak to anybody at the other end at
 * all. A refusal on one subject proves little: a peer names subjects as it
 * likes. So after one the broker is asked about a subject that nobody named.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { backoffDelay } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, publishDenied, type Reason } from "../base/errors.ts";
import { GRANT_HINT } from "../nats/hints.ts";
import type { Bus, LinkEvent } from "../nats/bus.ts";
import { binaryCodec } from "../wire/binary.ts";
import { makeToken } from "../wire/subjects.ts";

/** Shortest time between two questions that refusals lead to, in ms: a peer can cause them as it likes. */
const ASK_PAUSE_MS = 1_000;

/** Waits before what was refused is asked again, in ms: rules change by hand. */
const ASK_AGAIN = { base: 1_000, cap: 30_000 } as const;

/**
 * Peers remembered as reached. One is enough where rules name single peers;
 * the first stay, so that none can push out another.
 */
const MAX_REACHED = 8;

/** A message that says nothing to whoever hears it: an ACK that speaks of no bytes. */
const NOTHING = binaryCodec.encode("", {
  type: "ack",
  ack: 0,
  limit: 0,
  gap: false,
});

/** Options of a reach. */
export interface ReachOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
  /** The subjects in question, as people write them: `p.data.to_client.>`. */
  readonly pattern: string;
  /** The one of them that speaks to the process of this token. */
  readonly subjectOf: (token: string) => string;
  /** What {@linkcode Reach.refusal} says has changed. */
  readonly onChange: () => void;
}

/** Watches refusals below a pattern, and finds out whether everything there is refused. */
export class Reach implements Disposable {
  readonly #options: ReachOptions;
  readonly #prefix: string;
  readonly #stop = new AbortController();
  readonly #log = getLogger(["sproxy", "nats"]);
  /** Peers to which something could be published. */
  readonly #reached = new Set<string>();
  #refusal: Reason | undefined;
  /** When it was found out. */
  #refusedAt = 0;
  #asking = false;
  #askedAt = -Infinity;
  #failures = 0;
  #timer: Disposable | undefined;

  /** Nothing is refused as far as is known. */
  constructor(options: ReachOptions) {
    this.#options = options;
    this.#prefix = options.pattern.replace(/>$/, "");
    options.bus.onLink((event) => this.#onLink(event), this.#stop.signal);
  }

  /** Why nobody can be reached; undefined when somebody can, as far as is known. */
  get refusal(): Reason | undefined {
    return this.#refusal;
  }

  /**
   * A peer gets its first message. If it can be reached, this process is not
   * mute, whatever is refused to others.
   */
  async meet(token: string): Promise<void> {
    if (this.#reached.size >= MAX_REACHED || this.#reached.has(token)) return;
    try {
      if (await this.#mayReach(token)) this.#reached.add(token);
    } catch (error) {
      this.#onLost(error);
    }
  }

  /** Asks no more. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#timer?.[Symbol.dispose]();
  }

  #onLink(event: LinkEvent): void {
    if (this.#refusal !== undefined) {
      if (event.type === "up") void this.#ask();
      return;
    }
    const now = this.#options.clock.now();
    if (
      event.type === "denied" && event.subject.startsWith(this.#prefix) &&
      now >= this.#askedAt + ASK_PAUSE_MS
    ) void this.#ask();
  }

  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#timer?.[Symbol.dispose]();
    this.#asking = true;
    this.#askedAt = this.#options.clock.now();
    try {
      const refused = !await this.#mayReachAny();
      if (!this.#stop.signal.aborted) this.#conclude(refused);
    } catch (error) {
      this.#onLost(error);
    } finally {
      this.#asking = false;
    }
  }

  #conclude(refused: boolean): void {
    const { clock, pattern, onChange } = this.#options;
    const before = this.#refusal !== undefined;
    this.#refusal = refused ? publishDenied(pattern) : undefined;
    if (refused !== before) {
      const now = clock.now();
      if (before) {
        const ms = Math.round(now - this.#refusedAt);
        this.#log.info("NATS takes our messages again", {
          subject: pattern,
          ms,
        });
      } else {
        this.#refusedAt = now;
        this.#log.error("NATS refuses all of our messages", {
          subject: pattern,
          hint: GRANT_HINT,
        });
      }
      onChange();
    }
    if (!refused) {
      this.#failures = 0;
      return;
    }
    const delay = backoffDelay(this.#failures++, {
      ...ASK_AGAIN,
      random: Math.random,
    });
    this.#timer = clock.after(delay, () => void this.#ask());
  }

  /** Lost while it was asked: the next link, or the next refusal, asks again. */
  #onLost(error: unknown): void {
    const why = messageOf(error);
    this.#log.debug("lost while NATS was asked what it takes", { why });
  }

  async #mayReachAny(): Promise<boolean> {
    const stranger = makeToken(this.#options.random);
    for (const token of [stranger, ...this.#reached]) {
      if (await this.#mayReach(token)) return true;
    }
    return false;
  }

  #mayReach(token: string): Promise<boolean> {
    const { bus, subjectOf } = this.#options;
    return bus.mayPublish(subjectOf(token), NOTHING);
  }
}
