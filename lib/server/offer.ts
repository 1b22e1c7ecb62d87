/**
 * One service of a server: it is tried now and then, and heard on a subject of
 * its own for as long as it is in order.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { Deadline } from "../base/abort.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, type Reason, TunnelError } from "../base/errors.ts";
import { formatPlace } from "../base/place.ts";
import type { CheckTimes, Service } from "../base/service.ts";
import { Repeats } from "../base/repeats.ts";
import type { Bus, BusSubscription, MessageHandler } from "../nats/bus.ts";
import type { Random } from "../seal/open.ts";
import type { Subjects } from "../wire/subjects.ts";
import { ServiceHealth } from "./service_health.ts";

/** How far the time between checks may be from what it is to be: many servers then do not try one target at once. */
const JITTER = 0.1;

/**
 * Time between two lines about checks that fail for the same reason, in ms: they
 * come every 10 s unless configured, and one line for each would be no count.
 */
const FAILURE_LINE_MS = 60_000;

/** What offering a service takes. */
export interface OfferOptions {
  /** Where opens come from. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** The place that the server answers for; undefined for none. */
  readonly site?: string | undefined;
  /** Queue group of its subject. */
  readonly queueGroup: string;
  /** Takes what comes on its subject. */
  readonly onRequest: MessageHandler;
  /**
   * Tries its target.
   *
   * @throws {TunnelError} saying why it cannot be reached.
   * @throws the reason of `signal` when it aborts.
   */
  readonly check: (service: Service, signal: AbortSignal) => Promise<void>;
  /** Fills with bytes. */
  readonly random: Random;
}

/** One service: its checks, and where opens for it come from. */
export class Offer implements Disposable {
  /** The service. */
  readonly service: Service;
  /** Where opens for it are heard. */
  readonly subject: string;
  readonly #options: OfferOptions;
  readonly #log = getLogger(["sproxy", "service"]);
  readonly #health: ServiceHealth;
  readonly #stop = new AbortController();
  #subscription: BusSubscription | undefined;
  #takesPart = false;
  #started = false;
  #next: Disposable | undefined;
  /** Checks that failed while it was out of order, and since when it is. */
  readonly #failures: Repeats;
  #downSince: number | undefined;

  /**
   * It is not offered yet. One that takes the place of another of its name goes
   * on as in order or not, until its first check ends: nothing is missed between.
   */
  constructor(service: Service, options: OfferOptions, before?: Offer) {
    const { subjects, site } = options;
    this.service = service;
    this.subject = subjects.requestPattern({ site, service: service.name });
    this.#health = new ServiceHealth({ presumed: before?.up === true });
    this.#options = options;
    this.#failures = new Repeats(options.clock, {
      interval: FAILURE_LINE_MS,
    });
  }

  /** Whether it is in order, as far as it is tried at all. */
  get up(): boolean {
    return this.service.check === undefined || this.#health.up;
  }

  /** Why its last check failed; undefined if it did not. */
  get why(): Reason | undefined {
    return this.#health.why;
  }

  /** Begins to try its target, if it is to be tried. */
  start(): void {
    const { check } = this.service;
    if (this.#started) return;
    this.#started = true;
    // Later: whoever makes the server has it by then, and may be asked.
    if (check !== undefined) queueMicrotask(() => void this.#try(check));
  }

  /** Whether opens for it are heard while it is in order. */
  takePart(takesPart: boolean): void {
    this.#takesPart = takesPart;
    if (!takesPart) {
      this.#subscription?.[Symbol.dispose]();
      this.#subscription = undefined;
    } else if (this.up) this.#join();
  }

  /** It is offered no more: what was asked already is answered. */
  end(): void {
    this.#halt();
    void this.#leave();
  }

  /** The same; resolves when no more opens can come. */
  async drain(): Promise<void> {
    this.#halt();
    await this.#leave();
  }

  /** It is offered no more, at once. */
  [Symbol.dispose](): void {
    this.#halt();
    this.takePart(false);
  }

  #halt(): void {
    this.#stop.abort();
    this.#next?.[Symbol.dispose]();
    this.#failures[Symbol.dispose]();
  }

  #join(): void {
    const { bus, queueGroup, onRequest } = this.#options;
    this.#subscription ??= bus.subscribe(this.subject, onRequest, {
      queue: queueGroup,
    });
  }

  async #leave(): Promise<void> {
    const subscription = this.#subscription;
    this.#subscription = undefined;
    try {
      await subscription?.drain();
    } catch (why) {
      // The link is down: nothing is heard in any case.
      this.#log.debug("a subscription was not drained", { why });
    }
  }

  async #try(check: CheckTimes): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const failure = await this.#failureOf(check);
    if (this.#stop.signal.aborted) return;
    switch (this.#health.note(failure, check.failures)) {
      case "up":
        this.#tellUp();
        if (this.#takesPart) this.#join();
        break;
      case "down":
        this.#downSince = this.#options.clock.now();
        void this.#leave();
    }
    if (failure !== undefined && !this.up) this.#tellDown(failure);
    this.#next = this.#options.clock.after(
      this.#jittered(check.period),
      () => void this.#try(check),
    );
  }

  #tellUp(): void {
    this.#failures.clear();
    const since = this.#downSince;
    this.#downSince = undefined;
    this.#log.info("service offered", {
      service: this.service.name,
      ...(since !== undefined && {
        ms: Math.round(this.#options.clock.now() - since),
      }),
    });
  }

  /** One line at once, one for each other cause, and counts while it goes on. */
  #tellDown({ text: why }: Reason): void {
    const { name: service, target } = this.service;
    this.#failures.note(
      why,
      (count) =>
        this.#log.warn(
          "service out of order: opens are left to other servers",
          {
            service,
            why,
            ...(count > 1 && { count }),
            target: formatPlace(target),
          },
        ),
    );
  }

  /** Why its target cannot be reached now; undefined if it can. */
  async #failureOf({ timeout }: CheckTimes): Promise<Reason | undefined> {
    const { check, clock } = this.#options;
    using deadline = new Deadline(this.#stop.signal, {
      clock,
      ms: timeout,
      late: () =>
        new TunnelError(
          "timeout",
          `its check had no answer in ${timeout} ms`,
        ),
    });
    try {
      await check(this.service, deadline.signal);
      return undefined;
    } catch (error) {
      return error instanceof TunnelError
        ? { code: error.code, text: error.text }
        : { code: "internal", text: messageOf(error) };
    }
  }

  #jittered(period: number): number {
    const [byte = 0] = this.#options.random(new Uint8Array(1));
    return Math.round(period * (1 + JITTER * (byte / 127.5 - 1)));
  }
}
