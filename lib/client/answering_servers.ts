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

/** The servers that answer. */
export class AnsweringServers {
  #native = false;
  /** The server that answered last, and how many answers in a row were its own. */
  #last: string | undefined;
  #inARow = 0;

  /** Whether one of version 2 has ever answered: from then on none of version 1 is believed. */
  get native(): boolean {
    return this.#native;
  }

  /** Whether one alone seems to answer. */
  get alone(): boolean {
    return this.#inARow >= ALONE_ANSWERS;
  }

  /** An answer came. */
  note(reply: BelievedReply): void {
    if ("server" in reply && reply.server !== undefined) {
      this.#inARow = reply.server === this.#last ? this.#inARow + 1 : 1;
      this.#last = reply.server;
    }
    if (isNative(reply)) this.#native = true;
  }
}

/** Whether only a server of version 2 answers so. */
export function isNative(reply: BelievedReply): boolean {
  return !(reply.type === "v1" ||
    reply.type === "refused" && reply.server === undefined);
}
