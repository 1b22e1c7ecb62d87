/**
 * Measures what the processes of a way use: CPU time and memory, each process
 * with its children (an sshd forks).
 *
 * @module
 */

import {
  cpuSeconds,
  residentBytes,
} from "../integration_tests/support/proc_stats.ts";
import type { Process } from "../integration_tests/support/processes.ts";
import type { Parts } from "./measure.ts";

/** Processes by name. */
export type Processes = Readonly<Record<string, Pick<Process, "pid">>>;

/** CPU time used so far by each process and its living children, in seconds. */
export async function cpuOf(processes: Processes): Promise<Parts> {
  return await sumOf(processes, cpuSeconds);
}

/** Resident memory of each process with its children, in bytes. */
export async function memoryOf(processes: Processes): Promise<Parts> {
  return await sumOf(processes, residentBytes);
}

/** `after - before`, process by process, times `factor`. */
export function differenceOf(
  after: Parts,
  before: Parts,
  factor: number = 1,
): Parts {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [
      name,
      (value - (before[name] ?? 0)) * factor,
    ]),
  );
}

/** All shares together. */
export function totalOf(parts: Parts): number {
  return Object.values(parts).reduce((sum, value) => sum + value, 0);
}

async function sumOf(
  processes: Processes,
  measure: (pid: number) => Promise<number>,
): Promise<Parts> {
  const children = await childrenByParent();
  const sums: Record<string, number> = {};
  for (const [name, { pid }] of Object.entries(processes)) {
    let sum = 0;
    for (const member of family(pid, children)) sum += await measure(member);
    sums[name] = sum;
  }
  return sums;
}

function family(
  pid: number,
  children: ReadonlyMap<number, readonly number[]>,
): number[] {
  const below = children.get(pid) ?? [];
  return [pid, ...below.flatMap((child) => family(child, children))];
}

async function childrenByParent(): Promise<Map<number, number[]>> {
  const children = new Map<number, number[]>();
  for await (const { name } of Deno.readDir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
      const parent = Number(
        stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1],
      );
      children.set(parent, [...children.get(parent) ?? [], pid]);
    } catch (error) {
      // It ended while we looked (ENOENT, or ESRCH on the read).
      if (error instanceof Deno.errors.NotFound) continue;
      if (error instanceof Error && "code" in error && error.code === "ESRCH") {
        continue;
      }
      throw error;
    }
  }
  return children;
}
