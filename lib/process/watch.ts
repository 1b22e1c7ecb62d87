/**
 * Watches the config file and the files that it names, and tells when what is in
 * them has changed, however they were replaced: written in place, renamed over,
 * or by a link to a folder that leads elsewhere, as Kubernetes does it.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Clock, systemClock } from "../base/clock.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { ConfigByRole } from "../config/config.ts";
import { readTextFileAgain } from "../config/sources.ts";
import type { Role } from "../wire/subjects.ts";
import { loginFile } from "./login_files.ts";

/** How long nothing must happen in the folders before files are looked at, in ms: who writes in several steps is then done. */
export const QUIET_MS = 200;

/** How long a look may be put off by what happens in the folders, in ms: one of them may never be quiet. */
export const LATEST_MS = 2_000;

/** How long after a folder is gone, or nothing can be watched, it is looked for again, in ms. */
const SEEK_MS = 2_000;

const log = getLogger(["sproxy", "watch"]);

/** What is watched with; a part of `Deno`. */
export type WatchFs = (
  paths: string[],
  options: { readonly recursive: boolean },
) => AsyncIterable<Pick<Deno.FsEvent, "kind">> & { close(): void };

/** What {@linkcode watchConfig} is told. */
export interface WatchOptions {
  /** The files to watch now, the config file first. */
  readonly files: () => readonly string[];
  /** Called when what is in them has changed. */
  readonly onChange: () => void;
  /** Where the time comes from; default the system's. */
  readonly clock?: Clock;
  /** Watches folders; default the system. */
  readonly watchFs?: WatchFs;
}

/**
 * The files of which a change may count while a process runs: the config file,
 * and those of keys and of the login.
 *
 * @throws {UsageError} when there is no config file that could change.
 */
export function filesOf(
  { nats, security, status }: ConfigByRole[Role],
  file: string | undefined,
): readonly string[] {
  if (file === undefined) {
    throw new UsageError(
      "--watch-config: there is no config file to watch (--config names one)",
    );
  }
  const { auth, tls: { ca, cert, key } } = nats;
  const { psk, secretKey = [] } = security;
  const named = [loginFile(auth), ca, cert, key, psk, status.token].concat(
    secretKey,
  );
  return [file, ...named.filter((path) => path !== undefined)];
}

/**
 * Begins to watch; until disposed.
 *
 * @throws {UsageError | RunError} when that cannot be.
 */
export function watchConfig(options: WatchOptions): ConfigWatch {
  const [file = ""] = options.files();
  if (Deno.statSync(file).isFile) return new Watch(options);
  throw new UsageError(
    `--watch-config: the config file ${quote(file)} is no file that can change`,
  );
}

/** A watch that has begun. */
export interface ConfigWatch extends Disposable {
  /** There may be other files to watch. */
  refresh(): void;
}

/** What of a folder tells whether it is still the same. */
type FolderId = string;

class Watch implements ConfigWatch {
  readonly #options: WatchOptions;
  readonly #clock: Clock;
  /** What was in the files when they were last looked at. */
  #seen: string;
  /** Whether it was told that the config file is gone. */
  #gone = false;
  /** Whether it was told that a folder cannot be watched. */
  #blind = false;
  #watcher: ReturnType<WatchFs> | undefined;
  /** The folders that are watched. */
  #folders = new Map<string, FolderId>();
  #timer: Disposable | undefined;
  /** When a look is to be taken, whatever happens. */
  #latest = Infinity;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const problem = this.#watch();
    if (problem !== undefined) {
      this[Symbol.dispose]();
      throw new RunError(`Cannot watch ${problem}`);
    }
    this.#seen = contentsOf(options.files());
    log.info("the configuration is watched", {
      folders: [...this.#folders.keys()].join(", "),
    });
  }

