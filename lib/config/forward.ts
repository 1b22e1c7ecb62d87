/**
 * How a forward is written, as ssh has it: where to listen, then the target,
 * with colons between.
 *
 * @module
 */
import { type Address, MAX_PORT, tryParseAddress } from "../base/address.ts";
import { UsageError } from "../base/errors.ts";
import type { Place, UnixPath } from "../base/place.ts";
import {
  type Destination,
  parseDestination,
  type ServiceName,
  showDestination,
} from "../base/target.ts";
import { quote } from "../base/text.ts";

/** A place to listen at, and where its connections go. */
export interface Forward extends Destination {
  /** What the log calls it; no other has the name. */
  readonly name?: string | undefined;
  /** Where connections are accepted. */
  readonly listen: Place;
  /** Whether its connections begin with a PROXY protocol header; undefined where it does not say. */
  readonly acceptProxy?: boolean | undefined;
  /** The flag that asks for such a one, for messages. */
  readonly origin: string;
}

/** Most forwards of a process: each range of ports that people have asked for, at four descriptors a port. */
export const MAX_FORWARDS = 1_000;

/** How a forward is written. */
const FORM =
  "[BIND:]PORT:TARGET or PATH:TARGET, such as 8080:db:5432 or 8080:svc:db";

/** How a target is written. */
export const TARGET_FORM =
  "HOST:PORT, svc:NAME or unix:PATH, perhaps with @SITE";

/** Where a forward listens that says no more than a port: on this machine alone. */
const LOOPBACK = "localhost";

/** Which half of a forward is meant, after "the port" or "the address". */
const LISTENING = "to listen at";
const LEADING = "of its target";
type Half = typeof LISTENING | typeof LEADING;

/** One port, or all from the first to the last. */
export interface Ports {
  /** The first, 0 for any free one. */
  readonly first: number;
  /** The last, which is the first where there is one. */
  readonly last: number;
}

/** Where a forward, or each of a range, listens. */
export type Listening = UnixPath | Range;

/** A host, and one port or more. */
export interface Range {
  /** As in an address. */
  readonly host: string;
  /** Its ports. */
  readonly ports: Ports;
}

/** Where a forward, or each of a range, leads to. */
export interface Leading {
  /** A host with as many ports as are listened at, or one service or Unix socket. */
  readonly target: Range | UnixPath | ServiceName;
  /** As in a destination. */
  readonly site?: string | undefined;
}

/**
 * The forwards that `text` asks for: one, or as many as its range has ports.
 *
 * @throws {SyntaxError} naming `text`, the right form and what is wrong.
 */
export function parseForward(text: string): readonly Forward[] {
  try {
    if (text === "") throw new SyntaxError("it is empty");
    if (text.includes("://")) {
      throw new SyntaxError("it has a scheme; leave that out");
    }
    const [listen, target] = halves(text);
    return pair(parseListening(listen), parseLeading(target));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(
      `${showDestination(text)} is no forward (${FORM}): ${error.message}`,
      { cause: error },
    );
  }
}

/**
 * The forwards from each port of `listen` to that of `target` in the same
 * place of its range.
 *
 * @throws {SyntaxError} when there are more of the one than of the other.
 */
export function pair(
  listen: Listening,
  { target, site }: Leading,
): readonly Forward[] {
  const count = "path" in listen ? 1 : countOf(listen.ports);
  if ("ports" in target && count !== countOf(target.ports)) {
    throw new SyntaxError(
      `it listens at ${count} and leads to ${
        countOf(target.ports)
      } ports: there must be as many of each`,
    );
  }
  if (!("ports" in target) && count !== 1) {
    throw new SyntaxError(
      `it listens at ${count} ports and leads to one place: listen at one`,
    );
  }
  return Array.from({ length: count }, (_, at) => ({
    listen: "path" in listen ? listen : portOf(listen, at),
    target: "ports" in target ? portOf(target, at) : target,
    ...(site !== undefined && { site }),
    origin: "--forward",
  }));
}

/**
 * A place to listen at: `[BIND:]PORT`, or a path with a `/` in it.
 *
 * @throws {SyntaxError} saying what is wrong, with `text` unless it is too long.
 */
export function parseListening(text: string): Listening {
  if (text.includes("/")) {
    if (!/\p{Cc}/u.test(text)) return { path: text };
    throw new SyntaxError(
      `the path ${quote(text)} has control characters in it`,
    );
  }
  const fields = fieldsOf(text);
  if (fields.length > 2) throw new SyntaxError(MANY_COLONS);
  const [port = "", bind = LOOPBACK] = fields.toReversed();
  const ports = parsePorts(port, LISTENING);
  const host = bind === "*" ? "" : bind;
  return checked({ host, ports }, LISTENING);
}

