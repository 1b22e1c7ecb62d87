/**
 * What the front-ends of a client have in common: bytes of an application go
 * in, what it asks for and what it is to be told come out.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import type { Reason } from "../base/errors.ts";

/** What is spoken at a front-end. */
export type FrontKind = "socks" | "http-proxy";

/** The most that an application may say until its request is whole, in bytes: what most HTTP servers take. */
export const MAX_HEAD_BYTES = 16 * 1024;

/** An application asks for a connection to a target. */
export interface FrontRequest {
  /** The target; its name is for the server to look up. */
  readonly target: Address;
  /** What the application is told once it is connected; empty where that is nothing. */
  readonly accepted: Uint8Array;
  /** What it has said for the target already. */
  readonly early: Uint8Array;
  /** What it is told when that comes to nothing; its connection ends then. */
  refused(reason: Reason): Uint8Array;
}

/** What follows from what an application has said. */
export type FrontStep =
  /** It is to say more. */
  | { readonly type: "more"; readonly answer: Uint8Array }
  | {
    readonly type: "request";
    /** What it is told before the target is asked for. */
    readonly answer: Uint8Array;
    readonly request: FrontRequest;
  }
  | {
    /** Nothing comes of it: it is told the answer, and its connection ends. */
    readonly type: "end";
    readonly answer: Uint8Array;
    /** What was wrong, for the log; undefined where that is part of the protocol. */
    readonly why: string | undefined;
  };

/** Takes what an application says, in whatever pieces; nothing after a request or an end. */
export interface FrontParser {
  /** The next bytes. */
  push(bytes: Uint8Array): FrontStep;
}

/** No bytes. */
export const NOTHING: Uint8Array = new Uint8Array(0);

/** The languages of front-ends, and the flags that give each a port of its own. */
const FLAGS = { SOCKS: "--socks", HTTP: "--http-proxy" } as const;

/** Why a program whose first byte is `first` is at the wrong port, which is for `language`. */
export function wrongPort(
  first: number,
  language: keyof typeof FLAGS,
): string {
  const spoken = languageOf(first);
  if (spoken === undefined || spoken === language) {
    return `it does not speak ${language}`;
  }
  return spoken === "TLS"
    ? `it speaks TLS and not ${language}`
    : `it speaks ${spoken}, which has a port of its own (${FLAGS[spoken]})`;
}

/** What a program speaks that begins with this byte; undefined for what is not known. */
function languageOf(first: number): keyof typeof FLAGS | "TLS" | undefined {
  if (first === 4 || first === 5) return "SOCKS";
  if (first === 0x16) return "TLS";
  return first >= 0x41 && first <= 0x5a ? "HTTP" : undefined;
}

/** One after the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(
    parts.reduce((length, part) => length + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
