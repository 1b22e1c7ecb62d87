/**
 * Where and with what the bench ran.
 *
 * @module
 */

import type { SshKit } from "./ssh.ts";
import { type Tools, versionOf } from "./tools.ts";

/** The machine and the versions of all that took part. */
export interface Machine {
  /** Cores this process may use. */
  readonly cores: number;
  /** The processor's name. */
  readonly cpu: string;
  /** Memory, in bytes. */
  readonly memory: number;
  /** Load average of the last minute before the run: what else was going on. */
  readonly load: number;
  /** The kernel. */
  readonly system: string;
  /** Name and version of each program, in the order of the report. */
  readonly versions: Readonly<Record<string, string>>;
}

/** Asks the system and every tool. */
export async function describeMachine(
  tools: Tools,
  ssh: SshKit | undefined,
): Promise<Machine> {
  const versions: Record<string, string> = {
    deno: `${Deno.version.deno} (V8 ${Deno.version.v8})`,
  };
  const add = async (
    name: string,
    command: string | undefined,
    args: readonly string[],
  ) => {
    if (command === undefined) versions[name] = "missing";
    else versions[name] = await versionOf(command, args);
  };
  await add("nats-server", tools.get("nats-server"), ["--version"]);
  await add("OpenSSH", tools.get("ssh"), ["-V"]);
  if (ssh) versions["ssh cipher"] = await ssh.cipher();
  await add("iperf3", tools.get("iperf3"), ["--version"]);
  await add("redis-server", tools.get("redis-server"), ["--version"]);
  await add("redis-benchmark", tools.get("redis-benchmark"), ["--version"]);
  return {
    cores: navigator.hardwareConcurrency,
    cpu: await cpuModel(),
    memory: Deno.systemMemoryInfo().total,
    load: Deno.loadavg()[0] ?? 0,
    system: `${Deno.build.os} ${Deno.osRelease()} ${Deno.build.arch}`,
    versions,
  };
}

async function cpuModel(): Promise<string> {
  const text = await Deno.readTextFile("/proc/cpuinfo");
  // ARM has no such line.
  return /^model name\s*:\s*(.+)$/m.exec(text)?.[1] ?? Deno.build.arch;
}
