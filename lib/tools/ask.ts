/**
 * Questions over NATS: one message with an inbox, and the answers that come to
 * that, of one process or of all that hear it.
 *
 * @module
 */
import { systemClock, wakefulClock } from "../base/clock.ts";
import { RunError } from "../base/errors.ts";
import { hostname } from "../process/connect.ts";
import { random } from "../process/lifecycle.ts";
import type { Bus, BusMessage } from "../nats/bus.ts";
import { ASKER_HEADER } from "../wire/control.ts";
import { JsonMessage } from "../wire/json.ts";
import { makeToken } from "../wire/subjects.ts";

/** How a question is asked. */
export interface AskOptions {
  /** What inboxes begin with. */
  readonly inboxPrefix: string;
  /** How long answers are waited for, in ms. */
  readonly wait: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** How many answers are enough; by default there may be any number. */
  readonly enough?: number;
  /** Whether it is one; others may listen there, too, such as a JetStream stream. */
  readonly isAnswer?: (answer: AskAnswer) => boolean;
}

/** An answer. */
export interface AskAnswer {
  /** Its body, which is to be JSON. */
  readonly text: string;
  /** Its headers. */
  readonly header: (name: string) => string | undefined;
}

/**
 * After an answer others are waited for as long as so many times what it took,
 * and so many ms at least: who is further away, or busy, answers later.
 */
const QUIET = { times: 3, least: 400 } as const;

/** Headers of an answer that are read. */
const HEADERS = ["Nats-Service-Error", "Nats-Service-Error-Code"] as const;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * Asks on `subject`, and gives the answers that come in time, up to when no
 * more come; none where nobody listens.
 *
 * @throws {RunError} when NATS refuses the question or the inbox.
 * @throws the reason of the signal when it aborts.
 */
export async function ask(
  bus: Bus,
  subject: string,
  body: object,
  { inboxPrefix, wait, signal, enough = Infinity, isAnswer }: AskOptions,
): Promise<AskAnswer[]> {
  signal.throwIfAborted();
  const inbox = `${inboxPrefix}.${makeToken(random)}`;
  const answers: AskAnswer[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  using cleanup = new DisposableStack();
  const since = systemClock.now();
  let quiet: Disposable | undefined;
  cleanup.defer(() => quiet?.[Symbol.dispose]());
  cleanup.use(
    bus.subscribe(inbox, (message) => {
      if (message.status !== 0) {
        resolve();
        return;
      }
      const answer = answerOf(message);
      if (isAnswer?.(answer) !== false) answers.push(answer);
      if (answers.length >= enough) resolve();
      if (enough !== Infinity) return;
      const took = systemClock.now() - since;
      quiet?.[Symbol.dispose]();
      const pause = Math.max(QUIET.least, QUIET.times * took);
      quiet = wakefulClock.after(pause, resolve);
    }, { onRefused: () => reject(refusal("subscribe", inbox)) }),
  );
  const link = new AbortController();
  cleanup.defer(() => link.abort());
  bus.onLink((event) => {
    if (event.type === "denied" && event.subject === subject) {
      reject(refusal("publish", subject));
    }
    if (event.type === "down" || event.type === "closed") {
      reject(new RunError("The connection to NATS was lost meanwhile"));
    }
  }, link.signal);
  cleanup.use(wakefulClock.after(wait, resolve));
  signal.addEventListener("abort", () => reject(signal.reason), link);
  const who = [hostname(), `pid ${Deno.pid}`].filter((part) => part).join(" ");
  bus.publish(subject, new JsonMessage(encoder.encode(JSON.stringify(body))), {
    reply: inbox,
    headers: [[ASKER_HEADER, who]],
  });
  await promise;
  return answers;
}

function answerOf(message: BusMessage): AskAnswer {
  const headers = new Map(
    HEADERS.map((name) => [name.toLowerCase(), message.header(name)] as const),
  );
  return {
    text: decoder.decode(message.data),
    header: (name) => headers.get(name.toLowerCase()),
  };
}

function refusal(what: string, subject: string): RunError {
  return new RunError(
    `NATS does not let this login ${what} to ${subject}: it takes the permissions of an operator (docs/protocol.md)`,
  );
}
