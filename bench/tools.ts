/**
 * The programs the bench drives that are not ours: found, or installed where
 * that needs no question. What is missing skips the figures that need it.
 *
 * @module
 */

import { messageOf } from "../lib/base/errors.ts";
import { locate } from "../tools/find_or_install.ts";

/** The programs and the Debian packages that have them. */
export const PACKAGES = {
  "nats-server": "nats-server",
  "redis-server": "redis-server",
  "redis-benchmark": "redis-tools",
  iperf3: "iperf3",
  ssh: "openssh-client",
  "ssh-keygen": "openssh-client",
  sshd: "openssh-server",
} as const;

/** A program the bench can use. */
export type ToolName = keyof typeof PACKAGES;

/** Longest an installation may take, in ms. */
const INSTALL_LIMIT = 180_000;

/** Where a policy that forbids packages to start services is looked for. */
const POLICY = "/usr/sbin/policy-rc.d";

/** Which tools are there, and where. */
export type Tools = ReadonlyMap<ToolName, string>;

/** Finds all tools, and tries once to install those missing; never rejects for a missing one. */
export async function findTools(say: (line: string) => void): Promise<Tools> {
  const found = await locateAll();
  const missing = names().filter((name) => !found.has(name));
  if (missing.length === 0) return found;
  try {
    await install(missing, say);
  } catch (error) {
    say(`not installed: ${missing.join(", ")}: ${messageOf(error)}`);
  }
  return await locateAll();
}

/** The first line of what a command prints about its version; "?" when it prints none. */
export async function versionOf(
  command: string,
  args: readonly string[],
): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout).trim() || decoder.decode(stderr).trim();
  return text.split("\n")[0] ?? "?";
}

function names(): ToolName[] {
  return Object.keys(PACKAGES).filter((name): name is ToolName =>
    Object.hasOwn(PACKAGES, name)
  );
}

async function locateAll(): Promise<Map<ToolName, string>> {
  const found = new Map<ToolName, string>();
  for (const name of names()) {
    const path = await locate(name);
    if (path !== undefined) found.set(name, path);
  }
  return found;
}

async function install(
  missing: readonly ToolName[],
  say: (line: string) => void,
): Promise<void> {
  const packages = [...new Set(missing.map((name) => PACKAGES[name]))];
  const apt = await locate("apt-get");
  if (apt === undefined || Deno.uid() !== 0) {
    throw new Error(
      `install ${packages.join(" ")} yourself (no apt-get here, or not root)`,
    );
  }
  say(`installing ${packages.join(" ")}`);
  // Packages must not start their services: the bench starts its own.
  const ours = await writePolicy();
  try {
    const { success, stderr } = await new Deno.Command(apt, {
      args: ["install", "-y", "-q", "--no-install-recommends", ...packages],
      env: { DEBIAN_FRONTEND: "noninteractive" },
      stdin: "null",
      signal: AbortSignal.timeout(INSTALL_LIMIT),
    }).output();
    if (!success) {
      throw new Error(new TextDecoder().decode(stderr).trim().slice(-300));
    }
  } finally {
    if (ours) await Deno.remove(POLICY);
  }
}

/** Forbids services to start; false when a policy is there already. */
async function writePolicy(): Promise<boolean> {
  try {
    await Deno.writeTextFile(POLICY, "#!/bin/sh\nexit 101\n", {
      createNew: true,
      mode: 0o755,
    });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw error;
  }
}
