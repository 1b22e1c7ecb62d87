/**
 * Those who follow the status: each second, for as long as there are any, the
 * process is looked at once, and each is sent what came of it, in his form.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { Snapshot } from "../status/snapshot.ts";
import type { HttpStream } from "./http.ts";

/** Time between two looks, in ms. */
const EVERY_MS = 1_000;

/** How a snapshot is written for somebody. */
export type Form = (snapshot: Snapshot) => string;

/** One who follows. */
interface Follower {
  readonly form: Form;
  /** Whether he still may. */
  readonly may: () => boolean;
}

/** All who follow. */
export class Followers {
  readonly #clock: Clock;
  readonly #look: () => Promise<Snapshot>;
  readonly #onError: (error: unknown) => void;
  readonly #streams = new Map<HttpStream, Follower>();
  #isLooking = false;
  /** The next look; undefined while nobody follows, or during one. */
  #next: Disposable | undefined;

  /** Nobody follows yet; `look` is asked while somebody does. */
  constructor({ clock, look, onError }: {
    readonly clock: Clock;
    readonly look: () => Promise<Snapshot>;
    readonly onError: (error: unknown) => void;
  }) {
    this.#clock = clock;
    this.#look = look;
    this.#onError = onError;
  }

  /** How many there are. */
  get size(): number {
    return this.#streams.size;
  }

  /** Sends `stream` what is seen, until it ends or may not have it any more; one that has not read the last is left out. */
  add(stream: HttpStream, follower: Follower): void {
    this.#streams.set(stream, follower);
    stream.ended.addEventListener("abort", () => {
      this.#streams.delete(stream);
      if (this.#streams.size === 0) this.#pause();
    });
    if (this.#next === undefined && !this.#isLooking) void this.#run();
  }

  #pause(): void {
    this.#next?.[Symbol.dispose]();
    this.#next = undefined;
  }

  async #run(): Promise<void> {
    this.#pause();
    this.#isLooking = true;
    const begun = this.#clock.now();
    await this.#tell();
    this.#isLooking = false;
    if (this.#streams.size === 0) return;
    const pause = EVERY_MS - (this.#clock.now() - begun);
    this.#next = this.#clock.after(
      Math.max(0, pause),
      () => void this.#run(),
    );
  }

  /** Looks once, and tells all; it never throws. */
  async #tell(): Promise<void> {
    try {
      const snapshot = await this.#look();
      const events = new Map<Form, string>();
      for (const [stream, { form, may }] of this.#streams) {
        if (!may()) {
          stream.close();
          continue;
        }
        const event = events.get(form) ?? `data: ${form(snapshot)}\n\n`;
        events.set(form, event);
        stream.send(event);
      }
    } catch (error) {
      this.#onError(error);
    }
  }
}
