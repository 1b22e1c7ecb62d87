/**
 * The log of opens that are refused: of each client and cause the first, then
 * counts, and of a flood of causes one count.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import type { Reason } from "../base/errors.ts";
import { Repeats } from "../base/repeats.ts";
import { formatTarget, type Target } from "../base/target.ts";

/** Causes of one client that have lines of their own at a time: whoever tries something out sees each. */
const MAX_CAUSES = 20;

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
  /** Address of the application, as the client says it. */
  readonly source?: string | undefined;
  /** Why it is refused. */
  readonly reason: Reason;
}

/** Writes and counts refusals. */
export class RefusalLog implements Disposable {
  readonly #clock: Clock;
  readonly #onTold: (refusal: Refusal, at: number) => void;
  readonly #log = getLogger(["sproxy", "open"]);
  readonly #clients = new Map<string, Repeats>();
  #ended = false;

  /** Nothing is refused yet; `onTold` has each that gets a line of its own, and when it was refused, on the clock. */
  constructor(
    clock: Clock,
    onTold: (refusal: Refusal, at: number) => void = () => {},
  ) {
    this.#clock = clock;
    this.#onTold = onTold;
  }

  /** An open is refused. */
  note(refusal: Refusal): void {
    const { client, payer, target, source, reason } = refusal;
    const isTold = this.#clients.has(payer) || this.#clients.size < MAX_CLIENTS;
    const key = isTold ? payer : OTHERS;
    const asked = target && formatTarget(target);
    const { code, text } = reason;
    // Its line may come seconds later.
    const at = this.#clock.now();
    const cause = `${client} ${asked} ${code} ${text}`;
    this.#of(key).note(cause, (count, several) => {
      if (several) {
        this.#log.warn("more opens refused", { count, client: key });
        return;
      }
      this.#onTold(refusal, at);
      this.#log.warn("open refused", {
        ...(asked !== undefined && { target: asked }),
        reason: code,
        why: text,
        ...(count > 1 && { count }),
        client,
        ...(source !== undefined && { source }),
      });
    });
  }

  /** Tells what was counted and not told, and counts no more. */
  [Symbol.dispose](): void {
    this.#ended = true;
    const all = [...this.#clients.values()];
    this.#clients.clear();
    for (const repeats of all) repeats[Symbol.dispose]();
  }

  #of(key: string): Repeats {
    let repeats = this.#clients.get(key);
    if (repeats === undefined) {
      repeats = new Repeats(this.#clock, {
        most: MAX_CAUSES,
        onIdle: () => this.#clients.delete(key),
      });
      if (this.#ended) repeats[Symbol.dispose]();
      else this.#clients.set(key, repeats);
    }
    return repeats;
  }
}
