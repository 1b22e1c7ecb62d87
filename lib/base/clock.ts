/**
 * The port to time. The core takes `now` as an argument; the shell asks here,
 * so that tests can own the time.
 *
 * @module
 */

/** A source of time and the one way to be woken later. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; only differences mean anything. */
  now(): number;
  /** Milliseconds since 1970, which other machines know, too; it may be set and go back. */
  wallTime(): number;
  /** Calls `callback` once, `delay` ms from now; dispose to cancel. */
  after(delay: number, callback: () => void): Disposable;
}

/** The real clock. Its timers do not keep the process alive. */
export const systemClock: Clock = realClock(Deno.unrefTimer);

/** The same, for what a process is to stay alive for: its timers see to that. */
export const wakefulClock: Clock = realClock(() => {});

/** The real time; `adapt` is told of each timer. */
function realClock(
  adapt: (timer: ReturnType<typeof setTimeout>) => void,
): Clock {
  return {
    now: () => performance.now(),
    wallTime: () => Date.now(),
    after(delay: number, callback: () => void): Disposable {
      const timer = setTimeout(callback, delay);
      adapt(timer);
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
  };
}