  refresh(): void {
    this.#soon(QUIET_MS);
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** Watches the folders as they are now; returns what cannot be watched, and why. */
  #watch(): string | undefined {
    const wanted = watchableOf(this.#options.files());
    const closed = wanted.filter((path) => !mayRead(path));
    if (closed.length > 0) {
      const flag = `--allow-read=${closed.join(",")}`;
      return `${
        closed.join(", ")
      }: no permission to read it (Deno gives it with ${flag})`;
    }
    const folders = new Map<string, FolderId>();
    for (const path of wanted) {
      const id = idOf(path);
      if (id !== undefined) folders.set(path, id);
    }
    if (isSame(folders, this.#folders)) return undefined;
    const before = this.#watcher;
    this.#folders = folders;
    this.#watcher = undefined;
    before?.close();
    if (folders.size === 0) return undefined;
    const watchFs = this.#options.watchFs ?? Deno.watchFs;
    const paths = [...folders.keys()];
    try {
      this.#watcher = watchFs(paths, { recursive: false });
    } catch (error) {
      this.#folders = new Map();
      return `${paths.join(", ")}: ${messageOf(error)}`;
    }
    void this.#hear(this.#watcher);
    return undefined;
  }

  /** Says that nothing is seen any more. */
  #tellBlind(why: unknown): void {
    log.warn(
      "watch: changes of the configuration are not seen any more; SIGHUP still has it read",
      { why },
    );
  }

  /** Takes in what happens in the folders; it never throws. */
  async #hear(watcher: ReturnType<WatchFs>): Promise<void> {
    try {
      for await (const { kind } of watcher) {
        if (watcher !== this.#watcher) return;
        // One made anew may have the number of the one that is gone.
        if (kind === "remove") this.#folders = new Map();
        // Also of our own reading; whoever writes does more.
        if (kind !== "access") this.#soon(QUIET_MS);
      }
    } catch (why) {
      if (watcher !== this.#watcher) return;
      this.#tellBlind(why);
    }
  }

  /** Has a look taken when nothing has happened for `ms`, or it is time. */
  #soon(ms: number): void {
    const now = this.#clock.now();
    if (this.#timer === undefined) this.#latest = now + LATEST_MS;
    this.#timer?.[Symbol.dispose]();
    const wait = Math.max(0, Math.min(ms, this.#latest - now));
    this.#timer = this.#clock.after(wait, () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  /** Finds out whether anything has changed. */
  #look(): void {
    const files = this.#options.files();
    const problem = this.#watch();
    if (problem !== undefined && !this.#blind) {
      this.#tellBlind(problem);
    }
    this.#blind = problem !== undefined;
    // A folder that comes again makes no event in one that is not there.
    if (
      problem !== undefined ||
      watchableOf(files).some((path) => !this.#folders.has(path))
    ) {
      this.#soon(SEEK_MS);
    }
    const [file = ""] = files;
    if (idOf(file) === undefined) {
      if (!this.#gone) {
        log.warn("watch: the config file is gone; all stays as it is", {
          file,
        });
      }
      this.#gone = true;
      return;
    }
    const contents = contentsOf(files);
    if (contents !== this.#seen) {
      this.#seen = contents;
      this.#options.onChange();
    } else if (this.#gone) {
      log.info("watch: the config file is there again, as it was", { file });
    }
    this.#gone = false;
  }
}

/** The folders in which a change of `files` shows: where they are, and where what they are links to is. */
function foldersOf(files: readonly string[]): readonly string[] {
  return [
    ...new Set(files.flatMap((path) => {
      const real = realPath(path);
      return real === undefined
        ? [folderOf(path)]
        : [folderOf(path), folderOf(real)];
    })),
  ];
}

/** Those that may be watched; the config file's must be. */
function watchableOf(files: readonly string[]): readonly string[] {
  return foldersOf(files).filter((path) =>
    path === folderOf(files[0] ?? "") || mayRead(path)
  );
}

function mayRead(path: string): boolean {
  const { state } = Deno.permissions.querySync({ name: "read", path });
  return state === "granted";
}

function folderOf(path: string): string {
  const end = path.search(/[/\\][^/\\]*$/);
  return end < 0 ? "." : end === 0 ? "/" : path.slice(0, end);
}

/** What `path` leads to; undefined where there is nothing, or it may not be known. */
function realPath(path: string): string | undefined {
  try {
    return Deno.realPathSync(path);
  } catch {
    // Whoever reads it says what is wrong.
    return undefined;
  }
}

/** Tells one file or folder from another of the same path; undefined where there is none. */
function idOf(path: string): FolderId | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev} ${ino}`;
  } catch {
    // Not there, or closed to us, which is the same here.
    return undefined;
  }
}

/** What is in `files`, as a text that another has only of the same. */
function contentsOf(files: readonly string[]): string {
  return JSON.stringify(files.map((path) => {
    try {
      return [path, readTextFileAgain(path)];
    } catch (error) {
      return [path, null, messageOf(error)];
    }
  }));
}

function isSame(
  one: ReadonlyMap<string, FolderId>,
  other: ReadonlyMap<string, FolderId>,
): boolean {
  return one.size === other.size &&
    [...one].every(([path, id]) => other.get(path) === id);
}
