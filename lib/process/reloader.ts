/**
 * Reads anew what a configuration is made of, beside the files for the login,
 * and tells what has changed.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { parseCommandLine } from "../config/cli.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { Notice } from "../config/problems.ts";
import {
  pipesAmong,
  type ReadFiles,
  readTextFileAgain,
  systemSources,
} from "../config/sources.ts";
import type { Role } from "../wire/subjects.ts";
import {
  changedOptions,
  clientsOf,
  forwardChanges,
  isCounted,
  isLive,
  listOf,
  namedChanges,
  serviceChanges,
  summaryOf,
} from "./config_changes.ts";
import { logNotices } from "./explain.ts";
import { type KeyTexts, readKeys } from "./key_files.ts";
import type { Pipes } from "./login_files.ts";
import type { ReloadCause, Reloaded } from "./reload.ts";

const log = getLogger(["sproxy", "reload"]);

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
  /** What a person was told of it. */
  readonly notices: readonly Notice[];
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
  /** Whether that said anything. */
  #empty: boolean;
  /** What a person was told last. */
  #notices: readonly Notice[];

  /** Begins with what was read at the start. */
  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#file = options.configFile;
    this.#notices = options.notices;
    this.#pipes = pipesAmong(options.files);
    this.#empty = isEmpty(options.configFile, options.files);
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
    const command = parseCommandLine(
      role,
      args,
      systemSources(files, readTextFileAgain),
    );
    // The same words were, at the start.
    if (command.kind !== "run") throw new TypeError(command.kind);
    const { config, configFile, notices } = command;
    if (configFile === undefined && this.#file !== undefined) {
      throw new UsageError(`the config file ${quote(this.#file)} is gone`);
    }
    const empty = isEmpty(configFile, files);
    // As it is while somebody writes it, or the disk is full; and the defaults
    // of a server let anything be reached.
    if (empty && !this.#empty) {
      throw new UsageError(
        `the config file ${quote(configFile ?? "")} is empty`,
      );
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
        const known = this.#notices;
        logNotices(
          role,
          notices.filter(({ text }) => !known.some((it) => it.text === text)),
        );
        this.#notices = notices;
        this.#config = config;
        this.#file = configFile;
        this.#empty = empty;
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
    const forwards = forwardChanges(before, config, tunnels);
    const services = serviceChanges(before, config);
    if (keys !== undefined) {
      log.info(`${cause}: keys and clients were read anew`, {
        ...summaryOf(config, keys),
        ...namedChanges(clientsOf(before), clientsOf(config)),
      });
    }
    if (services !== undefined) {
      log.info(`${cause}: services have changed; open tunnels go on`, services);
    }
    if (forwards !== undefined) {
      log.info(`${cause}: forwards have changed; open tunnels go on`, forwards);
    }
    if (live.length > 0) {
      log.info(`${cause}: options have changed, and count from now on`, {
        options: listOf(live),
      });
    }
    const told = keys ?? forwards ?? services ?? live[0] ?? late[0];
    if (told === undefined) {
      log.info(`${cause}: the configuration has not changed`);
    }
  }
}

/** Whether there is nothing at all in the config file, or there is none. */
function isEmpty(path: string | undefined, files: ReadFiles): boolean {
  return path === undefined || files.get(path)?.trim() === "";
}
