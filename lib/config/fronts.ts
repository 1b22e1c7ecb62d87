/**
 * Where a client listens for SOCKS and for HTTP to a proxy.
 *
 * @module
 */
import type { Place } from "../base/place.ts";
import { showDestination, splitSite } from "../base/target.ts";
import type { FrontKind } from "../front/parser.ts";
import { parseListening } from "./forward.ts";

/** A place to listen at whose applications say themselves where they want to go. */
export interface Front {
  /** It has none. */
  readonly name?: undefined;
  /** Where connections are accepted. */
  readonly listen: Place;
  /** The site that all of them go to; undefined for none. */
  readonly site?: string | undefined;
  /** What they say it in. */
  readonly front: FrontKind;
  /** Whether its connections begin with a PROXY protocol header; undefined where it does not say. */
  readonly acceptProxy?: boolean | undefined;
  /** The flag that asks for such a one, for messages. */
  readonly origin: string;
}

/** Where a front-end listens, and where its connections go. */
export type FrontPlace = Pick<Front, "listen" | "site">;

/**
 * A place to listen at: `[BIND:]PORT`, BIND being localhost unless given, or a
 * path with a `/` in it; and `@SITE` if all connections are to go there.
 *
 * @throws {SyntaxError} naming `text`, the right form and what is wrong.
 */
export function parseFrontPlace(text: string): FrontPlace {
  try {
    if (text === "") throw new SyntaxError("it is empty");
    if (text.includes("://")) {
      throw new SyntaxError("it has a scheme; leave that out");
    }
    const { rest, site } = splitSite(text);
    const listen = parseListening(rest);
    const of = site === undefined ? {} : { site };
    if ("path" in listen) return { listen, ...of };
    const { host, ports: { first, last } } = listen;
    if (first === last) return { listen: { host, port: first }, ...of };
    throw new SyntaxError("it is a range of ports; one is enough");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(
      `${
        showDestination(text)
      } is no place to listen at ([BIND:]PORT or PATH, such as 1080, perhaps with @SITE): ${error.message}`,
      { cause: error },
    );
  }
}

/** The front-ends of one kind at these places. */
export function frontsAt(
  front: FrontKind,
  places: readonly FrontPlace[],
): readonly Front[] {
  return places.map((place) => ({ ...place, front, origin: `--${front}` }));
}
