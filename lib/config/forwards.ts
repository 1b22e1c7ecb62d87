/**
 * The list `client.forwards` of a config file.
 *
 * @module
 */
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
  pair,
  parseForward,
  parseLeading,
  parseListening,
  TARGET_FORM,
} from "./forward.ts";
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
