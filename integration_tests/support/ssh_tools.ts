/**
 * The programs of OpenSSH that tests use, where they are installed.
 *
 * @module
 */
import { locate } from "../../tools/find_or_install.ts";

/** The programs an sshd of our own and a login there take. */
const NEEDED = ["ssh", "sshd", "ssh-keygen"];

/** Their paths by name: all of them, or none. */
export const SSH_TOOLS: ReadonlyMap<string, string> = await findTools();

async function findTools(): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const tool of NEEDED) {
    const path = await locate(tool);
    if (path === undefined) {
      // deno-lint-ignore no-console -- why tests are ignored
      console.error(`no tests with ssh: ${tool} is not installed`);
      return new Map();
    }
    found.set(tool, path);
  }
  return found;
}
