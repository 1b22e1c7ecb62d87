/**
 * Config files: found, read and checked against the table of options. What
 * comes out is text, as if it had been given in the environment.
 *
 * @module
 */

import type { Problems } from "./problems.ts";
import { expandHome, type Sources } from "./sources.ts";
import { CONFIG_EXTENSIONS, parseConfigText } from "./syntax.ts";
import { CLIENTS_KEY, parseClients, type WrittenClient } from "./clients.ts";
import type { Forward } from "./forward.ts";
import { FORWARDS_KEY, parseForwards } from "./forwards.ts";
import type { WrittenService } from "./service.ts";
import { parseServices, SERVICES_KEY } from "./services.ts";
import { describe, isMapping, textOf } from "./file_values.ts";
import { messageOf, UsageError } from "../base/errors.ts";
import { type OptionKey, optionsOf } from "./options.ts";
import { otherRole, type Role } from "../wire/subjects.ts";
import { closest, quote, redactUrl } from "../base/text.ts";

/** A config file, read and checked; its values are still text. */
export interface ConfigFile {
  /** The path it was read from. */
  readonly path: string;
  /** The text of each option it sets. */
  readonly texts: ReadonlyMap<OptionKey, string>;
  /** The clients that a server's file lists. */
  readonly clients: readonly WrittenClient[];
  /** The forwards that a client's file lists; undefined where it has no such list. */
  readonly forwards: readonly Forward[] | undefined;
  /** The services that a server's file lists; undefined where it has no such list. */
  readonly services: readonly WrittenService[] | undefined;
}

/** The name of the config file of `role`, without its extension. */
export function configFileName(role: Role): string {
  return `.nats-proxy-${role}`;
}

/** The paths where a config file of `role` is looked for, first found wins; an empty `home` is none. */
export function configSearchPaths(role: Role, home: string = ""): string[] {
  const folders = home === "" ? ["."] : [".", home];
  return folders.flatMap((folder) =>
    CONFIG_EXTENSIONS.map((extension) =>
      `${folder}/${configFileName(role)}.${extension}`
    )
  );
}

/** How {@linkcode findConfigFile} looks. */
export interface FileSearch {
  /** The one file to read; without it there is a search. */
  readonly path?: string | undefined;
  /** Where files are. */
  readonly sources: Sources;
  /** Takes what is wrong with keys and values in the file. */
  readonly problems: Problems;
}

/**
 * The config file of `role`: the one at `path`, or else the first that the
 * search finds, or undefined. Paths that this process may not read are not
 * searched.
 *
 * @throws {UsageError} when there is no file at `path`, or the file is not
 * readable or has a syntax error.
 */
export function findConfigFile(
  role: Role,
  { path, sources, problems }: FileSearch,
): ConfigFile | undefined {
  const home = sources.env("HOME");
  const paths = path === undefined
    ? configSearchPaths(role, home)
    : [expandHome(path, home)];
  for (const candidate of paths) {
    const text = read(candidate, { sources, named: path !== undefined });
    if (text !== undefined) {
      return parseConfigFile(role, { path: candidate, text, problems });
    }
  }
  if (path === undefined) return undefined;
  throw new UsageError(`--config: no file ${path} found`);
}

/** Starts the names at the top of a file that are no sections, as in files of Compose: their values are for merging. */
const EXTENSION = "x-";

/**
 * The options in the file at `path` whose content is `text`. A key that `role`
 * does not have and a value of a wrong type are `problems`.
 *
 * @throws {UsageError} for a syntax error.
 */
export function parseConfigFile(
  role: Role,
  { path, text, problems }: {
    readonly path: string;
    readonly text: string;
    readonly problems: Problems;
  },
): ConfigFile {
  const options = optionsOf(role);
  const texts = new Map<OptionKey, string>();
  const clients: WrittenClient[] = [];
  let forwards: readonly Forward[] | undefined;
  let services: readonly WrittenService[] | undefined;
  const collect = (section: unknown, prefix: string): void => {
    // A section or key with nothing after it is like one that is not there.
    if (section === null || section === undefined) return;
    if (!isMapping(section)) {
      const name = prefix === "" ? "The top level" : prefix.slice(0, -1);
      problems.add(
        `${name} in ${path}: ${
          describe(section)
        } where there must be a mapping`,
      );
      return;
    }
    for (const [name, value] of Object.entries(section)) {
      const at = prefix + name;
      if (at.startsWith(EXTENSION)) continue;
      if (at === CLIENTS_KEY && role === "server") {
        if (value === null || value === undefined) continue;
        clients.push(...parseClients(value, { path, problems }));
        continue;
      }
      const option = options.find(({ key }) => key === at);
      if (option === undefined) {
        if (!options.some(({ key }) => key.startsWith(`${at}.`))) {
          problems.add(unknownKey(at, { role, path }));
        } else collect(value, `${at}.`);
      } else if (value !== null && value !== undefined) {
        // A key may be nested or written with its dots, but not both.
        const listed = at === FORWARDS_KEY && forwards !== undefined ||
          at === SERVICES_KEY && services !== undefined;
        if (listed || texts.has(option.key)) {
          problems.add(`${at} is given twice in ${path}`);
        }
        if (at === FORWARDS_KEY && Array.isArray(value)) {
          forwards = parseForwards(value, { path, problems });
          continue;
        }
        if (at === SERVICES_KEY && Array.isArray(value)) {
          services = parseServices(value, { path, problems });
          continue;
        }
        const text = problems.attempt(() =>
          textOf(value, option, {
            placeOf: (item) => `${at}${item} in ${path}`,
            problems,
          })
        );
        if (text !== undefined) texts.set(option.key, text);
      }
    }
  };
  collect(parseConfigText(path, text), "");
  return { path, texts, clients, forwards, services };
}

/** The text at `path`, which a person `named` or the search came to. */
function read(
  path: string,
  { sources, named }: { readonly sources: Sources; readonly named: boolean },
): string | undefined {
  try {
    return sources.readTextFile(path);
  } catch (error) {
    // A process without the permission was meant not to look there.
    if (!named && error instanceof Deno.errors.NotCapable) return undefined;
    throw new UsageError(
      `Cannot read config file ${path}: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** What is said of a key that the role does not have. */
function unknownKey(
  at: string,
  { role, path }: { readonly role: Role; readonly path: string },
): string {
  if (/^\/[/*]/.test(at)) {
    return `A key in ${path} begins with ${
      at.slice(0, 2)
    }: if it is a comment, begin that with #`;
  }
  const keys = optionsOf(role).map(({ key }) => key);
  const foreign = at === CLIENTS_KEY ||
    optionsOf(otherRole(role)).some(({ key }) =>
      key === at || key.startsWith(`${at}.`)
    );
  const sections = new Set(keys.map((key) => key.split(".")[0] ?? key));
  if (role === "server") sections.add(CLIENTS_KEY);
  const near = closest(at, [...keys, ...sections]);
  const hint = foreign
    ? ` (only the ${otherRole(role)} has it)`
    : near === undefined
    ? ""
    : ` (did you mean ${near}?)`;
  return `Unknown key ${quote(redactUrl(at))} in ${path}${hint}`;
}
