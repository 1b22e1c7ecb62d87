/**
 * Programs that some tests are made with and can do without: found, installed
 * where that needs no question, or the tests are ignored.
 *
 * @module
 */
import { RunError } from "../../lib/base/errors.ts";
import {
  findOrInstall,
  locate,
  type Tool,
} from "../../tools/find_or_install.ts";

/** HAProxy, which reads and writes the PROXY protocol. */
export const HAPROXY: Tool = {
  command: "haproxy",
  aptPackage: "haproxy",
  hint: "HAProxy 2.6 or later, on PATH",
};

/** nginx, which reads it. */
export const NGINX: Tool = {
  command: "nginx",
  aptPackage: "nginx-light",
  hint: "nginx 1.22 or later, on PATH",
};

/** Prometheus, which scrapes metrics, and what checks its files. */
export const PROMETHEUS = ["prometheus", "promtool"].map((command): Tool => ({
  command,
  aptPackage: "prometheus",
  hint: "Prometheus 2.42 or later, on PATH",
}));

/** The programs of OpenSSH that an sshd of our own and a login there take. */
export const SSH = ["ssh", "sshd", "ssh-keygen"] as const;

/** The paths of all of `tools` by their commands; undefined, after a line that says why, where one cannot be had. */
export async function findOptional(
  ...tools: readonly Tool[]
): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    return await findOrInstall(() => {}, tools);
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    sayIgnored(error.message);
    return undefined;
  }
}

/** The paths of all `commands` by their names; none, after a line that says which is missing, where one is not installed. */
export async function locateAll(
  ...commands: readonly string[]
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const command of commands) {
    const path = await locate(command);
    if (path === undefined) {
      sayIgnored(`${command} is not installed`);
      return new Map();
    }
    found.set(command, path);
  }
  return found;
}

/** How a test is declared that takes all `commands`: ignored, after a line that says why, where one is not installed. */
export async function needs(
  ...commands: readonly string[]
): Promise<{ readonly ignore: boolean }> {
  return { ignore: (await locateAll(...commands)).size === 0 };
}

function sayIgnored(why: string): void {
  // deno-lint-ignore no-console -- the test runner shows it
  console.warn(`tests are ignored: ${why}`);
}
