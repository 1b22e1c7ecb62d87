/**
 * Programs that some tests are made with and can do without: found, installed
 * where that needs no question, or the tests are ignored.
 *
 * @module
 */
import { RunError } from "../../lib/base/errors.ts";
import { findOrInstall, type Tool } from "../../tools/find_or_install.ts";

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

/** The paths of all of `tools` by their commands; undefined, after a line that says why, where one cannot be had. */
export async function findOptional(
  ...tools: readonly Tool[]
): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    return await findOrInstall(() => {}, tools);
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    // deno-lint-ignore no-console -- the test runner shows it
    console.warn(`tests are ignored: ${error.message}`);
    return undefined;
  }
}
