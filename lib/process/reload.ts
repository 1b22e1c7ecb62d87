/**
 * What a reload reads anew beside the files for the login: keys, the clients
 * that a server knows, a client's forwards. All of it counts at once, or, if one
 * thing is wrong, nothing does.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { Secret } from "../base/credentials.ts";
import { UsageError } from "../base/errors.ts";
import type { Place } from "../base/place.ts";
import { quote } from "../base/text.ts";
import { parseCommandLine } from "../config/cli.ts";
import type { ClientEntry } from "../config/clients.ts";
import type { ConfigByRole } from "../config/config.ts";
import {
  pipesAmong,
  type ReadFiles,
  systemSources,
} from "../config/sources.ts";
import { formatPublicKey } from "../seal/keys.ts";
import type { Role } from "../wire/subjects.ts";
import { type KeyTexts, ownKeys, readKeys } from "./key_files.ts";
import type { Pipes } from "./login_files.ts";
import { wayChanges } from "./way_changes.ts";

/** Most names on a line of the log. */
const MAX_NAMES = 20;

const log = getLogger(["sproxy", "security"]);

/** What asked for a reload. */
export type ReloadCause = "SIGHUP" | "watch";

/** What was read anew. */
export interface Reloaded {
  /** The configuration, of which only what a {@linkcode ReloadPart} takes over counts. */
  readonly config: ConfigByRole[Role];
  /** The texts of the files of keys that it names; undefined where nothing is sealed. */
  readonly keys: KeyTexts | undefined;
  /** The config file as it was read, for other threads. */
  readonly files: ReadFiles;
  /** Where a client's forwards are to listen, in their order, where that is decided. */
  readonly places?: readonly Place[] | undefined;
  /** Most tunnels that descriptors then allow; undefined when that is not known. */
  readonly tunnelsByDescriptors?: number | undefined;
  /** Most connections at front-ends whose request is not whole. */
  readonly maxStrangers?: number | undefined;
}

/** What one part of a process has made ready to take over. */
export interface Prepared {
  /** Open tunnels of ways in that will be gone. */
  readonly tunnels?: number | undefined;
  /** Where a client's forwards will listen, in their order. */
  readonly places?: readonly Place[] | undefined;
  /** Takes it over, which cannot fail. */
  commit(): void | Promise<void>;
  /** All stays as it was. */
  abandon?(): void | Promise<void>;
}

/**
 * A part of a process that takes over something of what is read anew: keys and
 * clients, forwards, services, the level of the log. All parts make ready what
 * may fail, and only then does any take something over.
 */
export interface ReloadPart {
  /**
   * Makes ready what a reload changes here; nothing has changed yet.
   *
   * @throws {UsageError | RunError} when that cannot be, and nothing is to change anywhere.
   */
  prepare(reloaded: Reloaded): Prepared | Promise<Prepared>;
}

/** What all parts have made ready. */
type PreparedAll = Required<Prepared> & {
  readonly tunnels: number;
  abandon(): Promise<void>;
};

/** All parts of a process, or of a worker. */
export class Reloads implements ReloadPart {
  readonly #parts: ReloadPart[] = [];
  #latest: Reloaded | undefined;

  /** Begins with what was read anew already, if anything was. */
  constructor(latest?: Reloaded) {
    this.#latest = latest;
  }

  /** What was taken over last; undefined where all is as at the start. */
  get latest(): Reloaded | undefined {
    return this.#latest;
  }

  /** From now on `part` takes over what is read anew. */
  join(part: ReloadPart): void {
    this.#parts.push(part);
  }

  /** Makes all parts ready; one that cannot be leaves the others as they were. */
  async prepare(reloaded: Reloaded): Promise<PreparedAll> {
    const ready: Prepared[] = [];
    const abandon = async (): Promise<void> => {
      for (const prepared of ready.toReversed()) await prepared.abandon?.();
    };
    try {
      for (const part of this.#parts) ready.push(await part.prepare(reloaded));
    } catch (error) {
      await abandon();
      throw error;
    }
    const places = ready.map(({ places }) => places)
      .find((places) => places !== undefined);
    return {
      tunnels: ready.reduce((sum, { tunnels = 0 }) => sum + tunnels, 0),
      places,
      abandon,
      commit: async () => {
        this.#latest = { ...reloaded, places };
        for (const prepared of ready) await prepared.commit();
      },
    };
  }
}

/** What a {@linkcode Reloader} is told of the start. */
export interface ReloaderOptions {
  /** Which program. */
  readonly role: Role;
  /** Its command line. */
  readonly args: readonly string[];
  /** The files read for the configuration. */
  readonly files: ReadFiles;
  /** What was read of pipes. */
  readonly pipes: Pipes;
  /** The configuration. */
  readonly config: ConfigByRole[Role];
  /** The config file, if there is one. */
  readonly configFile: string | undefined;
  /** What the files say that it names; undefined where nothing is sealed. */
  readonly keys: KeyTexts | undefined;
}

/** What was read anew, and differs from what counts so that it can be taken over. */
export interface Change {
  /** What was read. */
  readonly reloaded: Reloaded;
  /**
   * It has been taken over: says on the log's lines what has changed.
   *
   * @param tunnels Open tunnels of ways in that are gone.
   */
  taken(tunnels: number): void;
}

/** Reads anew what may change while a process runs. */
export class Reloader {
  readonly #options: ReloaderOptions;
  /** What can be read once only. */
  readonly #pipes: ReadFiles;
  /** The latest of which counts what may change. */
  #config: ConfigByRole[Role];
  /** The config file that it came from. */
  #file: string | undefined;

