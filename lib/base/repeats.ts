/**
 * When to tell of what happens again and again, such as attempts that fail: the
 * first time at once, then when its cause is another one, and of the same cause
 * a line each interval with how often it was. What is not told at once is told
 * when the interval is over, so that no count is lost.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/** Time between two lines about the same, in ms: whoever watches sees that it goes on, and a day of it is no flood. */
export const REPEAT_MS = 10_000;

/** Causes told apart at a time, by default: beyond that, as when a text varies, all others count as one. */
const MAX_CAUSES = 64;

/** What stands for the causes that are not told apart. */
const OTHERS = Symbol("others");

/**
 * Tells of something that has happened so often since it was last told;
 * `several` of causes that are too many to be told apart, of which it knows the last.
 */
export type TellRepeats = (count: number, several: boolean) => void;

/** What may be set. */
export interface RepeatsOptions {
  /** Time between two lines about the same, in ms. */
  readonly interval?: number;
  /** Causes told apart at a time. */
  readonly most?: number;
  /** Nothing is left to be told, and no cause is remembered. */
  readonly onIdle?: () => void;
}

/** One cause in the interval since it was last told. */
interface Known {
  count: number;
  tell: TellRepeats;
  timer: Disposable;
}

/** Events that repeat, by their causes. */
export class Repeats implements Disposable {
  readonly #clock: Pick<Clock, "after">;
  readonly #options: RepeatsOptions;
  readonly #known = new Map<string | typeof OTHERS, Known>();
  #ended = false;

  /** Nothing has happened; of each cause is told at most once in an interval. */
  constructor(clock: Pick<Clock, "after">, options: RepeatsOptions = {}) {
    this.#clock = clock;
    this.#options = options;
  }

  /** It happened for `cause`: calls `tell` now, or later with how often it was; of several the last. */
  note(cause: string, tell: TellRepeats): void {
    if (this.#ended) {
      tell(1, false);
      return;
    }
    const { most = MAX_CAUSES } = this.#options;
    const isTold = this.#known.has(cause) || this.#known.size < most;
    const key = isTold ? cause : OTHERS;
    const known = this.#known.get(key);
    if (known !== undefined) {
      known.count++;
      known.tell = tell;
      return;
    }
    this.#known.set(key, { count: 0, tell, timer: this.#watch(key) });
    tell(1, key === OTHERS);
  }

  /** It is over: what was not told yet is told now, and what comes next is the first again. */
  clear(): void {
    const all = [...this.#known];
    this.#known.clear();
    for (const [, { timer }] of all) timer[Symbol.dispose]();
    for (const [key, { count, tell }] of all) {
      if (count > 0) tell(count, key === OTHERS);
    }
  }

  /** The same; what still comes is told without being counted. */
  [Symbol.dispose](): void {
    this.#ended = true;
    this.clear();
  }

  #watch(key: string | typeof OTHERS): Disposable {
    const { interval = REPEAT_MS } = this.#options;
    return this.#clock.after(interval, () => this.#over(key));
  }

  /** An interval is over: a cause that did not come again is forgotten. */
  #over(key: string | typeof OTHERS): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    const { count, tell } = known;
    if (count === 0) {
      this.#known.delete(key);
      if (this.#known.size === 0) this.#options.onIdle?.();
      return;
    }
    known.count = 0;
    known.timer = this.#watch(key);
    tell(count, key === OTHERS);
  }
}
