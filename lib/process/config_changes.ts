/**
 * What has changed from one configuration to the next, as the log's lines tell it.
 *
 * @module
 */
import { Secret } from "../base/credentials.ts";
import { joined } from "../base/text.ts";
import type { ClientEntry } from "../config/clients.ts";
import type { ConfigByRole } from "../config/config.ts";
import { formatPublicKey } from "../seal/keys.ts";
import type { Role } from "../wire/subjects.ts";
import { type KeyTexts, ownKeys } from "./key_files.ts";
import { wayChanges } from "./way_changes.ts";

/** Most names on a line of the log. */
const MAX_NAMES = 20;

/** What a line says of the keys in use; public keys are no secrets. */
export function summaryOf(
  config: ConfigByRole[Role],
  keys: KeyTexts,
): Readonly<Record<string, unknown>> {
  return {
    publicKey: ownKeys(keys).keys
      .map(({ publicKey }) => formatPublicKey(publicKey)).join(", "),
    ...(config.role === "server"
      ? { clients: config.clients.length }
      : { serverKey: config.security.serverKey?.join(", ") }),
    psk: keys.psk !== undefined,
  };
}

/** The clients that a server knows. */
export function clientsOf(config: ConfigByRole[Role]): readonly ClientEntry[] {
  return config.role === "server" ? config.clients : [];
}

/** Something that has a name, and is another where its text differs. */
interface Named {
  readonly name: string;
}

/** The names that are new, gone, or stand for something else; undefined where there are none. */
export function namedChanges(
  before: readonly Named[],
  after: readonly Named[],
): Readonly<Record<"added" | "removed" | "changed", string | undefined>> {
  const texts = (all: readonly Named[]): Map<string, string> =>
    new Map(all.map((one) => [one.name, JSON.stringify(one)]));
  const [old, now] = [texts(before), texts(after)];
  const names = [...now.keys()];
  return {
    added: listOf(names.filter((name) => !old.has(name))),
    removed: listOf([...old.keys()].filter((name) => !now.has(name))),
    changed: listOf(
      names.filter((name) => old.has(name) && old.get(name) !== now.get(name)),
    ),
  };
}

/** Names on one line, not all of them if there are many; undefined for none. */
export function listOf(names: readonly string[]): string | undefined {
  return names.length === 0 ? undefined : joined(names, MAX_NAMES);
}

/** What a line says of a client's ways in; undefined where they are as they were. */
export function forwardChanges(
  before: ConfigByRole[Role],
  after: ConfigByRole[Role],
  tunnels: number,
): Readonly<Record<string, unknown>> | undefined {
  if (before.role !== "client" || after.role !== "client") return undefined;
  const { forwards } = after.client;
  const { added, removed, changed } = wayChanges(
    before.client.forwards,
    forwards,
  );
  if (added.length + removed.length + changed.length === 0) return undefined;
  return {
    added: listOf(added),
    removed: listOf(removed),
    changed: listOf(changed),
    forwards: forwards.length,
    ...(removed.length > 0 && { tunnels }),
  };
}

/** What a line says of a server's services; undefined where they are as they were. */
export function serviceChanges(
  before: ConfigByRole[Role],
  after: ConfigByRole[Role],
): Readonly<Record<string, unknown>> | undefined {
  if (before.role !== "server" || after.role !== "server") return undefined;
  const { services } = after.server;
  const changes = namedChanges(before.server.services, services);
  return Object.values(changes).every((names) => names === undefined)
    ? undefined
    : { ...changes, services: services.length };
}

/** What a reload takes over, as a line of its own tells. */
const TOLD_APART =
  /^(?:security\..*|clients|client\.(?:forwards|accept_proxy)|server\.services)$/;

/** Options beside, which count as soon as a reload has taken them over. */
const COUNTED: readonly string[] = [
  "client.allow_from",
  "client.socks_user",
  "client.socks_password",
  "server.allow_target",
  "server.deny_target",
  "status.token",
  "log.level",
];

/** Whether this option counts as soon as a reload has taken it over. */
export function isCounted(option: string): boolean {
  return COUNTED.includes(option);
}

/** Whether a reload takes this option over. */
export function isLive(option: string): boolean {
  return isCounted(option) || TOLD_APART.test(option);
}

/** The names of what a configuration is made of, where they are not those of its members. */
const NAMES: Readonly<Record<string, string>> = {
  "nats.servers": "nats.url",
  "nats.auth": "the kind of login to NATS",
};

/** The options that differ, as config files call them; of a login its kind alone counts. */
export function changedOptions(
  before: ConfigByRole[Role],
  after: ConfigByRole[Role],
): string[] {
  const old = new Map(optionsIn(before));
  const changed = optionsIn(after).filter(([name, text]) =>
    text !== old.get(name)
  );
  return changed.map(([name]) => name).toSorted();
}

function optionsIn(
  config: ConfigByRole[Role],
): readonly (readonly [name: string, text: string])[] {
  return Object.entries(config).flatMap(([section, value]) => {
    if (typeof value !== "object" || Array.isArray(value)) {
      return [[nameOf(section), textOf(value)] as const];
    }
    return Object.entries<unknown>(value).map(([member, value]) => {
      const path = `${section}.${member}`;
      return path === "nats.auth"
        ? [nameOf(path), config.nats.auth.kind] as const
        : [nameOf(path), textOf(value)] as const;
    });
  });
}

/** A value as text of which another has the same; never to be shown. */
function textOf(value: unknown): string {
  const reveal = function (
    this: Readonly<Record<string, unknown>>,
    key: string,
    shown: unknown,
  ): unknown {
    const inner = this[key];
    return inner instanceof Secret ? inner.reveal() : shown;
  };
  return JSON.stringify(value, reveal) ?? "";
}

function nameOf(path: string): string {
  return NAMES[path] ??
    path.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