  /** Begins with what was read at the start. */
  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#file = options.configFile;
    this.#pipes = pipesAmong(options.files);
  }

  /** The configuration of which counts what may change. */
  get config(): ConfigByRole[Role] {
    return this.#config;
  }

  /** The config file that it came from, if it did. */
  get file(): string | undefined {
    return this.#file;
  }

  /** Says on a line of the log what is sealed with which key, if anything is. */
  logStart(): void {
    const { config, keys } = this.#options;
    if (keys === undefined) return;
    log.info("tunnels are sealed", summaryOf(config, keys));
  }

  /**
   * Reads all of it.
   *
   * @throws {UsageError} when it cannot be used, and all stays as it is.
   */
  read(cause: ReloadCause): Change {
    const { role, args, pipes } = this.#options;
    const files: ReadFiles = new Map(this.#pipes);
    const command = parseCommandLine(role, args, systemSources(files));
    // The same words were, at the start.
    if (command.kind !== "run") throw new TypeError(command.kind);
    const { config, configFile } = command;
    if (configFile === undefined && this.#file !== undefined) {
      throw new UsageError(`the config file ${quote(this.#file)} is gone`);
    }
    const keys = readKeys(config.security, pipes);
    if ((keys === undefined) !== (this.#options.keys === undefined)) {
      throw new UsageError(
        "whether tunnels are sealed is read at the start only",
      );
    }
    return {
      reloaded: { config, keys, files },
      taken: (tunnels) => {
        this.#tell(cause, { config, keys, tunnels });
        this.#config = config;
        this.#file = configFile;
      },
    };
  }

  #tell(
    cause: ReloadCause,
    { config, keys, tunnels }: {
      readonly config: ConfigByRole[Role];
      readonly keys: KeyTexts | undefined;
      readonly tunnels: number;
    },
  ): void {
    const before = this.#config;
    const late = changedOptions(this.#options.config, config)
      .filter((option) => !isLive(option));
    if (late.length > 0) {
      log.warn(
        `${cause}: options have changed that are read at the start only`,
        {
          options: listOf(late),
        },
      );
    }
    const live = changedOptions(before, config).filter(isCounted);
    const forwards = forwardsIn(before, config, tunnels);
    if (keys !== undefined) {
      log.info(`${cause}: keys and clients were read anew`, {
        ...summaryOf(config, keys),
        ...changesIn(clientsOf(before), clientsOf(config)),
      });
    }
    if (forwards !== undefined) {
      log.info(`${cause}: forwards have changed; open tunnels go on`, forwards);
    }
    if (live.length > 0) {
      log.info(`${cause}: options have changed, and count from now on`, {
        options: listOf(live),
      });
    }
    const told = keys ?? forwards ?? live[0] ?? late[0];
    if (told === undefined) {
      log.info(`${cause}: the configuration has not changed`);
    }
  }
}

/** What a line says of the keys in use; public keys are no secrets. */
function summaryOf(
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

function clientsOf(config: ConfigByRole[Role]): readonly ClientEntry[] {
  return config.role === "server" ? config.clients : [];
}

/** The names that are new, gone, or stand for something else; undefined where there are none. */
function changesIn(
  before: readonly ClientEntry[],
  after: readonly ClientEntry[],
): Readonly<Record<"added" | "removed" | "changed", string | undefined>> {
  const texts = (clients: readonly ClientEntry[]): Map<string, string> =>
    new Map(clients.map((client) => [client.name, JSON.stringify(client)]));
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

function listOf(names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined;
  const more = names.length - MAX_NAMES;
  const told = names.slice(0, MAX_NAMES).join(", ");
  return more > 0 ? `${told} and ${more} more` : told;
}

/** What a line says of a client's forwards; undefined where they are as they were. */
function forwardsIn(
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

/** What a reload takes over, as a line of its own tells. */
const TOLD_APART = /^(?:security\..*|clients|client\.forwards)$/;

/** Options beside, which count as soon as a reload has taken them over. */
const COUNTED: readonly string[] = [
  "client.allow_from",
  "client.socks_user",
  "client.socks_password",
  "log.level",
];

function isCounted(option: string): boolean {
  return COUNTED.includes(option);
}

function isLive(option: string): boolean {
  return isCounted(option) || TOLD_APART.test(option);
}

/** The names of what a configuration is made of, where they are not those of its members. */
const NAMES: Readonly<Record<string, string>> = {
  "nats.servers": "nats.url",
  "nats.auth": "the kind of login to NATS",
};

/** The options that differ, as config files call them; of a login its kind alone counts. */
function changedOptions(
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
