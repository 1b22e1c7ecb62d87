/**
 * The errors a person or a peer is told about, and the codes that travel on
 * the wire.
 *
 * A code names why an open was refused or why a tunnel ended. It is the word
 * written in logs, in the `code` header of an open reply and in the text of a
 * JSON RESET; its number is what a binary RESET carries.
 *
 * @module
 */

/**
 * Every reason a tunnel can be refused or cut, with its number on the wire.
 * Numbers are never reused; a peer that meets an unknown one reports
 * `internal`.
 */
export const WIRE_CODES = {
  /** The tunnel did not fail; used where a code is needed for a clean end. */
  ok: 0,
  /** The target refused the connection (ECONNREFUSED). */
  refused: 1,
  /** The dial, or the answer to an open, took too long. */
  timeout: 2,
  /** The target's name does not resolve. */
  "no-such-host": 3,
  /** No route to the target (EHOSTUNREACH, ENETUNREACH, ...). */
  unreachable: 4,
  /** The server may not or will not dial this target. */
  denied: 5,
  /** A limit on tunnels or opens was reached. */
  limit: 6,
  /** The process is draining and takes no new tunnels. */
  draining: 7,
  /** The request or frame is malformed or breaks the protocol. */
  protocol: 8,
  /** The receiver knows no tunnel of that ID. */
  "unknown-tunnel": 9,
  /** The process at the other end is gone. */
  "peer-gone": 10,
  /** NATS was away for longer than the resume time. */
  "nats-down": 11,
  /** The connection of the application, or of the target, broke (RST, write error). */
  aborted: 12,
  /** No byte for longer than the idle timeout. */
  idle: 13,
  /** Half-closed and silent for longer than the half-close timeout. */
  "half-closed": 14,
  /** The process ends and did not wait for the tunnel any longer. */
  shutdown: 15,
  /** The peer speaks a protocol version this process refuses. */
  version: 16,
  /** No server answered the open (NATS: no responders). */
  "no-server": 17,
  /** A fault of this program. */
  internal: 18,
  /** No server that was asked offers a service of that name, or it is out of order. */
  "no-such-service": 19,
} as const;

/** The name of a reason: a key of {@linkcode WIRE_CODES}. */
export type ErrorCode = keyof typeof WIRE_CODES;

const NAMES = new Map<number, ErrorCode>(
  Object.entries(WIRE_CODES).map(([name, number]) => [
    number,
    name as ErrorCode,
  ]),
);

/** The name for a number from the wire; `internal` for one never assigned. */
export function codeFromWire(number: number): ErrorCode {
  return NAMES.get(number) ?? "internal";
}

/** Whether `text` is the name of a code this version knows. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(WIRE_CODES, text);
}

/** Why a tunnel was refused or cut: a code for programs, a sentence for people. */
export interface Reason {
  /** What kind of end it was. */
  readonly code: ErrorCode;
  /**
   * One sentence: what was tried, the value, what happened. It is read at both
   * ends, so it names roles and not "this end" or "the other".
   */
  readonly text: string;
}

/** Who refused an open or cut a tunnel: this process, or the one at the other end, which said so. */
export type Decider = "local" | "peer";

/**
 * `reason` as lines of the log tell it. A text is written where the decision
 * falls; what the other end said is marked as its words, so that its
 * "application" or its option is not taken for one of this end.
 */
export function blame(
  by: Decider,
  { code, text }: Reason,
): { readonly reason: ErrorCode; readonly by: Decider; readonly why: string } {
  const why = by === "peer" ? `the other end says: ${text}` : text;
  return { reason: code, by, why };
}

/** NATS does not let anything be published to `subject`. */
export function publishDenied(subject: string): Reason {
  return {
    code: "denied",
    text: `NATS refuses what is published to ${subject}`,
  };
}

/** NATS lets nothing be heard on `subject`. */
export function subscribeDenied(subject: string): Reason {
  return {
    code: "denied",
    text: `NATS refuses the subscription to ${subject}`,
  };
}

/** A failure with a {@linkcode Reason} that may be sent to the peer. */
export class TunnelError extends Error implements Reason {
  /** What stack traces call it. */
  override readonly name = "TunnelError";
  /** What kind of failure it was. */
  readonly code: ErrorCode;

  /** Makes an error of `code` whose message is `text`. */
  constructor(code: ErrorCode, text: string, options?: ErrorOptions) {
    super(text, options);
    this.code = code;
  }

  /** The sentence for people; the same as `message`. */
  get text(): string {
    return this.message;
  }
}

/** Wrong flags, environment or configuration: one line for each problem, exit code 2. */
export class UsageError extends Error {
  /** What stack traces call it. */
  override readonly name = "UsageError";
  /** What is wrong, a sentence each; at least one. */
  readonly problems: readonly string[];

  /** Makes an error of one problem or several; its message has them all. */
  constructor(problems: string | readonly string[], options?: ErrorOptions) {
    const list = typeof problems === "string" ? [problems] : problems;
    super(list.join("; "), options);
    this.problems = list;
  }
}

/** The program cannot run or go on (port taken, no NATS): one line, exit code 1. */
export class RunError extends Error {
  /** What stack traces call it. */
  override readonly name = "RunError";
}

/** The message of anything thrown, on one line. */
export function messageOf(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return text.replaceAll(/\s*[\r\n]+\s*/g, " ");
}

/** What the system is short of when these come: a pause may help. Nothing else deserves one. */
const SHORTAGES: readonly unknown[] = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];

/** Whether `error` says that the system is short of descriptors or memory. */
export function isShortage(error: unknown): boolean {
  return error instanceof Error && "code" in error &&
    SHORTAGES.includes(error.code);
}
