/**
 * How a service is written: its name, and where it is.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import type { UnixPath } from "../base/place.ts";
import type { Service } from "../base/service.ts";
import { isAddress, nameProblem, parseTarget } from "../base/target.ts";
import { quote, redactUrl } from "../base/text.ts";

/** How a service is written. */
const SERVICE_FORM = "NAME=HOST:PORT, NAME=unix:PATH or NAME=auto";

/** Stands for this machine, at the port that is registered for the service's name. */
export const AUTO = "auto";

/** A service as it is written: where it is may be for the system to say. */
export interface WrittenService extends Omit<Service, "target"> {
  /** What is dialled for it. */
  readonly target: Address | UnixPath | typeof AUTO;
  /** The place in the file, or the flag, for messages. */
  readonly place: string;
}

/**
 * The service in `text`, as the flag has it.
 *
 * @throws {SyntaxError} naming `text`, the right form and what is wrong.
 */
export function parseService(text: string): WrittenService {
  try {
    if (text === "") throw new SyntaxError("it is empty");
    const at = text.indexOf("=");
    if (at < 0) throw new SyntaxError("it has no =");
    return {
      name: parseServiceName(text.slice(0, at).trim()),
      target: parseServiceTarget(text.slice(at + 1).trim()),
      place: "--service",
    };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(
      `${
        quote(redactUrl(text))
      } is no service (${SERVICE_FORM}): ${error.message}`,
      { cause: error },
    );
  }
}

/**
 * The name of a service.
 *
 * @throws {SyntaxError} saying what is wrong with it.
 */
export function parseServiceName(text: string): string {
  const problem = nameProblem(text);
  if (problem === undefined) return text;
  throw new SyntaxError(`its name ${quote(text)} ${problem}`);
}

/**
 * Where a service is.
 *
 * @throws {SyntaxError} saying what is wrong.
 */
export function parseServiceTarget(text: string): WrittenService["target"] {
  if (text === AUTO) return AUTO;
  if (text.includes("://")) {
    throw new SyntaxError("its target has a scheme; leave that out");
  }
  if (/@[^/]*$/.test(text) && !text.startsWith("unix:")) {
    throw new SyntaxError(
      "its target has an @; the place that a server is at is told with --site",
    );
  }
  const target = parseTarget(text);
  if (isAddress(target) || "path" in target) return target;
  throw new SyntaxError("its target is a service; write where that is");
}
