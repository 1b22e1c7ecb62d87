/**
 * The log of opens that are refused: some lines for each client, and of a
 * flood its count.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import type { Reason } from "../base/errors.ts";
import { formatTarget, type Target } from "../base/target.ts";

/** How long refusals are counted before a line tells how many there were, in ms. */
const INTERVAL_MS = 5_000;

/** Lines of a client in that time: whoever tries something out sees each. */
const MAX_LINES = 20;

/** Clients counted apart at a time: beyond that all others are counted as one. */
const MAX_CLIENTS = 256;

/** The client that stands for all that are not counted apart. */
const OTHERS = "others";

/** An open that is refused. */
export interface Refusal {
  /** Who asked, as logs say it. */
  readonly client: string;
  /** Who it is counted with. */
  readonly payer: string;
  /** What was asked for; undefined where it was not read. */
  readonly target?: Target | undefined;
  /** Why it is refused. */
  readonly reason: Reason;
}

interface Count {
  lines: number;
  more: number;
}

/** Writes and counts refusals. */
export class RefusalLog implements Disposable {
  readonly #clock: Clock;
  readonly #onTold: (refusal: Refusal) => void;
  readonly #log = getLogger(["sproxy", "open"]);
  readonly #counts = new Map<string, Count>();
  #timer: Disposable | undefined;
  #ended = false;

  /** Nothing is refused yet; `onTold` has each that gets a line of its own. */
  constructor(clock: Clock, onTold: (refusal: Refusal) => void = () => {}) {
    this.#clock = clock;
    this.#onTold = onTold;
  }

  /** An open is refused. */
  note(refusal: Refusal): void {
    const { client, payer, target, reason } = refusal;
    const key = this.#counts.has(payer) || this.#counts.size < MAX_CLIENTS
      ? payer
      : OTHERS;
    const count = this.#counts.get(key) ?? { lines: 0, more: 0 };
    this.#counts.set(key, count);
    if (!this.#ended) {
      this.#timer ??= this.#clock.after(INTERVAL_MS, this.#tell);
    }
    if (count.lines >= MAX_LINES) {
      count.more++;
      return;
    }
    count.lines++;
    this.#onTold(refusal);
    this.#log.warn("open refused", {
      client,
      ...(target === undefined ? {} : { target: formatTarget(target) }),
      reason: reason.code,
      why: reason.text,
    });
  }

  /** Tells what was counted and not told, and counts no more over time. */
  [Symbol.dispose](): void {
    this.#ended = true;
    this.#timer?.[Symbol.dispose]();
    this.#tell();
  }

  readonly #tell = (): void => {
    this.#timer = undefined;
    for (const [client, { more }] of this.#counts) {
      if (more > 0) {
        this.#log.warn("more opens refused", { client, count: more });
      }
    }
    this.#counts.clear();
  };
}
