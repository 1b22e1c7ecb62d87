/**
 * A machine as hardened services and containers see it: a root that nobody may
 * write, no HOME, only one's own processes in /proc, and a user without rights.
 *
 * @module
 */
import { locate } from "../../tools/find_or_install.ts";
import { type Process, run, spawn } from "./processes.ts";
import {
  baseEnvironment,
  PROJECT,
  type RoleName,
  runArguments,
} from "./roles.ts";
import { UNSHARE } from "./surroundings.ts";

/** A user and a group that own nothing. */
export const NOBODY = 65_534;

/** Where the program, the runtime and its cache are there. */
const STAGE = "/tmp/tcp-sproxy-bare-host";

/**
 * Makes it, for the rest of its arguments. What it mounts is gone with the last
 * process there.
 */
const SCRIPT = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$0"
mkdir "$0/app" "$0/cache"
touch "$0/deno"
mount --bind "$1" "$0/app"
mount --bind "$2" "$0/cache"
mount --bind "$3" "$0/deno"
shift 3
mount -t proc -o subset=pid,hidepid=invisible proc /proc
for place in "$0/app" "$0/cache" "$0" /; do mount -o remount,bind,ro "$place"; done
cd "$0/app"
exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups --no-new-privs \\
  --inh-caps=-all --bounding-set=-all "$@"`;

/** The arguments of `unshare` that run `command` there. */
async function there(...command: readonly string[]): Promise<string[]> {
  const { DENO_DIR = "" } = await baseEnvironment();
  const deno = await Deno.realPath(Deno.execPath());
  await Deno.mkdir(STAGE, { recursive: true });
  return [
    ...["--mount", "sh", "-c", SCRIPT, STAGE],
    ...[PROJECT.pathname, DENO_DIR, deno],
    ...command,
  ];
}

/** Whether there can be such a place here; a line says why not. */
export async function hasBareHost(): Promise<boolean> {
  const [setpriv, mount] = [await locate("setpriv"), await locate("mount")];
  if (UNSHARE !== undefined && setpriv !== undefined && mount !== undefined) {
    const { status } = await run(UNSHARE, { args: await there("true") });
    if (status.success) return true;
  }
  // deno-lint-ignore no-console -- the test runner shows it
  console.warn(
    "tests are ignored: no read-only root can be made here (unshare and setpriv as root do)",
  );
  return false;
}

/** Starts a role there, with the permissions of its task and next to no variables. */
export async function spawnBare(
  role: RoleName,
  { args, secrets }: {
    readonly args: readonly string[];
    /** A folder that it may read beside its own. */
    readonly secrets: string;
  },
): Promise<Process> {
  const words = (await runArguments(role, { HOME: secrets })).slice(0, -1);
  const command = await there(
    ...[`${STAGE}/deno`, ...words, `${role}.ts`, ...args],
  );
  return spawn(UNSHARE ?? "unshare", {
    name: role,
    args: command,
    env: {
      PATH: Deno.env.get("PATH") ?? "",
      DENO_DIR: `${STAGE}/cache`,
      NO_COLOR: "1",
    },
    clearEnv: true,
  });
}
