/**
 * Where a client listens for SOCKS and for HTTP to a proxy.
 *
 * @module
 */
import type { Place } from "../base/place.ts";
import { quote, redactUrl } from "../base/text.ts";
import type { FrontKind } from "../front/parser.ts";
import { type Forward, parseListening } from "./forward.ts";

/** A place to listen at whose applications say themselves where they want to go. */
export interface Front {
  /** It has none. */
  readonly name?: undefined;
  /** Where connections are accepted. */
  readonly listen: Place;
  /** What they say it in. */
  readonly front: FrontKind;
  /** The flag that asks for such a one, for messages. */
  readonly origin: string;
}

/** Where connections of applications come in: to one target, or to any. */
export type WayIn = Forward | Front;

/**
 * A place to listen at: `[BIND:]PORT`, BIND being localhost unless given, or a
 * path with a `/` in it.
 *
 * @throws {SyntaxError} naming `text`, the right form and what is wrong.
 */
export function parseFrontPlace(text: string): Place {
  try {
    if (text === "") throw new SyntaxError("it is empty");
    if (text.includes("://")) {
      throw new SyntaxError("it has a scheme; leave that out");
    }
    const listen = parseListening(text);
    if ("path" in listen) return listen;
    const { host, ports: { first, last } } = listen;
    if (first === last) return { host, port: first };
    throw new SyntaxError("it is a range of ports; one is enough");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(
      `${
        quote(redactUrl(text))
      } is no place to listen at ([BIND:]PORT or PATH, such as 1080): ${error.message}`,
      { cause: error },
    );
  }
}

/** The front-ends of one kind at these places. */
export function frontsAt(
  front: FrontKind,
  places: readonly Place[],
): readonly Front[] {
  return places.map((listen) => ({ listen, front, origin: `--${front}` }));
}
