/**
 * What the field has and loopback has not: a host that swallows everything,
 * names of one's own, few open files.
 *
 * @module
 */

import { locate } from "../../tools/find_or_install.ts";
import assert from "node:assert/strict";
import { type Endpoint, endpointOf } from "./addresses.ts";
import { Folder } from "./folder.ts";
import { run } from "./processes.ts";

/** A listener at which a dial hangs: its queue is full, and what comes more is dropped. */
export class BlackHole implements Disposable {
  /** Where it is. */
  readonly endpoint: Endpoint;
  readonly #listener: Deno.TcpListener;
  readonly #waiting = new DisposableStack();

  private constructor(endpoint: Endpoint) {
    this.#listener = Deno.listen({ ...endpoint, tcpBacklog: 1 });
    this.endpoint = endpointOf(this.#listener);
  }

  /** Opens one; a dial hangs when this resolves. */
  static async open(endpoint: Endpoint): Promise<BlackHole> {
    const hole = new BlackHole(endpoint);
    for (;;) {
      const signal = AbortSignal.timeout(HANGING);
      try {
        hole.#waiting.use(await Deno.connect({ ...hole.endpoint, signal }));
      } catch (error) {
        if (!signal.aborted) throw error;
        return hole;
      }
    }
  }

  /** From now on dials are refused. */
  [Symbol.dispose](): void {
    this.#waiting.dispose();
    this.#listener.close();
  }
}

/** A dial on loopback that takes so long, in ms, is one that hangs. */
const HANGING = 300;

/** Where `prlimit` is; undefined where there is none. */
export const PRLIMIT: string | undefined = await locate("prlimit");

/** Lets a running process have `most` open files at a time. Needs {@linkcode PRLIMIT}. */
export async function limitFiles(pid: number, most: number): Promise<void> {
  const { status, output } = await run(PRLIMIT ?? "prlimit", {
    args: ["--pid", String(pid), `--nofile=${most}:`],
  });
  assert.equal(status.code, 0, output);
}

/** Where `unshare` is, if it can make namespaces here: that takes root. */
export const UNSHARE: string | undefined = await mountNamespaces();

/**
 * What runs a command that knows exactly the names of a hosts file, for
 * {@linkcode RoleOptions.through}. Needs {@linkcode UNSHARE}.
 */
export function withHosts(file: string): readonly string[] {
  const script = `mount --bind "$0" /etc/hosts &&
    echo "hosts: files" > "$0.nsswitch" &&
    mount --bind "$0.nsswitch" /etc/nsswitch.conf && exec "$@"`;
  return [UNSHARE ?? "unshare", "--mount", "sh", "-c", script, file];
}

/** A file of `lines` for {@linkcode withHosts}. */
export async function hostsFile(
  cleanup: AsyncDisposableStack,
  ...lines: readonly string[]
): Promise<string> {
  const folder = cleanup.use(await Folder.make());
  const text = ["127.0.0.1 localhost", "::1 localhost", ...lines].join("\n");
  return await folder.write("hosts", `${text}\n`);
}

async function mountNamespaces(): Promise<string | undefined> {
  const command = await locate("unshare");
  if (command === undefined) return undefined;
  const { status } = await run(command, { args: ["--mount", "true"] });
  return status.success ? command : undefined;
}

/** Whether this machine lets us have a network of our own, where every port is free. */
export async function hasOwnNetwork(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("unshare", {
      args: ["-n", "ip", "link", "set", "lo", "up"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
