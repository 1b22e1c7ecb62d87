/**
 * Finds nats-server, redis-server and openssl, and installs them where that
 * needs no question: on a Debian-like system with apt-get, as root or with sudo
 * that asks for no password.
 *
 * `deno task setup` runs it; the demo, the tests and the gate use it.
 *
 * @module
 */

import { RunError } from "../lib/base/errors.ts";

/** A program the tests and the demo need that is not ours. */
export interface Tool {
  /** The command. */
  readonly command: string;
  /** The Debian package that has it. */
  readonly aptPackage: string;
  /** Where to get it on other systems. */
  readonly hint: string;
}

/** The programs we need and cannot do without. */
export const TOOLS = [
  {
    command: "nats-server",
    aptPackage: "nats-server",
    hint: "the nats-server release for your system, on PATH",
  },
  {
    command: "redis-server",
    aptPackage: "redis-server",
    hint: "Redis 6 or later for your system, on PATH",
  },
] as const satisfies readonly Tool[];

/** The same, and what only the tests need. */
const TEST_TOOLS = [
  ...TOOLS,
  {
    command: "openssl",
    aptPackage: "openssl",
    hint: "OpenSSL 3 or later for your system, on PATH",
  },
] as const satisfies readonly Tool[];

/** Where system packages put servers; often missing from a user's PATH. */
const EXTRA_DIRS = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/sbin"];

/** Debian asks this program, if there is one, whether a package may start its server; 101 says no. */
const SERVICE_POLICY = "/usr/sbin/policy-rc.d";

/** The path of `command` on PATH or in a system directory; undefined if there is none. */
export async function locate(command: string): Promise<string | undefined> {
  const path = (Deno.env.get("PATH") ?? "").split(":").filter((d) => d !== "");
  for (const dir of [...path, ...EXTRA_DIRS]) {
    const file = `${dir}/${command}`;
    try {
      const info = await Deno.stat(file);
      if (info.isFile && ((info.mode ?? 0) & 0o111) !== 0) return file;
    } catch (error) {
      // Not here: PATH may name what does not exist or may not be looked into.
      if (error instanceof Deno.errors.NotFound) continue;
      if (error instanceof Deno.errors.NotADirectory) continue;
      if (error instanceof Deno.errors.PermissionDenied) continue;
      throw error;
    }
  }
  return undefined;
}

/**
 * The path of `command`.
 *
 * @throws {RunError} saying what to do when it is not installed.
 */
export async function requireTool(command: string): Promise<string> {
  const path = await locate(command);
  if (path !== undefined) return path;
  throw new RunError(
    `${command} is not installed: run \`deno task setup\`, or install it yourself and put it on PATH`,
  );
}

/** Paths of those of `tools` that are here, by command. */
export async function locateAll(
  tools: readonly Tool[],
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { command } of tools) {
    const path = await locate(command);
    if (path !== undefined) found.set(command, path);
  }
  return found;
}

/**
 * Finds all of `tools` and installs those missing.
 *
 * @returns their paths by command.
 * @throws {RunError} naming what is missing and what to install.
 */
export async function findOrInstall(
  say: (line: string) => void,
  tools: readonly Tool[] = TOOLS,
): Promise<ReadonlyMap<string, string>> {
  const before = await locateAll(tools);
  for (const [command, path] of before) say(`found ${command}: ${path}`);
  const missing = tools.filter(({ command }) => !before.has(command));
  if (missing.length === 0) return before;
  await aptInstall(missing, say);
  const found = await locateAll(tools);
  for (const { command, aptPackage, hint } of missing) {
    const path = found.get(command);
    if (path === undefined) {
      throw new RunError(
        `Package ${aptPackage} is installed and ${command} is still not on PATH: install ${hint}`,
      );
    }
    say(`installed ${command}: ${path}`);
  }
  return found;
}

async function aptInstall(
  tools: readonly Tool[],
  say: (line: string) => void,
): Promise<void> {
  const names = tools.map((tool) => tool.command).join(" and ");
  const wanted = tools.map((tool) => tool.hint).join("; and ");
  const apt = await locate("apt-get");
  if (apt === undefined) {
    throw new RunError(
      `${names} not found, no apt-get here: install ${wanted}`,
    );
  }
  const prefix = await asRoot();
  const packages = [...new Set(tools.map((tool) => tool.aptPackage))];
  if (prefix === undefined) {
    throw new RunError(
      `${names} not found and installing needs root: run \`sudo apt-get install -y ${
        packages.join(" ")
      }\``,
    );
  }
  const allowAgain = await forbidServices(prefix, say);
  try {
    // A stale or partly unreachable index is no reason to stop: the install says.
    if (await sh([...prefix, apt, "update", "-q"], say) !== 0) {
      say("apt-get update failed; trying to install all the same");
    }
    const code = await sh([
      ...prefix,
      "env",
      "DEBIAN_FRONTEND=noninteractive",
      apt,
      "install",
      "-y",
      "-q",
      "--no-install-recommends",
      ...packages,
    ], say);
    if (code !== 0) {
      throw new RunError(
        `apt-get install ${
          packages.join(" ")
        } failed with exit code ${code} (see above): install ${wanted}`,
      );
    }
  } finally {
    await allowAgain();
  }
}

/** What to put before a command to run it as root; undefined when we cannot. */
async function asRoot(): Promise<readonly string[] | undefined> {
  if (Deno.uid() === 0) return [];
  const sudo = await locate("sudo");
  if (sudo === undefined) return undefined;
  const { success } = await new Deno.Command(sudo, {
    args: ["-n", "true"],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  return success ? [sudo, "-n"] : undefined;
}

/**
 * Keeps packages from starting their servers on the standard ports: ours start
 * their own. A policy that is there already is left alone.
 *
 * @returns what undoes it.
 */
async function forbidServices(
  prefix: readonly string[],
  say: (line: string) => void,
): Promise<() => Promise<void>> {
  // noclobber: the shell refuses to replace a file.
  const write =
    `set -C; printf '#!/bin/sh\\nexit 101\\n' > ${SERVICE_POLICY} && chmod 755 ${SERVICE_POLICY}`;
  if (await exists(SERVICE_POLICY)) return () => Promise.resolve();
  await sh([...prefix, "sh", "-c", write], say);
  return async () => {
    await sh([...prefix, "rm", "-f", SERVICE_POLICY], say);
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function sh(
  [command, ...args]: readonly string[],
  say: (line: string) => void,
): Promise<number> {
  if (command === undefined) throw new TypeError("No command to run");
  say(`$ ${[command, ...args].join(" ")}`);
  const { code } = await new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  return code;
}

if (import.meta.main) {
  try {
    // deno-lint-ignore no-console -- a command-line tool's output
    await findOrInstall((line) => console.log(line), TEST_TOOLS);
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    // deno-lint-ignore no-console -- a command-line tool's output
    console.error(error.message);
    Deno.exit(1);
  }
}
