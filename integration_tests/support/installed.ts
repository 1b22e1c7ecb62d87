/**
 * The programs as they are after an installation: commands on the PATH, for
 * command lines as users type them.
 *
 * @module
 */
import type { Folder } from "./folder.ts";
import { type Process, run, spawn, type SpawnOptions } from "./processes.ts";
import { baseEnvironment, type RoleName, runArguments } from "./roles.ts";

/** How a line ended, and what it wrote to standard output and error. */
export interface Ran {
  /** Its exit code. */
  readonly code: number;
  /** All lines. */
  readonly output: string;
}

/** Commands in a folder, which is the HOME of those who call them, too. */
export class Installed {
  /** The environment of whoever calls them. */
  readonly env: Readonly<Record<string, string>>;
  readonly #cwd: string;

  private constructor(env: Readonly<Record<string, string>>, cwd: string) {
    this.env = env;
    this.#cwd = cwd;
  }

  /**
   * Puts `nats-proxy-client` and `nats-proxy-server` there, each with the
   * permissions of its task; the client may run commands, too, as a binary may.
   *
   * @param folder Where, and HOME.
   * @param env What else is in the environment.
   */
  static async at(
    folder: Folder,
    env: Readonly<Record<string, string>> = {},
  ): Promise<Installed> {
    const base = await baseEnvironment();
    const all: Record<string, string> = { ...base, HOME: folder.path, ...env };
    const bin = folder.at("bin");
    await Deno.mkdir(bin);
    for (const role of ["client", "server"] satisfies RoleName[]) {
      const [run = "", ...args] = await runArguments(role, all);
      const more = role === "client" ? ["--allow-run"] : [];
      const command = [Deno.execPath(), run, ...more, ...args].map(quoted)
        .join(" ");
      const path = `${bin}/nats-proxy-${role}`;
      await Deno.writeTextFile(path, `#!/bin/sh\nexec ${command} "$@"\n`);
      await Deno.chmod(path, 0o755);
    }
    return new Installed(
      { ...all, PATH: `${bin}:${base.PATH}` },
      folder.path,
    );
  }

  /** How a process is started that calls them. */
  get options(): Pick<SpawnOptions, "env" | "clearEnv" | "cwd"> {
    return { env: this.env, clearEnv: true, cwd: this.#cwd };
  }

  /** Runs a line of the shell to its end. */
  async sh(line: string): Promise<Ran> {
    const { status, output } = await run("bash", {
      ...this.options,
      name: line,
      args: ["-c", line],
    });
    return { code: status.code, output };
  }

  /** Starts `nats-proxy-client` with these arguments; what it and its children write is kept. */
  spawnClient(...args: readonly string[]): Process {
    return spawn("nats-proxy-client", { ...this.options, args });
  }

  /** Starts `nats-proxy-client` with these arguments, its three streams in our hands. */
  startClient(...args: readonly string[]): Deno.ChildProcess {
    return new Deno.Command("nats-proxy-client", {
      args: [...args],
      ...this.options,
      env: { ...this.env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }
}

/** `word` for a shell. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
