/**
 * Answers to requests on NATS that come from anybody: only where the asker
 * listens, only so many, never before tunnels, and never with harm where the
 * broker refuses them.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import { TokenBucket } from "../base/token_bucket.ts";
import type { Bus, BusMessage } from "../nats/bus.ts";
import { JsonMessage } from "../wire/json.ts";
import { isInbox } from "../wire/subjects.ts";

/**
 * Most answers a second: each tool asks a few times at most, and answers of the
 * largest kind (some 50 KiB of 256 services) are then 1 MiB a second.
 */
const MAX_ANSWERS = 20;

/** Room for headers in a message, in bytes. */
const HEADER_BYTES = 512;

const log = getLogger(["sproxy", "service"]);
const encoder = new TextEncoder();

/** What answering takes. */
export interface AnswersOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** What inboxes begin with: nothing else is published to, as the asker might not be allowed to. */
  readonly inboxPrefix: string;
}

/** The answers of one kind, with a rate of their own. */
export class Answers {
  readonly #options: AnswersOptions;
  readonly #rate: TokenBucket;
  #saidRefused = false;

  /** Nothing was asked yet. */
  constructor(options: AnswersOptions) {
    this.#options = options;
    this.#rate = new TokenBucket({
      rate: MAX_ANSWERS,
      now: options.clock.now(),
    });
  }

  /** Whether a request is answered now; if not, nothing is to be done about it. */
  takes({ reply, status }: BusMessage): boolean {
    const { bus, clock, inboxPrefix } = this.#options;
    if (status !== 0 || !isInbox(reply, inboxPrefix) || bus.congested) {
      return false;
    }
    return this.#rate.take(clock.now());
  }

  /** Whether an answer is small enough for the broker. */
  fits(answer: object): boolean {
    const { length } = encoder.encode(JSON.stringify(answer));
    return length + HEADER_BYTES <= this.#options.bus.maxPayload;
  }

  /** Answers a request that is taken. */
  async send(
    reply: string,
    answer: object,
    headers: readonly (readonly [string, string])[] = [],
  ): Promise<void> {
    const { bus } = this.#options;
    try {
      const message = new JsonMessage(encoder.encode(JSON.stringify(answer)));
      // The inbox is a stranger's: what the broker says of it concerns no tunnel.
      if (await bus.mayPublish(reply, message, { headers })) return;
    } catch (error) {
      log.debug("an answer was not sent", { error });
      return;
    }
    if (this.#saidRefused) return;
    this.#saidRefused = true;
    log.info(
      "NATS lets no answer through; to be seen as a service, the login needs the permission to publish to inboxes",
      { subject: reply },
    );
  }
}

/** As much of `list` as goes into an answer that fits: all, or a half, and so on. */
export function fitting<T>(
  answers: Pick<Answers, "fits">,
  list: readonly T[],
  answerOf: (some: readonly T[]) => object,
): object {
  let some = list;
  for (;;) {
    const answer = answerOf(some);
    if (some.length === 0 || answers.fits(answer)) return answer;
    some = some.slice(0, Math.floor(some.length / 2));
  }
}
