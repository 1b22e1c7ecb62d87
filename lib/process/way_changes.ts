/**
 * What has become of a client's ways in when its configuration was read anew:
 * which listeners go on, which end, and which are new.
 *
 * @module
 */
import { formatPlace, isAnyPort, type Place } from "../base/place.ts";
import { formatDestination } from "../base/target.ts";
import type { WayIn } from "../config/ways_in.ts";

/**
 * Which of `before` each of `after` goes on as, by its place in that list;
 * undefined for a new one. A place that stays keeps its listener, whatever it
 * now leads to. Any free port (0) is known by the name of its forward, or, where
 * it has none, by what it leads to.
 */
export function continuations(
  before: readonly WayIn[],
  after: readonly WayIn[],
): readonly (number | undefined)[] {
  const free = new Map<string, number[]>();
  before.forEach((way, at) => {
    const key = identityOf(way);
    const same = free.get(key);
    if (same === undefined) free.set(key, [at]);
    else same.push(at);
  });
  return after.map((way) => free.get(identityOf(way))?.shift());
}

/**
 * In which order `places` are to be listened at, by their places in that list:
 * those with a port of their own first, which the system then gives to no other.
 * Several threads share ports, and would share one that was chosen, too.
 */
export function listeningOrder(places: readonly Place[]): readonly number[] {
  return [...places.keys()].toSorted((one, other) =>
    Number(places[one] !== undefined && isAnyPort(places[one])) -
    Number(places[other] !== undefined && isAnyPort(places[other]))
  );
}

/** What changes from one configuration to the next, by what people call it. */
export interface WayChanges {
  /** New ones. */
  readonly added: readonly string[];
  /** Those that are gone. */
  readonly removed: readonly string[];
  /** Those that lead elsewhere, have another name or heed PROXY headers now, or no more, at the same place. */
  readonly changed: readonly string[];
}

/** What has changed between two lists of ways in. */
export function wayChanges(
  before: readonly WayIn[],
  after: readonly WayIn[],
): WayChanges {
  const from = continuations(before, after);
  const isChanged = (way: WayIn, at: number): boolean => {
    const old = from[at] === undefined ? undefined : before[from[at]];
    return old !== undefined &&
      (old.name !== way.name || leadsTo(old) !== leadsTo(way) ||
        old.acceptProxy !== way.acceptProxy);
  };
  return {
    added: after.filter((_, at) => from[at] === undefined).map(shown),
    removed: before.filter((_, at) => !from.includes(at)).map(shown),
    changed: after.filter(isChanged).map(shown),
  };
}

/** Whether two places cannot be listened at together for certain: they may be the same port of one machine. */
export function mayCollide(one: Place, other: Place): boolean {
  return !("path" in one) && !("path" in other) && one.port !== 0 &&
    one.port === other.port;
}

/** By what a way in is found again. */
function identityOf(way: WayIn): string {
  const place = formatPlace(way.listen);
  if ("path" in way.listen || way.listen.port !== 0) return place;
  return JSON.stringify([place, way.name ?? null, way.name ?? leadsTo(way)]);
}

/** Where its connections go. */
function leadsTo(way: WayIn): string {
  return "front" in way
    ? JSON.stringify([way.front, way.site ?? null])
    : formatDestination(way);
}

/** What it is called: its name, and else where it listens. */
function shown({ name, listen }: WayIn): string {
  return name ?? formatPlace(listen);
}
