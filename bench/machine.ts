/**
 * Says where and with what the bench runs.
 *
 * @module
 */

import { run } from "../integration_tests/support/processes.ts";
import type { Peers } from "./peers.ts";
import type { SshKit } from "./ssh.ts";

/** How each program is asked for its version, by the name in the report. */
const VERSIONS = {
  "nats-server": ["nats-server", "--version"],
  OpenSSH: ["ssh", "-V"],
  iperf3: ["iperf3", "--version"],
  "redis-server": ["redis-server", "--version"],
  "redis-benchmark": ["redis-benchmark", "--version"],
  PostgreSQL: ["postgres", "--version"],
  pgbench: ["pgbench", "--version"],
  nginx: ["nginx", "-v"],
  h2load: ["h2load", "--version"],
} as const;

/** What the machine and the programs are, by name, in the order of the report. */
export async function describeMachine(
  tools: ReadonlyMap<string, string>,
  ssh: SshKit | undefined,
  { chisel, peer }: Peers = {},
): Promise<Record<string, string>> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  // ARM has no such line.
  const cpu = /^model name\s*:\s*(.+)$/m.exec(cpuinfo)?.[1] ?? Deno.build.arch;
  const gibibytes = Deno.systemMemoryInfo().total / 2 ** 30;
  const machine: Record<string, string> = {
    processor: `${cpu}, ${navigator.hardwareConcurrency} cores`,
    memory: `${gibibytes.toFixed(1)} GiB`,
    system: `${Deno.build.os} ${Deno.osRelease()} ${Deno.build.arch}`,
    "load before the run": (Deno.loadavg()[0] ?? 0).toFixed(2),
    deno: `${Deno.version.deno} (V8 ${Deno.version.v8})`,
  };
  for (const [name, [command, flag]] of Object.entries(VERSIONS)) {
    const path = tools.get(command);
    machine[name] = path === undefined
      ? "missing"
      : (await run(path, { args: [flag] })).output.split("\n")[0] ?? "?";
  }
  if (chisel !== undefined) {
    machine.chisel = (await run(chisel, { args: ["--version"] })).output;
  }
  if (peer) machine.peer = `${peer.name}: \`${peer.command}\``;
  if (ssh) machine["ssh cipher"] = await ssh.cipher();
  return machine;
}
