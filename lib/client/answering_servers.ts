/**
 * What the answers to all opens of a client tell of the servers that give them.
 *
 * @module
 */
import type { BelievedReply } from "./sealer.ts";

/**
 * Answers in a row from one server after which it counts as the only one: of
 * two that are picked at random, that would be a chance of one in 65,536.
 */
const ALONE_ANSWERS = 16;

/**
 * Answers whose servers are remembered: of four that are picked at random all
 * but one in 10,000 times, and one that is gone is soon forgotten.
 */
const REMEMBERED_ANSWERS = 32;

/** The servers that answer where an open is asked for. */
export interface ServersThere {
  /** Whether one alone seems to answer. */
  readonly alone: boolean;
  /** Whether one is known that is none of `servers`, which are tokens. */
  knowsOtherThan(servers: readonly string[]): boolean;
}

/** The servers that answer. */
export class AnsweringServers {
  #native = false;
  #answers = 0;
  /** At which answer each of the last servers gave its last one, the latest last; by subject and token. */
  readonly #lastAnswers = new Map<string, number>();
  /** The server that answered last, and how many answers in a row were its own. */
  #last: string | undefined;
  #inARow = 0;

  /** Whether one of version 2 has ever answered: from then on none of version 1 is believed. */
  get native(): boolean {
    return this.#native;
  }

  /** Those that hear `subject`: of others none can be asked there. */
  on(subject: string): ServersThere {
    return {
      alone: this.#inARow >= ALONE_ANSWERS,
      knowsOtherThan: (servers) => {
        const refused = new Set(servers.map((one) => keyOf(subject, one)));
        const start = keyOf(subject, "");
        return [...this.#lastAnswers.keys()].some((key) =>
          key.startsWith(start) && !refused.has(key)
        );
      },
    };
  }

  /** An answer came to what was asked on `subject`, or to something that is not known any more. */
  note(reply: BelievedReply, subject: string | undefined): void {
    if ("server" in reply && reply.server !== undefined) {
      this.#inARow = reply.server === this.#last ? this.#inARow + 1 : 1;
      this.#last = reply.server;
      if (subject !== undefined) this.#remember(keyOf(subject, reply.server));
    }
    if (isNative(reply)) this.#native = true;
  }

  #remember(key: string): void {
    this.#lastAnswers.delete(key);
    this.#lastAnswers.set(key, ++this.#answers);
    for (const [oldest, at] of this.#lastAnswers) {
      if (at > this.#answers - REMEMBERED_ANSWERS) break;
      this.#lastAnswers.delete(oldest);
    }
  }
}

/** What a server at a subject is remembered by; in neither is a blank. */
function keyOf(subject: string, server: string): string {
  return `${subject} ${server}`;
}

/** Whether only a server of version 2 answers so. */
export function isNative(reply: BelievedReply): boolean {
  return !(reply.type === "v1" ||
    reply.type === "refused" && reply.server === undefined);
}
