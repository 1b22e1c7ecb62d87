/**
 * The list `clients` of a server's config file: who may open tunnels, by the
 * keys of the clients, and what each of them may do.
 *
 * @module
 */
import type { TargetRule } from "../base/target_rules.ts";
import { quote } from "../base/text.ts";
import type { Problems } from "./problems.ts";
import { itemsOf, mappingOf, memberOf, requireMembers } from "./entries.ts";
import * as places from "./place_types.ts";
import * as types from "./types.ts";

/** The key of the list in a config file. */
export const CLIENTS_KEY = "clients";

/** Characters of a key that name a client which has no other name. */
const NAME_OF_KEY_LENGTH = 12;

/** A client that may open tunnels. */
export interface ClientEntry {
  /** What it is called in logs and metrics; no other has the name. */
  readonly name: string;
  /** Its public keys: one, and while it changes them the next; no other has them. */
  readonly keys: readonly string[];
  /** The targets it may reach; without it, those that the server's general rules allow. */
  readonly allow?: readonly TargetRule[];
  /** Targets it may not reach, whatever else allows them. */
  readonly deny?: readonly TargetRule[];
  /** The services it may ask for; without it, all. With it, and without `allow`, it reaches nothing else. */
  readonly services?: readonly string[];
  /** Most tunnels open at once; without it, the server's limit for any client. */
  readonly maxTunnels?: number;
  /** Most tunnels being opened at once; without it, no share of its own. */
  readonly maxOpening?: number;
  /** Most opens a second; without it, the server's limit for any client. */
  readonly rate?: number;
}

/** An entry, and where it was written, for messages. */
export interface WrittenClient {
  /** The entry. */
  readonly client: ClientEntry;
  /** The place in the file, or the flag. */
  readonly place: string;
}

/** How the values of an entry are written, by their keys. */
const MEMBERS = {
  name: types.entryName("client name"),
  keys: types.publicKeys(),
  allow: places.targetRules,
  deny: places.targetRules,
  services: places.serviceNames,
  max_tunnels: types.integer({ min: 1, max: types.MAX_TUNNELS }),
  max_opening: types.integer({ min: 1, max: types.MAX_TUNNELS }),
  rate: types.integer({ min: 1, max: types.MAX_OPEN_RATE }),
} as const;

/** The entries of the list `value` in the file at `path`; what is wrong with one is a problem, which names it. */
export function parseClients(
  value: unknown,
  { path, problems }: { readonly path: string; readonly problems: Problems },
): WrittenClient[] {
  return itemsOf(value, CLIENTS_KEY, { path, problems }).flatMap(
    ({ value, place }) => {
      const client = parseEntry(value, `${place} in ${path}`, problems);
      return client === undefined ? [] : [{ client, place }];
    },
  );
}

/** The clients that have nothing but one of these keys. */
export function clientsOfKeys(keys: readonly string[]): WrittenClient[] {
  return keys.map((key) => {
    const name = key.slice(0, NAME_OF_KEY_LENGTH);
    return {
      client: { name, keys: [key] },
      place: `security.client_key (${name})`,
    };
  });
}

/** Names and keys that more than one entry has, a sentence each that names both. */
export function* duplicatesIn(
  written: readonly WrittenClient[],
): Generator<string> {
  const owners = new Map<string, string>();
  for (const { client, place } of written) {
    const parts = [
      ["name", client.name] as const,
      ...client.keys.map((key) => ["key", key] as const),
    ];
    for (const [what, text] of parts) {
      const owner = owners.get(`${what} ${text}`);
      owners.set(`${what} ${text}`, owner ?? place);
      if (owner === undefined) continue;
      yield `${place}: its ${what} ${quote(text)} is that of ${owner}, too`;
    }
  }
}

/** The client that `item` describes; undefined when something is wrong with it. */
function parseEntry(
  item: unknown,
  place: string,
  problems: Problems,
): ClientEntry | undefined {
  const written = { place, problems };
  const entry = mappingOf(item, Object.keys(MEMBERS), written);
  if (entry === undefined) return undefined;
  const name = memberOf(entry, "name", MEMBERS.name, written);
  const keys = memberOf(entry, "keys", MEMBERS.keys, written);
  const allow = memberOf(entry, "allow", MEMBERS.allow, written);
  const deny = memberOf(entry, "deny", MEMBERS.deny, written);
  const services = memberOf(entry, "services", MEMBERS.services, written);
  const maxTunnels = memberOf(
    entry,
    "max_tunnels",
    MEMBERS.max_tunnels,
    written,
  );
  const maxOpening = memberOf(
    entry,
    "max_opening",
    MEMBERS.max_opening,
    written,
  );
  const rate = memberOf(entry, "rate", MEMBERS.rate, written);
  requireMembers(entry, ["name", "keys"], written);
  if (allow?.length === 0) {
    problems.add(
      `${place}: allow is empty; leave it out where the server's general rules are meant`,
    );
  }
  if (name === undefined || keys === undefined) return undefined;
  return {
    name,
    keys,
    ...(allow && { allow }),
    ...(deny && { deny }),
    ...(services && { services }),
    ...(maxTunnels !== undefined && { maxTunnels }),
    ...(maxOpening !== undefined && { maxOpening }),
    ...(rate !== undefined && { rate }),
  };
}
