/**
 * The tunnels that ended last, and the opens that came to nothing last, as
 * people are shown them: pure, and as long as it may ever be.
 *
 * @module
 */
import type { Decider, ErrorCode, Reason } from "../base/errors.ts";

/** Ends, and refusals, that are remembered: more than a screen shows. */
const MAX_REMEMBERED = 50;

/** Longest text that is kept of what others have written, in UTF-16 units. */
const MAX_TEXT = 200;

/** A tunnel that ended, or an open that came to nothing. */
export interface Ending {
  /** When that was, on the session's clock, in ms. */
  readonly at: number;
  /** Whether a tunnel ended, or there never was one. */
  readonly kind: "end" | "refusal";
  /** Connection ID, where there was a tunnel. */
  readonly id?: string;
  /** Target as it was asked for; undefined where that was not read. */
  readonly target?: string | undefined;
  /** Address of the local socket, or of who asked. */
  readonly peer?: string | undefined;
  /** Address of the application, as a client told a server. */
  readonly source?: string | undefined;
  /** Name of the client, or what else tells who asked. */
  readonly client?: string | undefined;
  /** Name of the way in, where it has one. */
  readonly forward?: string | undefined;
  /** `ok` for a clean end. */
  readonly code: "ok" | ErrorCode;
  /** Why, in words; undefined for a clean end. */
  readonly why?: string;
  /** Whether that was decided at the other end. */
  readonly byPeer?: boolean;
  /** How long the tunnel was open, in ms. */
  readonly ms?: number;
  /** Bytes taken from the local socket, and those that came from the other end. */
  readonly bytes?: { readonly sent: number; readonly received: number };
}

/** The last of something: what is added pushes out the oldest. */
export class Ring<T> {
  readonly #most: number;
  readonly #items: T[] = [];
  /** Where the next one goes, once it is full. */
  #next = 0;

  /** Room for so many. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Adds one. */
  add(item: T): void {
    this.#items[this.#next] = item;
    this.#next = (this.#next + 1) % this.#most;
  }

  /** All of them, the oldest first. */
  get items(): readonly T[] {
    return this.#items.length < this.#most
      ? this.#items
      : [...this.#items.slice(this.#next), ...this.#items.slice(0, this.#next)];
  }
}

/** What has ended lately. */
export class Recent {
  readonly #ends = new Ring<Ending>(MAX_REMEMBERED);
  /** Apart: a flood of refusals is not to hide how tunnels ended. */
  readonly #refusals = new Ring<Ending>(MAX_REMEMBERED);

  /** A tunnel ended. */
  ended(
    tunnel: Omit<Ending, "kind" | "code" | "why" | "byPeer">,
    outcome?: { readonly by: Decider; readonly reason: Reason },
  ): void {
    this.#ends.add({ ...tunnel, kind: "end", ...told(outcome) });
  }

  /** An open came to nothing. */
  refused(
    open: Pick<
      Ending,
      "at" | "target" | "peer" | "source" | "client" | "forward"
    >,
    outcome: { readonly by: Decider; readonly reason: Reason },
  ): void {
    const { target, client, source } = open;
    this.#refusals.add({
      ...open,
      target: target?.slice(0, MAX_TEXT),
      client: client?.slice(0, MAX_TEXT),
      source: source?.slice(0, MAX_TEXT),
      kind: "refusal",
      ...told(outcome),
    });
  }

  /** Both, the last first. */
  get endings(): readonly Ending[] {
    return [...this.#ends.items, ...this.#refusals.items]
      .toSorted((one, other) => other.at - one.at);
  }
}

/** How an ending tells why it came to that. */
function told(
  outcome: { readonly by: Decider; readonly reason: Reason } | undefined,
): Pick<Ending, "code" | "why" | "byPeer"> {
  if (outcome === undefined) return { code: "ok" };
  const { by, reason } = outcome;
  return {
    code: reason.code,
    why: reason.text.slice(0, MAX_TEXT),
    ...(by === "peer" && { byPeer: true }),
  };
}
