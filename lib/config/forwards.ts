/**
 * All forwards of a client: those of the flag, the variable or the list
 * `client.forwards` of its config file, and the one that the original has.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import { formatPlace, MAX_UNIX_PATH, type Place } from "../base/place.ts";
import { quote } from "../base/text.ts";
import {
  itemsOf,
  mappingOf,
  memberOf,
  parseAt,
  requireMembers,
  type Written,
} from "./entries.ts";
import {
  type Forward,
  MAX_FORWARDS,
  pair,
  parseForward,
  parseLeading,
  parseListening,
  TARGET_FORM,
} from "./forward.ts";
import type { WayIn } from "./fronts.ts";
import { expandHome } from "./sources.ts";
import * as types from "./types.ts";

/** The key of the list in a config file. */
export const FORWARDS_KEY = "client.forwards";

/** How the members of an entry are written, by their keys. */
const MEMBERS = {
  name: types.entryName("name of a forward"),
  listen: {
    placeholder: "[BIND:]PORT",
    fileType: "number",
    parse: parseListening,
  },
  target: { placeholder: TARGET_FORM, parse: parseLeading },
  accept_proxy: types.boolean,
} as const;

/**
 * The forwards of the list `value` in the file at `place`: texts as those of
 * the flag, or mappings with `listen`, `target` and perhaps a `name` and
 * `accept_proxy`. What is wrong with one is a problem, which names it.
 */
export function parseForwards(
  value: unknown,
  { path, problems }: Omit<Written, "place"> & { readonly path: string },
): readonly Forward[] {
  const owners = new Map<string, string>();
  return itemsOf(value, FORWARDS_KEY, { path, problems }).flatMap((item) => {
    const written = { place: `${item.place} in ${path}`, problems };
    const { place } = written;
    if (typeof item.value === "string") {
      const text = item.value;
      return problems.attempt(() => parseAt(place, text, parseForward)) ?? [];
    }
    const { name, forwards } = parseEntry(item.value, written);
    if (name === undefined) return forwards;
    const owner = owners.get(name);
    if (owner === undefined) owners.set(name, item.place);
    else {
      problems.add(
        `${place}: its name ${quote(name)} is that of ${owner}, too`,
      );
    }
    return forwards.map((forward) => ({ ...forward, name }));
  });
}

/** The name and the forwards of one mapping. */
function parseEntry(
  value: unknown,
  written: Written,
): { readonly name?: string; readonly forwards: readonly Forward[] } {
  const entry = mappingOf(value, Object.keys(MEMBERS), written);
  if (entry === undefined) return { forwards: [] };
  const name = memberOf(entry, "name", MEMBERS.name, written);
  const listen = memberOf(entry, "listen", MEMBERS.listen, written);
  const target = memberOf(entry, "target", MEMBERS.target, written);
  const acceptProxy = memberOf(
    entry,
    "accept_proxy",
    MEMBERS.accept_proxy,
    written,
  );
  requireMembers(entry, ["listen", "target"], written);
  const { place, problems } = written;
  const forwards = listen && target &&
    problems.attempt(() => parseAt(place, "", () => pair(listen, target)));
  return {
    ...(name !== undefined && { name }),
    forwards: (forwards ?? []).map((forward) => ({
      ...forward,
      ...(acceptProxy !== undefined && { acceptProxy }),
    })),
  };
}

/** The forward that the original has: the only one where nobody asked for others. */
export function originalForward(listen: Address, target: Address): Forward {
  return { listen, target, origin: "--listen-addr" };
}

/** `forwards`, with the `home` for a `~` at the start of a path. */
export function withHome(
  forwards: readonly WayIn[],
  home: string | undefined,
): readonly WayIn[] {
  return forwards.map((forward) => {
    const { listen } = forward;
    if (!("path" in listen)) return forward;
    return { ...forward, listen: { path: expandHome(listen.path, home) } };
  });
}

/** `forwards`, of which those that do not say it themselves have `acceptProxy`. */
export function withProxyHeaders(
  forwards: readonly WayIn[],
  acceptProxy: boolean,
): readonly WayIn[] {
  return forwards.map((forward) =>
    acceptProxy && forward.acceptProxy === undefined
      ? { ...forward, acceptProxy }
      : forward
  );
}

/** What keeps `forwards` from being used together, a sentence each. */
export function* problemsWith(
  forwards: readonly WayIn[],
): Generator<string> {
  if (forwards.length > MAX_FORWARDS) {
    yield `There are ${forwards.length} forwards: ${MAX_FORWARDS} are the most, ranges counted port by port`;
  }
  const seen = new Map<string, WayIn>();
  for (const forward of forwards) {
    const { listen, origin } = forward;
    const shown = formatPlace(listen);
    const other = seen.get(shown);
    if (other !== undefined) {
      yield "front" in other || "front" in forward
        ? `${other.origin} and ${origin} both listen at ${shown}`
        : `Two forwards listen at ${shown}`;
    }
    if (!isAnyPort(listen)) seen.set(shown, forward);
    if (!("path" in listen)) continue;
    const length = new TextEncoder().encode(listen.path).length;
    if (length > MAX_UNIX_PATH) {
      yield `The path of a Unix socket, ${
        quote(listen.path)
      }, has ${length} bytes: the system takes ${MAX_UNIX_PATH} at most`;
    }
  }
}

function isAnyPort(listen: Place): boolean {
  return !("path" in listen) && listen.port === 0;
}
