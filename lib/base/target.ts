/**
 * Targets, as people and the wire write them: an address, a service by its name
 * or a Unix socket, and perhaps the site that it is to be reached from.
 *
 * `docs/protocol.md` has the grammar.
 *
 * @module
 */
import {
  type Address,
  formatAddress,
  parseAddress,
  tryParseAddress,
} from "./address.ts";
import { MAX_UNIX_PATH, type UnixPath } from "./place.ts";
import { quote, redactUrl } from "./text.ts";

/** Something that servers offer by its name. */
export interface ServiceName {
  /** The name. */
  readonly service: string;
}

/** What a server connects to. */
export type Target = Address | UnixPath | ServiceName;

/** A target, and where it is. */
export interface Destination<T extends Target = Target> {
  /** What is connected to. */
  readonly target: T;
  /** The site whose servers are asked; undefined for those of none. */
  readonly site?: string | undefined;
}

/** Longest name of a service or a site, in characters: a token of a subject, as that of a client. */
const MAX_NAME_LENGTH = 32;

/** Before the name of a service. */
const SERVICE = "svc:";

/** Before the path of a Unix socket. */
const UNIX = "unix:";

/** Ports, which make a host of what stands before them. */
const PORTS = /^\d+(?:-\d+)?$/;

/**
 * The target and the site in `text`; what is no service and no Unix socket is
 * left to `parseRest`, without its site.
 *
 * @throws {SyntaxError} saying what is wrong, without `text`.
 */
export function parseDestination<T>(
  text: string,
  parseRest: (text: string) => T,
): { readonly target: T | UnixPath | ServiceName; readonly site?: string } {
  const { rest, site } = splitSite(text);
  return {
    target: parseNamed(rest) ?? parseRest(rest),
    ...(site !== undefined && { site }),
  };
}

/**
 * `text` without the site at its end, and the site.
 *
 * @throws {SyntaxError} saying what is wrong with the site.
 */
export function splitSite(
  text: string,
): { readonly rest: string; readonly site?: string } {
  const at = text.lastIndexOf("@");
  // A path may have one in it; a site has no slash.
  if (at < 0 || text.includes("/", at)) return { rest: text };
  const site = text.slice(at + 1);
  const problem = nameProblem(site);
  if (problem === undefined) return { rest: text.slice(0, at), site };
  throw new SyntaxError(`its site ${quote(site)} ${problem}`);
}

/**
 * The target in `text`, as the wire has it: without a site.
 *
 * @throws {SyntaxError} saying what is wrong.
 */
export function parseTarget(text: string): Target {
  return parseNamed(text) ?? parseAddress(text);
}

/** As {@linkcode parseTarget}, but what is wrong is given back, in a few words. */
export function tryParseTarget(text: string): Target | string {
  try {
    return parseNamed(text) ?? tryParseAddress(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return error.message;
  }
}

/** The service or the Unix socket in `text`; undefined where it is neither. */
function parseNamed(text: string): UnixPath | ServiceName | undefined {
  if (text.startsWith(SERVICE) && !PORTS.test(text.slice(SERVICE.length))) {
    const service = text.slice(SERVICE.length);
    const problem = nameProblem(service);
    if (problem === undefined) return { service };
    throw new SyntaxError(
      `the name of its service, ${quote(service)}, ${problem}`,
    );
  }
  if (text.startsWith(UNIX) && !PORTS.test(text.slice(UNIX.length))) {
    const path = text.slice(UNIX.length);
    const problem = targetPathProblem(path);
    if (problem === undefined) return { path };
    throw new SyntaxError(
      `the path of its Unix socket, ${quote(path)}, ${problem}`,
    );
  }
  return undefined;
}

/** What keeps `name` from being that of a service or a site, as the end of a sentence; undefined when nothing does. */
export function nameProblem(name: string): string | undefined {
  if (name === "") return "is empty";
  if (!/^[A-Za-z0-9_-]+$/.test(name)) {
    return "has other characters than letters, digits, - and _";
  }
  if (PORTS.test(name)) return "looks like a port";
  return name.length > MAX_NAME_LENGTH
    ? `is longer than ${MAX_NAME_LENGTH} characters`
    : undefined;
}

/** What keeps `path` from being that of a server's Unix socket, as the end of a sentence; undefined when nothing does. */
export function targetPathProblem(path: string): string | undefined {
  // The server's working directory is nobody's business.
  if (!path.startsWith("/")) return "does not begin with a /";
  if (/\p{Cc}/u.test(path)) return "has control characters in it";
  // Headers lose it.
  if (/\s$/.test(path)) return "ends with white space";
  return new TextEncoder().encode(path).length > MAX_UNIX_PATH
    ? `is longer than ${MAX_UNIX_PATH} bytes`
    : undefined;
}

/** `target` as {@linkcode parseTarget} reads it. */
export function formatTarget(target: Target): string {
  if ("service" in target) return SERVICE + target.service;
  return "path" in target ? UNIX + target.path : formatAddress(target);
}

/** `target` and `site` as {@linkcode parseDestination} reads them. */
export function formatDestination({ target, site }: Destination): string {
  return site === undefined
    ? formatTarget(target)
    : `${formatTarget(target)}@${site}`;
}

/**
 * `text`, which is or has a destination, for messages: what stands before an
 * `@` is shown only where a site follows, and not, as in a URL, a host.
 */
export function showDestination(text: string): string {
  const site = text.slice(text.lastIndexOf("@") + 1);
  const isUrl = text.includes("://") || nameProblem(site) !== undefined;
  return quote(isUrl ? redactUrl(text) : text);
}

/** Whether `target` is a host and a port. */
export function isAddress(target: Target): target is Address {
  return "host" in target;
}
