/**
 * Starts a PostgreSQL of our own for a while.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import { Folder } from "../integration_tests/support/folder.ts";
import { owned } from "../integration_tests/support/owned.ts";
import {
  run,
  spawnOnFreePort,
} from "../integration_tests/support/processes.ts";

/** The user of the database. */
export const POSTGRES_USER = "bench";

/** The system's user it runs as where we are root, as which it refuses to. */
const SYSTEM_USER = "nobody";

/** How long it may take to make the files, in ms. */
const INIT_LIMIT = 60_000;

/** A database server that listens. */
export interface Postgres extends AsyncDisposable {
  /** Where it listens. */
  readonly endpoint: Endpoint;
}

/** Makes a database in a directory that is removed, and starts it; whoever connects is {@linkcode POSTGRES_USER}. */
export async function startPostgres(
  programs: { readonly initdb: string; readonly postgres: string },
  signal?: AbortSignal,
): Promise<Postgres> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const through = await asSystemUser(folder.path);
  const files = folder.at("data");
  await must([
    ...through,
    programs.initdb,
    ...["-D", files, "-U", POSTGRES_USER, "-A", "trust"],
    ...["-E", "UTF8", "--locale", "C", "--no-sync"],
  ]);
  const words = (port: number): string[] => [
    ...through,
    programs.postgres,
    // -F: it syncs nothing to disk; -k: its Unix socket.
    ...["-D", files, "-h", "127.0.0.1", "-p", `${port}`, "-k", folder.path],
    "-F",
  ];
  const { process, endpoint } = await spawnOnFreePort(words(0)[0] ?? "", {
    name: "postgres",
    args: (port) => words(port).slice(1),
    ready: /database system is ready to accept connections/,
    signal,
  });
  cleanup.defer(async () => {
    // SIGINT has it end its sessions; killed, it would leave their processes.
    process.signal("SIGINT");
    await process.status;
  });
  return owned(cleanup, { endpoint });
}

/** Runs a command to its end. */
async function must([command = "", ...args]: readonly string[]): Promise<void> {
  const signal = AbortSignal.timeout(INIT_LIMIT);
  const { status, output } = await run(command, { args, signal });
  if (!status.success) throw new Error(`${command} failed: ${output}`);
}

/** What to put before a command so that it runs as a user that PostgreSQL takes, who then owns `folder`. */
async function asSystemUser(folder: string): Promise<readonly string[]> {
  if (Deno.uid() !== 0) return [];
  const id = async (flag: string): Promise<number> =>
    Number((await run("id", { args: [flag, SYSTEM_USER] })).output);
  const [user, group] = [await id("-u"), await id("-g")];
  await Deno.chown(folder, user, group);
  // deno-fmt-ignore
  return ["setpriv", `--reuid=${user}`, `--regid=${group}`, "--clear-groups", "--"];
}
