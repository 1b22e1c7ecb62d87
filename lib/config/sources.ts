/**
 * The port to the environment and the file system, as far as configuration
 * needs them.
 *
 * @module
 */

/** Where configuration comes from besides the command line. */
export interface Sources {
  /** The environment variable `name`; undefined when unset or not permitted. */
  env(name: string): string | undefined;
  /**
   * The text of the file at `path`, or undefined when there is none.
   *
   * @throws {Deno.errors.NotCapable} when this process may not read there.
   * @throws {Error} when it cannot be read.
   */
  readTextFile(path: string): string | undefined;
  /** How the program is called in help and hints; by default the role's script. */
  readonly program?: string;
}

/** `path` with the `home` for a `~` at its start: shells put it there, but not after a `=` nor in a file. */
export function expandHome(path: string, home: string = ""): string {
  return home === "" ? path : path.replace(/^~(?=\/)/, () => home);
}

/**
 * Largest file that is read, in bytes: a hundred config files or credentials,
 * or four times the certificates of all public authorities.
 */
const MAX_FILE_SIZE = 1024 * 1024;

/** Files by path, as they were when they were read; undefined where there was none. */
export type ReadFiles = Map<string, string | undefined>;

/** Those of `files` that cannot be read again: pipes, and what has gone since. */
export function pipesAmong(files: ReadFiles): ReadFiles {
  return new Map(
    [...files].filter(([path, text]) => text !== undefined && !isFile(path)),
  );
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * The real sources. They never prompt: what is not permitted is not there.
 * With `files`, what is in there is not read again, and what is read goes there.
 *
 * @param read Reads a file.
 */
export function systemSources(
  files?: ReadFiles,
  read: (path: string) => string = readTextFile,
): Sources {
  const sources = {
    env: readEnv,
    readTextFile(path: string): string | undefined {
      if (files?.has(path)) return files.get(path);
      const text = findTextFile(path, read);
      files?.set(path, text);
      return text;
    },
  };
  const program = Deno.build.standalone
    ? baseName(Deno.execPath())
    : packagedName(Deno.mainModule);
  return program === undefined ? sources : { ...sources, program };
}

/** How a program is called that is one file of JavaScript, as the packages for npm have it. */
function packagedName(module: string): string | undefined {
  return /\/(nats-proxy-[a-z]+)\.js$/.exec(module)?.[1];
}

/** An environment variable, unless this process may not know it. */
function readEnv(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) : undefined;
}

/**
 * The variables of a service manager, taken out of the environment: they are
 * for this process, and not for the commands that it starts, which would speak
 * for it.
 */
export function takeServiceVariables(): {
  readonly notifySocket: string | undefined;
  readonly watchdogUsec: string | undefined;
  readonly watchdogPid: string | undefined;
} {
  const take = (variable: string): string | undefined => {
    const value = readEnv(variable);
    if (value !== undefined) Deno.env.delete(variable);
    return value;
  };
  return {
    notifySocket: take("NOTIFY_SOCKET"),
    watchdogUsec: take("WATCHDOG_USEC"),
    watchdogPid: take("WATCHDOG_PID"),
  };
}

/** What a text of UTF-16 begins with, as PowerShell's `>` and Notepad write it. */
const UTF_16_MARKS = [
  { encoding: "utf-16le", mark: [0xff, 0xfe] },
  { encoding: "utf-16be", mark: [0xfe, 0xff] },
] as const;

/**
 * The text of the file at `path`, which may be a pipe: UTF-8, or UTF-16 that
 * says so.
 *
 * @throws {Error} when there is none, or it cannot be read, is too large or
 * is no such text.
 */
export function readTextFile(path: string): string {
  const { state } = Deno.permissions.querySync({ name: "read", path });
  if (state !== "granted") {
    throw new Deno.errors.NotCapable(
      `no permission to read it (Deno gives it with --allow-read=${path})`,
    );
  }
  using file = Deno.openSync(path);
  const bytes = readBounded(file);
  const { encoding = "utf-8" } =
    UTF_16_MARKS.find(({ mark }) =>
      mark.every((byte, at) => bytes[at] === byte)
    ) ?? {};
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Error("it is not UTF-8 text", { cause });
  }
}

/**
 * The same while the process runs, which would do nothing else until somebody
 * writes to a pipe: none is read.
 *
 * @throws {Error} likewise, and when it is a pipe.
 */
export function readTextFileAgain(path: string): string {
  if (isPipe(path)) throw new Error("it is a pipe now, and was none before");
  return readTextFile(path);
}

function isPipe(path: string): boolean {
  try {
    return Deno.statSync(path).isFifo === true;
  } catch {
    // Whoever reads it says why it cannot be.
    return false;
  }
}

/** The text of a file, or undefined when there is none. */
function findTextFile(
  path: string,
  read: (path: string) => string,
): string | undefined {
  try {
    return read(path);
  } catch (error) {
    if (isAbsent(error, path)) return undefined;
    throw error;
  }
}

/** All bytes of `file`. */
function readBounded(file: Deno.FsFile): Uint8Array {
  const bytes = new Uint8Array(MAX_FILE_SIZE + 1);
  let length = 0;
  while (length < bytes.length) {
    const count = file.readSync(bytes.subarray(length));
    if (count === null) return bytes.subarray(0, length);
    length += count;
  }
  throw new Error(`it is larger than ${MAX_FILE_SIZE} bytes`);
}

/** Whether `error`, from opening `path`, means that there is no such file. */
function isAbsent(error: unknown, path: string): boolean {
  if (
    error instanceof Deno.errors.NotFound ||
    error instanceof Deno.errors.NotADirectory
  ) return true;
  if (!(error instanceof Deno.errors.PermissionDenied)) return false;
  // A folder that is closed to this user (a container's HOME, often) is like
  // an empty one; a file that is closed to it is a mistake to report.
  try {
    Deno.statSync(path);
    return false;
  } catch (inner) {
    if (inner instanceof Deno.errors.PermissionDenied) return true;
    throw inner;
  }
}

/** The last part of a path. */
function baseName(path: string): string {
  return path.split(/[/\\]/).at(-1) ?? path;
}
