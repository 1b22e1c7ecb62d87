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

/** Causes told apart at a time: beyond that, as when a text varies, all others count as one. */
const MAX_CAUSES = 64;

/** What stands for the causes that are not told apart. */
const OTHERS = "";

/** Tells of something that has happened so often since it was last told. */
export type TellRepeats = (count: number) => void;

/** One cause in the interval since it was last told. */
interface Known {
  count: number;
  tell: TellRepeats;
  timer: Disposable;
}

/** Events that repeat, by their causes. */
export class Repeats implements Disposable {
  readonly #clock: Pick<Clock, "after">;
  readonly #interval: number;
  readonly #known = new Map<string, Known>();

  /** Nothing has happened; of each cause is told at most every `interval` ms. */
  constructor(clock: Pick<Clock, "after">, interval: number = REPEAT_MS) {
    this.#clock = clock;
    this.#interval = interval;
  }

  /** It happened for `cause`: calls `tell` now, or later with how often it was; of several the last. */
  note(cause: string, tell: TellRepeats): void {
    const isTold = this.#known.has(cause) || this.#known.size < MAX_CAUSES;
    const key = isTold ? cause : OTHERS;
    const known = this.#known.get(key);
    if (known !== undefined) {
      known.count++;
      known.tell = tell;
      return;
    }
    this.#known.set(key, { count: 0, tell, timer: this.#watch(key) });
    tell(1);
  }

  /** It is over: what was not told yet is told now, and what comes next is the first again. */
  clear(): void {
    const all = [...this.#known.values()];
    this.#known.clear();
    for (const { timer } of all) timer[Symbol.dispose]();
    for (const { count, tell } of all) if (count > 0) tell(count);
  }

  /** The same; nobody calls it afterwards. */
  [Symbol.dispose](): void {
    this.clear();
  }

  #watch(key: string): Disposable {
    return this.#clock.after(this.#interval, () => this.#over(key));
  }

  /** An interval is over: a cause that did not come again is forgotten. */
  #over(key: string): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    const { count, tell } = known;
    if (count === 0) {
      this.#known.delete(key);
      return;
    }
    known.count = 0;
    known.timer = this.#watch(key);
    tell(count);
  }
}
