/**
 * What servers have said against one open, and what is to be tried next: where
 * one may not or cannot reach a target, or has no room, another may.
 *
 * @module
 */
import type { ErrorCode, Reason } from "../base/errors.ts";
import { MAX_SERVERS } from "../wire/open.ts";
import type { ServersThere } from "./answering_servers.ts";

/**
 * Times in a row that servers which refused an open may get it again before
 * there counts as no other, as long as none is known: with two servers of which
 * either is picked, one open in 64 is not asked of the second.
 */
const MAX_AGAIN = 6;

/**
 * The same where another is known, which is only to be picked: of four servers
 * of which any is, one open in 1,000 is not asked of the fourth.
 */
const MAX_AGAIN_KNOWN = 24;

/** Refusals that depend on where the server is and what it may reach. */
const DEPENDS_ON_SERVER: readonly ErrorCode[] = [
  "denied",
  "timeout",
  "no-such-host",
  "unreachable",
  "refused",
];

/** Refusals that depend on the server, too, and that it may take back a little later. */
const PASSING: readonly ErrorCode[] = ["limit", "draining"];

/** What tells most, first: the further a server came, the more it knows of the target. */
const TELLING: readonly ErrorCode[] = [
  "refused",
  "timeout",
  "unreachable",
  "no-such-host",
  "denied",
  "limit",
  "no-such-service", // of one that was offered until now
  "draining",
];

/** What is to be done about a refusal. */
export interface AfterRefusal {
  /** Whom to ask: another server, the same ones after a pause, or none. */
  readonly next: "another" | "later" | "none";
  /** What tells most of all that was said. */
  readonly reason: Reason;
}

/** The refusals of one open. */
export class Refusals {
  /** Servers that have refused it, and whether that may pass. */
  readonly #by = new Map<string, { readonly passing: boolean }>();
  #reason: Reason | undefined;
  /** Answers in a row of servers that have refused it before. */
  #again = 0;

  /** The most telling refusal so far. */
  get reason(): Reason | undefined {
    return this.#reason;
  }

  /** Tokens of the servers that need not be asked. */
  get servers(): readonly string[] {
    return [...this.#by.keys()];
  }

  /** One more came, of `server` where it says who it is; `there` are those that may be asked. */
  note(
    { reason, server }: {
      readonly reason: Reason;
      readonly server: string | undefined;
    },
    there: ServersThere,
  ): AfterRefusal {
    const telling = moreTelling(this.#reason, reason);
    this.#reason = telling;
    const passing = PASSING.includes(reason.code);
    if (server === undefined) {
      return { next: passing ? "later" : "none", reason: telling };
    }
    if (!passing && !DEPENDS_ON_SERVER.includes(reason.code)) {
      return { next: "none", reason: telling };
    }
    if (!this.#by.has(server)) this.#again = -1;
    this.#by.set(server, { passing });
    return this.#next(telling, there);
  }

  /** A server says that it has refused it before; undefined where nobody has, so that it lies. */
  noteAgain(there: ServersThere): AfterRefusal | undefined {
    return this.#reason && this.#next(this.#reason, there);
  }

  /** Those that were only busy are asked anew. */
  forgetPassing(): void {
    this.#again = 0;
    for (const [server, { passing }] of this.#by) {
      if (passing) this.#by.delete(server);
    }
  }

  #next(reason: Reason, there: ServersThere): AfterRefusal {
    const most = there.knowsOtherThan(this.servers)
      ? MAX_AGAIN_KNOWN
      : MAX_AGAIN;
    if (
      !there.alone && this.#by.size < MAX_SERVERS && ++this.#again < most
    ) return { next: "another", reason };
    const busy = [...this.#by.values()].some(({ passing }) => passing);
    return { next: busy ? "later" : "none", reason };
  }
}

/** The one of two refusals that tells more. */
function moreTelling(a: Reason | undefined, b: Reason): Reason {
  if (a === undefined) return b;
  const rank = ({ code }: Reason): number => {
    const at = TELLING.indexOf(code);
    return at < 0 ? TELLING.length : at;
  };
  return rank(b) < rank(a) ? b : a;
}
