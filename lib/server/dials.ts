/**
 * The dials under way, and who asked for them: when there is no room for one
 * more, whoever has most of them gives one up.
 *
 * @module
 */
import type { DurationHistogram } from "../base/histogram.ts";
import type { Clock } from "../base/clock.ts";
import { TunnelError } from "../base/errors.ts";
import type { Outcomes } from "../session/counters.ts";

/** Why a dial is given up that others need the room of. */
const CROWDED_OUT = new TunnelError(
  "limit",
  "the dial was given up for an open of a client with fewer of them under way (--max-opening)",
);

/** A dial under way. */
export interface Dial extends Disposable {
  /** Aborts when it is given up, with the reason for the client. */
  readonly signal: AbortSignal;
  /** It has led to a connection; otherwise it counts as failed at its end. */
  succeeded(): void;
}

/** What dials are timed with. */
export interface DialsOptions {
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Where it is counted how long they took. */
  readonly times: Outcomes;
}

/** All dials under way of a server. */
export class Dials {
  readonly #options: DialsOptions;
  readonly #keys = new Set<string>();
  /** Those of each payer, the oldest first. */
  readonly #byPayer = new Map<string, Map<string, AbortController>>();

  /** None is under way. */
  constructor(options: DialsOptions) {
    this.#options = options;
  }

  /** How many are under way. */
  get size(): number {
    return this.#keys.size;
  }

  /** Whether the dial for the tunnel of this ID is under way. */
  has(id: string): boolean {
    return this.#keys.has(id);
  }

  /** How many of them this payer has asked for. */
  countOf(payer: string): number {
    return this.#byPayer.get(payer)?.size ?? 0;
  }

  /** The dial for tunnel `id` begins; dispose of it at its end. */
  begin(id: string, payer: string): Dial {
    const controller = new AbortController();
    const dials = this.#byPayer.get(payer) ?? new Map();
    this.#byPayer.set(payer, dials.set(id, controller));
    this.#keys.add(id);
    const { clock, times } = this.#options;
    const begun = clock.now();
    let time: DurationHistogram | undefined = times.failed;
    return {
      signal: controller.signal,
      succeeded: () => time = times.ok,
      [Symbol.dispose]: () => {
        time?.observe(clock.now() - begun);
        time = undefined;
        this.#end(id, payer);
      },
    };
  }

  /**
   * Gives up the oldest dial of the payer with most of them, if that leaves it
   * no fewer than `payer` then has.
   *
   * @returns whether one was given up.
   */
  makeRoom(payer: string): boolean {
    let most = "";
    for (const [each, dials] of this.#byPayer) {
      if (dials.size > this.countOf(most)) most = each;
    }
    if (this.countOf(most) <= this.countOf(payer) + 1) return false;
    const [oldest] = this.#byPayer.get(most) ?? [];
    if (oldest === undefined) return false;
    const [id, controller] = oldest;
    this.#end(id, most);
    controller.abort(CROWDED_OUT);
    return true;
  }

  /** Gives all of them up. */
  abort(reason: TunnelError): void {
    const all = [...this.#byPayer.values()].flatMap((dials) => [
      ...dials.values(),
    ]);
    this.#keys.clear();
    this.#byPayer.clear();
    for (const controller of all) controller.abort(reason);
  }

  #end(id: string, payer: string): void {
    const dials = this.#byPayer.get(payer);
    if (dials?.delete(id) !== true) return;
    if (dials.size === 0) this.#byPayer.delete(payer);
    this.#keys.delete(id);
  }
}
