/**
 * What SIGHUP reads anew beside the files for the login: keys, and the clients
 * that a server knows. All of it counts at once, or, if one thing is wrong,
 * nothing does.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { UsageError } from "../base/errors.ts";
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

/** Most names on a line of the log. */
const MAX_NAMES = 20;

const log = getLogger(["sproxy", "security"]);

/** What was read anew. */
export interface Reloaded {
  /** The configuration, of which only `security` and `clients` count. */
  readonly config: ConfigByRole[Role];
  /** The texts of the files that it names. */
  readonly keys: KeyTexts;
  /** The config file as it was read, for other threads. */
  readonly files: ReadFiles;
}

/** Takes what was read anew to whoever uses it, also if that comes later. */
export class Reloads {
  #latest: Reloaded | undefined;
  #apply: (reloaded: Reloaded) => void = () => {};

  /** Something was read anew. */
  deliver(reloaded: Reloaded): void {
    this.#latest = reloaded;
    this.#apply(reloaded);
  }

  /** From now on `apply` takes it; the latest at once. */
  readonly onReload = (apply: (reloaded: Reloaded) => void): void => {
    this.#apply = apply;
    if (this.#latest !== undefined) apply(this.#latest);
  };
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
  /** What the files say that it names; undefined where nothing is sealed. */
  readonly keys: KeyTexts | undefined;
}

/** Reads anew what may change while a process runs. */
export class Reloader {
  readonly #options: ReloaderOptions;
  /** What can be read once only. */
  readonly #pipes: ReadFiles;
  /** The latest whose keys and clients count. */
  #config: ConfigByRole[Role];

  /** Begins with what was read at the start. */
  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#pipes = pipesAmong(options.files);
  }

  /** Says on a line of the log what is sealed with which key, if anything is. */
  logStart(): void {
    const { config, keys } = this.#options;
    if (keys === undefined) return;
    log.info("tunnels are sealed", summaryOf(config, keys));
  }

  /** Reads, and says on a line what has changed, or what is wrong; undefined where nothing is to be taken over. */
  read(): Reloaded | undefined {
    const { role, args, pipes } = this.#options;
    const files: ReadFiles = new Map(this.#pipes);
    try {
      const command = parseCommandLine(role, args, systemSources(files));
      if (command.kind !== "run") return undefined; // the same words were, at the start
      const { config } = command;
      const keys = readKeys(config.security, pipes);
      return this.#take({ config, keys, files });
    } catch (why) {
      if (!(why instanceof UsageError)) throw why;
      log.error(
        "SIGHUP: the configuration or a key cannot be used; all stays as it is",
        { why },
      );
      return undefined;
    }
  }

  #take(
    { config, keys, files }: Omit<Reloaded, "keys"> & {
      readonly keys: KeyTexts | undefined;
    },
  ): Reloaded | undefined {
    const before = this.#config;
    const start = this.#options;
    const sections = changedSections(start.config, config);
    if (sections.length > 0) {
      log.warn("SIGHUP: options have changed that are read at the start only", {
        sections: sections.join(", "),
      });
    }
    if ((keys === undefined) !== (start.keys === undefined)) {
      log.error(
        "SIGHUP: whether tunnels are sealed is read at the start only; all stays as it is",
      );
      return undefined;
    }
    if (keys === undefined) return undefined;
    this.#config = config;
    log.info("SIGHUP: keys and clients were read anew", {
      ...summaryOf(config, keys),
      ...changesIn(clientsOf(before), clientsOf(config)),
    });
    return { config, keys, files };
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

/** The sections that differ and are read at the start only, as all of a login save its kind is not. */
function changedSections(
  before: ConfigByRole[Role],
  after: ConfigByRole[Role],
): string[] {
  const withoutLogin = ({ nats, ...rest }: ConfigByRole[Role]): object => ({
    nats: { ...nats, auth: nats.auth.kind },
    ...rest,
  });
  const texts = new Map<string, unknown>(Object.entries(withoutLogin(before)));
  return Object.entries(withoutLogin(after)).flatMap(([name, section]) =>
    name !== "security" && name !== "clients" &&
      JSON.stringify(section) !== JSON.stringify(texts.get(name))
      ? [name]
      : []
  );
}