/**
 * Where a forward leads: a destination, which may have `HOST:FIRST-LAST` for
 * its address.
 *
 * @throws {SyntaxError} saying what is wrong.
 */
export function parseLeading(text: string): Leading {
  return parseDestination(text, parseRange);
}

/** A host and its ports. */
function parseRange(text: string): Range {
  const fields = fieldsOf(text);
  if (fields.length > 2) throw new SyntaxError(MANY_COLONS);
  const [host = "", port] = fields;
  if (port === undefined) {
    throw new SyntaxError(`its target ${quote(text)} has no port`);
  }
  return checked(
    { host, ports: parsePorts(port, LEADING) },
    LEADING,
  );
}

/**
 * The one destination that `text` is.
 *
 * @param origin Where it was written, for messages.
 * @throws {UsageError} when it is none, or several.
 */
export function parseOneTarget(origin: string, text: string): Destination {
  try {
    const { target, site } = parseLeading(text.trim());
    if ("ports" in target && target.ports.first !== target.ports.last) {
      throw new SyntaxError("it has more than one port");
    }
    return {
      target: "ports" in target ? portOf(target, 0) : target,
      ...(site !== undefined && { site }),
    };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new UsageError(
      `${origin}: ${
        showDestination(text)
      } is no target (${TARGET_FORM}): ${error.message}`,
      { cause: error },
    );
  }
}

const MANY_COLONS =
  "it has too many colons; an IPv6 address goes in brackets, as in [::1]:8080";

/** A target with a colon of its own in front, which no port follows. */
const NAMED_TARGET = /:((?:svc|unix):(?!\d+(?:-\d+)?(?:@|$)).*)$/s;

/** What stands before the target, and the target. */
function halves(text: string): readonly [listen: string, target: string] {
  const named = NAMED_TARGET.exec(text);
  const [, target] = named ?? [];
  if (named !== null && target !== undefined) {
    return [text.slice(0, named.index), target];
  }
  const fields = fieldsOf(text);
  const [first = ""] = fields;
  if (first.includes("/")) {
    if (fields.length < 2) throw new SyntaxError("it has no target");
    return [first, fields.slice(1).join(":")];
  }
  if (fields.length < 3) throw new SyntaxError(missingIn(text, fields));
  if (fields.length > 4) throw new SyntaxError(MANY_COLONS);
  return [fields.slice(0, -2).join(":"), fields.slice(-2).join(":")];
}

/** What a forward lacks that has fewer `fields` than three. */
function missingIn(text: string, [first = "", second]: string[]): string {
  const isPorts = (field: string): boolean => /^[\d-]+$/.test(field);
  if (second === undefined) return "it has no target";
  if (isPorts(first)) {
    return isPorts(second)
      // Docker's form.
      ? `its target has no host; write for example ${first}:localhost:${second}`
      : `its target ${quote(second)} has no port`;
  }
  const port = isPorts(second) ? second : "8080";
  return `it has no port to listen at; write for example ${
    quote(`${port}:${text}`)
  }`;
}

/** What stands between the colons of `text`, save those in brackets. */
function fieldsOf(text: string): string[] {
  return text.split(/:(?![^[]*\])/);
}

/** @throws {SyntaxError} when `text` is neither a port nor a range of them. */
function parsePorts(text: string, which: Half): Ports {
  const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  const shown = `the port ${which}, ${quote(text)},`;
  if (from === undefined) {
    const hint = which === LISTENING ? " (a path has a / in it)" : "";
    throw new SyntaxError(
      `${shown} is neither a port nor a range of ports${hint}`,
    );
  }
  const ports = { first: Number(from), last: Number(to) };
  if (ports.last > MAX_PORT || ports.first > MAX_PORT) {
    throw new SyntaxError(`${shown} is above ${MAX_PORT}`);
  }
  if (ports.last < ports.first) {
    throw new SyntaxError(`${shown} runs backwards`);
  }
  if (ports.first === 0 && ports.last > 0) {
    throw new SyntaxError(
      `${shown} begins at 0, which stands for any free one`,
    );
  }
  if (countOf(ports) > MAX_FORWARDS) {
    throw new SyntaxError(`${shown} has more than ${MAX_FORWARDS} ports`);
  }
  return ports;
}

/** `range` without the brackets of its host, when the address of its first port is one. */
function checked(range: Range, which: Half): Range {
  const listens = which === LISTENING;
  const text = `${range.host}:${range.ports.first}`;
  const address = tryParseAddress(text, {
    allowEmptyHost: listens,
    allowPortZero: listens,
  });
  if (typeof address !== "string") return { ...range, host: address.host };
  throw new SyntaxError(`the address ${which}, ${quote(text)}: ${address}`);
}

function countOf({ first, last }: Ports): number {
  return last - first + 1;
}

function portOf({ host, ports }: Range, at: number): Address {
  return { host, port: ports.first + at };
}
