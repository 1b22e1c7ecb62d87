/**
 * What an operator may ask of one instance, where it is switched on: the verbs,
 * the requests, and the errors in place of answers.
 *
 * @module
 */
import { parse, recordOf } from "../base/foreign_json.ts";
import type { HeaderReader } from "./open.ts";

/** What may be asked. */
export const CONTROL_VERBS = ["status", "tunnels", "kill", "drain"] as const;

/** One of these. */
export type ControlVerb = (typeof CONTROL_VERBS)[number];

/** Longest request that is read, in bytes: an ID and some blanks. */
const MAX_REQUEST_BYTES = 1024;

/** Longest word on who asks, in characters. */
const MAX_ASKER = 128;

/** The header in which one who asks says who that is; nothing vouches for it. */
export const ASKER_HEADER = "sproxy-asker";

const CODE_HEADER = "Nats-Service-Error-Code";
const TEXT_HEADER = "Nats-Service-Error";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Why there is no answer. */
export interface ControlError {
  /** A number as HTTP has it: 400 for a wrong request, 404 for a tunnel that is not there. */
  readonly code: number;
  /** What is wrong, for people. */
  readonly text: string;
}

/** What is asked, or why that is nothing. */
export type ControlRequest =
  | {
    /** Most tunnels in the answer; undefined for as many as it holds. */
    readonly limit?: number;
    /** The connection ID of the tunnel that is meant. */
    readonly tunnel?: string;
  }
  | { readonly error: ControlError };

/** The `type` of an answer (ADR-2). */
export function controlType(verb: ControlVerb): string {
  return `io.tcp-sproxy.control.v1.${verb}_response`;
}

/** Reads the body of a request: an object, or nothing. What is not known in it is passed over. */
export function readControlRequest(
  verb: ControlVerb,
  data: Uint8Array,
): ControlRequest {
  const body = data.length > MAX_REQUEST_BYTES ? undefined : bodyOf(data);
  if (body === undefined) {
    return wrong("the request has to be an object of JSON, or empty");
  }
  switch (verb) {
    case "kill": {
      const { id } = body;
      return typeof id === "string" && id !== ""
        ? { tunnel: id }
        : wrong('say which tunnel: {"id":"CONNECTION ID"}');
    }
    case "tunnels": {
      const { limit } = body;
      if (limit === undefined) return {};
      return typeof limit === "number" && Number.isInteger(limit) && limit > 0
        ? { limit }
        : wrong('"limit" has to be a whole number from 1 on');
    }
    case "status":
    case "drain":
      return {};
  }
}

function wrong(text: string): { readonly error: ControlError } {
  return { error: { code: 400, text } };
}

function bodyOf(
  data: Uint8Array,
): Readonly<Record<string, unknown>> | undefined {
  try {
    const text = decoder.decode(data);
    return text.trim() === "" ? {} : recordOf(parse(text));
  } catch {
    // No UTF-8, so no JSON.
    return undefined;
  }
}

/** Who asks, as they say; undefined where they say nothing. */
export function askerOn(header: HeaderReader): string | undefined {
  const text = header(ASKER_HEADER)?.slice(0, MAX_ASKER);
  return text === "" ? undefined : text;
}

/** The headers of an error. */
export function errorHeaders(
  { code, text }: ControlError,
): readonly (readonly [string, string])[] {
  return [[CODE_HEADER, String(code)], [TEXT_HEADER, text]];
}

/** The error that an answer is; undefined where it is none. */
export function errorOn(header: HeaderReader): ControlError | undefined {
  const code = header(CODE_HEADER);
  const text = header(TEXT_HEADER);
  if (code === undefined && text === undefined) return undefined;
  return { code: Number(code) || 500, text: text ?? "no reason given" };
}
