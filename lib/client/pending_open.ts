/**
 * One open that is under way at a client: what was asked for it, and what came
 * of that.
 *
 * @module
 */
import type { Caller } from "./caller.ts";
import { Refusals } from "./refusals.ts";
import type { BelievedReply, SealedOpen } from "./sealer.ts";

/** A local connection whose tunnel is being opened. */
export interface PendingOpen {
  /** Number the tunnel will have. */
  readonly number: number;
  /** The local connection, and where it is to go. */
  readonly caller: Caller;
  /** When the connection was accepted. */
  readonly startedAt: number;
  /** How often a server was asked, but for those that had refused it before. */
  readonly attempts: number;
}

/** What is known of one, by those who ask. */
export interface OpenState extends PendingOpen {
  /** Number of what was asked last. */
  number: number;
  /** How often a server was asked, so far. */
  attempts: number;
  /** Servers that were busy or fell silent. */
  failures: number;
  /** Whether the server asked last has said that it dials. */
  dialing: boolean;
  /** Where it is asked for, in this order. */
  subjects: readonly string[];
  /** Where it was asked for last. */
  subject: string;
  /** The subjects on which it came to nothing since it was asked on the first of them, and why. */
  readonly unheard: Map<string, Unheard>;
  /** What was asked under the number, and under earlier ones, which may be answered yet. */
  readonly asked: Map<number, AskedRequest>;
  /** What servers have said against it. */
  readonly refusals: Refusals;
  /** What answered that is no server of ours. */
  foreign: string | undefined;
  /** What happens if no answer comes. */
  timer: Disposable | undefined;
}

/** What came of a request that no server answered. */
export interface Unheard {
  /** Its number. */
  readonly number: number;
  /** How that is known. */
  readonly how: "nobody" | "denied" | "silence";
}

/** A request that was sent. */
export interface AskedRequest {
  /** Where. */
  readonly subject: string;
  /** What was sealed in it, if anything. */
  sealed: SealedOpen | undefined;
}

/** The answer that opens a tunnel. */
export type OpenedReply = BelievedReply & { readonly type: "open" | "v1" };

/** An open for `caller`, accepted at `now`, that was asked of nobody yet. */
export function beginOpen(caller: Caller, now: number): OpenState {
  return {
    number: 0,
    subjects: [],
    subject: "",
    unheard: new Map(),
    asked: new Map(),
    caller,
    startedAt: now,
    attempts: 0,
    failures: 0,
    dialing: false,
    refusals: new Refusals(),
    foreign: undefined,
    timer: undefined,
  };
}
