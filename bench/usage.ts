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
    let sum = await measure(pid);
    for (const child of below(pid, children)) {
      // A child may have ended since they were listed (an sshd's do).
      sum += await unlessEnded(() => measure(child)) ?? 0;
    }
    sums[name] = sum;
  }
  return sums;
}

/** The children of a process, and theirs. */
function below(
  pid: number,
  children: ReadonlyMap<number, readonly number[]>,
): number[] {
  return (children.get(pid) ?? [])
    .flatMap((child) => [child, ...below(child, children)]);
}

async function childrenByParent(): Promise<Map<number, number[]>> {
  const children = new Map<number, number[]>();
  for await (const { name } of Deno.readDir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = await unlessEnded(() => parentOf(pid));
    if (parent === undefined) continue;
    children.set(parent, [...children.get(parent) ?? [], pid]);
  }
  return children;
}

async function parentOf(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

/**
 * What `look` finds out about a process; undefined if that has ended
 * meanwhile: then its files are gone, or reading them fails with ESRCH.
 */
export async function unlessEnded<T>(
  look: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    const code = error instanceof Error && "code" in error
      ? error.code
      : undefined;
    if (error instanceof Deno.errors.NotFound || code === "ESRCH") {
      return undefined;
    }
    throw error;
  }
}
